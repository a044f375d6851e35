"""Bits that a memory saves: by hand, of items and tokens, alone and in a sweep."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes import open_run, run_sweep
from probes.errors import InputError
from probes.familiarity import Sources, measure_familiarity
from probes.memory.distillation import train_memories
from probes.memory.interpolation import Interpolated, encode_text
from probes.memory.knn import remember_corpus
from probes.memory.lessons import Plan
from probes.memory.recall import Weight
from probes.models.loading import load_model
from tests.probes.conftest import MakeSpec
from tests.probes.memory.conftest import MINIATURE
from tests.tolerances import LOGITS

TEXTS = ["the cat sat on the mat", "the dog saw the cat and the dog sat"]
REMEMBERED = ["the dog sat on the cat", "the mat saw the dog and the cat"]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path):
    return load_model(str(tiny_model))


def test_what_a_memory_saves_is_the_difference_of_two_code_lengths(tiny):
    memory = remember_corpus(tiny, {text: encode_text(tiny, text) for text in REMEMBERED}, k=3)
    beside = Interpolated(tiny, memory, Weight((0.4,)), memory.temperatures[4])
    asked = ["surprisal", "bits_saved"]
    tables = measure_familiarity(tiny, TEXTS, asked, sources=Sources(memory=beside), per_token=True, bos="add")
    assert set(tables.familiarity["corpus"]) == {"", "kNN-LM"}
    tokens = tables.familiarity_tokens.pivot_table(index=["example_id", "token"], columns="measure", values="value")
    for number, text in enumerate(TEXTS):
        own = tokens.loc[str(number)]
        expected = -beside.predict(text).log2_p
        np.testing.assert_allclose((own["surprisal"] - own["bits_saved"])[-len(expected) :], expected, rtol=LOGITS)
        (item,) = tables.familiarity.query(f"example_id == '{number}' and measure == 'bits_saved'")["value"]
        assert item == pytest.approx(own["bits_saved"].mean(), rel=LOGITS)
    nothing = replace(beside, weight=Weight((0.0,)))
    alone = measure_familiarity(tiny, TEXTS, "bits_saved", sources=Sources(memory=nothing), bos="add")
    assert (alone.familiarity["value"] == 0).all()
    with pytest.raises(InputError, match="bits_saved needs memory"):
        measure_familiarity(tiny, TEXTS, "bits_saved")


def test_a_sweep_tells_what_both_memories_save_of_every_token(tiny, make_spec: MakeSpec, tmp_path: Path):
    plan = Plan(alpha=1.0, n_steps=3, recipe=replace(MINIATURE, batch_size=2, warmup_steps=1))
    train_memories(tiny, [*TEXTS, "the mat saw the dog"], tmp_path / "m", plan, k=3)
    asked = {"measures": ["surprisal", "bits_saved"], "tokens": True, "memories": ["m/knn", "m/decoder"]}
    result = run_sweep(make_spec(familiarity=asked), tmp_path / "run")
    assert result.n_failed == 0
    rows = open_run(tmp_path / "run").familiarity_tokens()
    saved = rows[rows["measure"] == "bits_saved"]
    assert set(saved["corpus"]) == {"knn", "decoder"}
    per = rows.groupby(["measure", "corpus"], observed=True).size()
    assert per.nunique() == 1
    assert saved["value"].map(math.isfinite).sum() > 0
    with pytest.raises(InputError, match="bits_saved needs memories"):
        make_spec(familiarity=["bits_saved"])
    with pytest.raises(InputError, match="no memory"):
        run_sweep(make_spec(familiarity={**asked, "memories": ["m"]}), tmp_path / "other")
