"""Spec keys about reading and keeping texts: sinks at the beginning are left out, and no text is kept if so asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsity
from probes.capture import capture_states
from probes.errors import InputError
from probes.models import load_model
from probes.records import open_run
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.tolerances import REBATCHED


def test_skip_first_leaves_the_beginning_out_of_means_and_of_all(make_spec: MakeSpec, tmp_path: Path) -> None:
    whole, skipped = (make_spec(skip_first=k, outcomes=["mean_next_token_entropy"]) for k in (0, 4))
    for spec in (whole, skipped):  # one directory: another number makes another run
        run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    kept = {run.facts(run_id).skip_first: run_id for run_id in run.runs()["run_id"]}
    assert sorted(kept) == [0, 4]
    texts = run.examples().set_index("example_id")["text"]
    states = capture_states(load_model(whole.models[0].name), list(texts), "final_norm", "0:999")
    states["hoyer"] = sparsity.hoyer(np.stack(list(states["vector"])))
    rows = run.measurements(site="final_norm", metric="hoyer")
    for first, run_id in ((1, kept[0]), (4, kept[4])):
        own = states[states["token"] >= first].groupby("example_id")["hoyer"].mean()
        there = rows[(rows["run_id"] == run_id) & (rows["position"] == "mean")].set_index("example_id")["value"]
        expected = pd.Series(own[[str(i) for i in range(7)]].to_numpy(), index=texts.index)
        np.testing.assert_allclose(there[texts.index].to_numpy(), expected.to_numpy(), rtol=REBATCHED)
    one, other = (rows[(rows["run_id"] == run_id) & (rows["position"] == "last")]["value"] for run_id in kept.values())
    np.testing.assert_array_equal(one.to_numpy(), other.to_numpy())
    tokens = run.token_measurements(site="final_norm")
    assert tokens.groupby(tokens["run_id"].astype(str))["token"].min().to_dict() == {
        kept[0]: 1,
        kept[4]: 4,
    }  # a BOS is no text


def test_a_prompt_of_skipped_tokens_only_has_no_mean(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(skip_first=10, positions=["mean"]), tmp_path / "run")
    run = open_run(tmp_path / "run")
    rows = run.measurements(site="final_norm", metric="hoyer").set_index("example_id")
    n_tokens = run.inputs().set_index("example_id")["n_tokens"][rows.index]
    np.testing.assert_array_equal(rows["value"].isna(), n_tokens <= 10)
    assert 0 < rows["value"].isna().sum() < 7


def test_no_text_leaves_neither_words_nor_ids(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(no_text=True)
    assert run_sweep(spec, tmp_path / "run").n_measured == 7
    run = open_run(tmp_path / "run")
    assert run.examples()[["text", "target"]].isna().all(axis=None)
    assert run.inputs()[["token_ids", "char_starts"]].isna().all(axis=None)
    assert not [
        path for path in (tmp_path / "run").rglob("*") if path.is_file() and b"sat on the mat" in path.read_bytes()
    ]
    run_sweep(make_spec(), tmp_path / "with")
    one, other = (open_run(tmp_path / name).measurements()["value"] for name in ("run", "with"))
    np.testing.assert_array_equal(one, other)
    before = sorted(path.name for path in (tmp_path / "run" / "commits").iterdir())
    assert run_sweep(spec, tmp_path / "run").n_measured == 0  # known again by their hashes, and nothing written anew
    assert sorted(path.name for path in (tmp_path / "run" / "commits").iterdir()) == before
    (tmp_path / "items.jsonl").write_text((tmp_path / "items.jsonl").read_text().replace("the cat sat", "the dog sat"))
    with pytest.raises(InputError, match="is recorded here with another text or target"):
        run_sweep(spec, tmp_path / "run")


def test_texts_that_are_there_cannot_be_taken_back(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(), tmp_path / "run")
    with pytest.raises(InputError, match="no_text: the texts of this sweep's items are recorded in it already"):
        run_sweep(make_spec(no_text=True), tmp_path / "run")
