"""What a model writes in a sweep: every token's numbers by plain transformers, grades by hand, refusals in one line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsity
from probes.controls.generation import is_answered
from probes.errors import InputError
from probes.models import load_model
from probes.records import open_run
from probes.sweep.run import run_sweep
from probes.vocabulary import names
from tests.probes.conftest import MakeSpec
from tests.tolerances import TWO_ROUTES

TOKENS = 5


def test_every_written_token_repeats_by_hand(make_spec: MakeSpec, tmp_path: Path) -> None:
    asked = {"sites": ["final_norm"], "positions": ["last"], "metrics": ["hoyer"], "controls": "none"}
    spec = make_spec(n=6, generate={"tokens": TOKENS, "per_group": 2}, **asked)
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    rows = run.token_measurements(basis=names.GENERATED)
    told = run.familiarity_tokens()
    outcomes = run.outcomes()
    model = load_model(spec.models[0].name)
    inputs = run.inputs().set_index("example_id")
    examples = run.examples().set_index("example_id")
    assert rows["example_id"].nunique() > 1
    for example_id, some in rows.groupby("example_id", observed=True):
        own = some.sort_values("token")
        ids = list(inputs["token_ids"][example_id])[: inputs["n_tokens"][example_id]]
        start = len(ids)
        hoyers, bits, nats = [], [], []
        for _ in range(len(own)):
            with torch.no_grad():
                log_p = model.module(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
            token = int(log_p.argmax())
            bits.append(-float(log_p[token]) / math.log(2))
            ids.append(token)
            with torch.no_grad():
                out = model.module(torch.tensor([ids]), output_hidden_states=True)
            after = out.logits[0, -1].double().log_softmax(-1)
            nats.append(-float((after.exp() * after).sum()))
            hoyers.append(float(sparsity.hoyer(out.hidden_states[-1][0, -1].numpy())))
        assert list(own["token"]) == list(range(start, start + len(own)))
        np.testing.assert_allclose(own["hoyer"], hoyers, rtol=TWO_ROUTES)
        mine = told[told["example_id"] == example_id].sort_values("token")
        for name, by_hand in ((names.SURPRISAL_WRITTEN, bits), (names.ENTROPY_WRITTEN, nats)):
            np.testing.assert_allclose(mine[mine["measure"] == name]["value"], by_hand, rtol=TWO_ROUTES)
        graded = outcomes[(outcomes["example_id"] == example_id) & (outcomes["name"] == names.WRITTEN_CORRECT)]
        text = model.tokenizer.decode(ids[start:], skip_special_tokens=True)
        assert graded["value"].item() == float(examples["target"][example_id] in text.split())
    assert run.token_measurements().empty  # rows of the prompts' own tokens are another basis
    assert run_sweep(spec, tmp_path / "run").n_measured == 0


def test_a_target_is_whole_words() -> None:
    assert is_answered("It is\n42.", "42")
    assert not is_answered("It is 420.", "42")
    assert is_answered("the CAT sat", " cat")


def test_what_cannot_be_written_is_recorded_or_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"generate are of positions last and mean; add one of them"):
        make_spec(generate={"tokens": 3}, positions=["all"])
    with pytest.raises(InputError, match="generate"):
        make_spec(generate={"tokens": 0})
    spec = make_spec(n=4, generate={"tokens": 5000}, sites=["final_norm"], positions=["last"], controls="none")
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    (facts,) = (run.facts(run_id) for run_id in run.runs()["run_id"])
    assert "no prompt leaves room for 5000 tokens" in facts.controls["skipped"]["generation"]
