"""The comparison: every system is there and was tuned, differences by hand, and what cannot be asked is one line."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.cli import app, at_the_edge
from probes.errors import InputError
from probes.memory.comparison import experiment
from probes.memory.comparison.experiment import ALPHAS, BASE, COPY, KNN, NEAR, TEMPERED, Score, compare
from probes.memory.comparison.samples import Text, excerpt, library_code, split_texts
from probes.memory.comparison.table import RESAMPLES, difference, frame_of, tabulate
from probes.memory.lessons import Plan
from probes.models.checkpoints import fingerprint_object
from tests.probes.memory.conftest import MINIATURE, TEXTS, make_model
from tests.samples import of_quantile

# Both ends of an interval are quantiles of resamples; resamples spread by a share 1/(2n) less than a sample of n = 40.
WIDTH = 2**0.5 * of_quantile(0.025, RESAMPLES) / (2 * 1.96) + 1 / 80

PLAN = Plan(alpha=1.0, n_steps=3, recipe=replace(MINIATURE, batch_size=2, learning_rate=1e-2, warmup_steps=1))
DOMAIN = [Text(f"{name} {n}", f"{n}: {text}" * 2) for n in range(3) for name, text in TEXTS.items()]
SOURCE = [Text(f"old {n}", "Once upon a time there was a king. " * (n + 1)) for n in range(3)]


def test_every_system_is_scored_on_every_document_and_the_model_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "ROUNDS", 1)
    model = make_model(3)
    before = fingerprint_object(model.module, model.tokenizer)
    texts = split_texts(DOMAIN, SOURCE, documents=4, characters=60, seed=0)
    found = frame_of(compare(model, 0, texts, PLAN, tmp_path, k=4))
    assert fingerprint_object(model.module, model.tokenizer) == before
    counted = ["unigram", "5-gram", "infinity-gram"]
    small = [f"small model, alpha {alpha:g}" for alpha in ALPHAS]
    systems = [BASE, TEMPERED, *counted, KNN, NEAR, *small, COPY, f"{COPY}, beside the model"]
    assert list(found["system"].unique()) == systems
    assert set(found.groupby("system").size()) == {2 + 2}  # documents of the domain and of the source
    assert set(found["split"]) == {"domain", "source"}
    assert np.isfinite(found["bits"]).all()
    assert (found["bits"] >= 0).all()
    assert (found[found["system"] == KNN]["stored"] > 0).all()
    names = {one.name for one in (*texts.train, *texts.validation)}
    assert not names & set(found["document"])
    table = tabulate(found).set_index("system")
    own = found[(found["system"] == KNN) & (found["split"] == "domain")]
    assert table.loc[KNN, "domain_bits_per_byte"] == pytest.approx(own["bits"].sum() / own["n_bytes"].sum())
    assert table.loc[KNN, "domain_perplexity"] == pytest.approx(2 ** (own["bits"].sum() / own["n_tokens"].sum()))
    saved = table.loc[KNN, "domain_bits_per_byte"] - table.loc[BASE, "domain_bits_per_byte"]
    assert table.loc[KNN, "over_base"] == pytest.approx(saved)
    assert table.loc[KNN, "over_base_low"] <= saved <= table.loc[KNN, "over_base_high"]
    assert math.isnan(table.loc[BASE, "over_base"])


def scored(seed: int, system: str, document: str, bits: float, n_bytes: int = 10) -> Score:
    return Score(seed, system, "domain", document, n_bytes, 10, bits, math.nan, math.nan, math.nan, 0, 1.0)


def test_differences_are_paired_and_a_document_of_several_seeds_is_one():
    rng = np.random.default_rng(0)
    level = rng.uniform(10, 90, 40)  # documents differ far more than systems do
    apart = rng.normal(-1, 0.5, 40)
    rows = [
        scored(0, name, str(n), level[n] + extra[n])
        for name, extra in (("b", 0 * apart), ("a", apart))
        for n in range(40)
    ]
    once = frame_of(rows)
    found = difference(once, "a", "b")
    error = apart.std(ddof=1) / 10 / math.sqrt(40)
    assert found.mean == pytest.approx(apart.mean() / 10)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=WIDTH)
    assert found.high < 0
    twice = difference(pd.concat([once, once.assign(seed=1)]), "a", "b")
    assert twice == pytest.approx(found)


def test_texts_are_drawn_apart_and_passages_begin_with_a_line():
    texts = split_texts(DOMAIN, SOURCE, documents=4, characters=60, seed=1)
    names = [one.name for part in texts[:3] for one in part]
    assert len(names) == len(set(names)) == 4 + 1 + 2
    passage = excerpt(Text("x", "".join(f"line {n}\n" for n in range(100))), 50)
    assert passage.text.startswith("line ")
    assert len(passage.text) == 50
    with pytest.raises(InputError, match="need 35 of the domain"):
        split_texts(DOMAIN, SOURCE, documents=20, characters=60, seed=0)
    assert len(library_code()) > 200


def test_what_cannot_be_used_is_one_line(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "one.txt").write_text("the cat sat on the mat", encoding="utf-8")
    (tmp_path / "two.txt").write_text("the dog", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    one, two, empty, out = (str(tmp_path / name) for name in ("one.txt", "two.txt", "empty.txt", "out"))
    train = ("train", "--model", str(tiny_model), "--out")
    for said, *arguments in (
        ("two documents or more", *train, out, "--corpus", one),
        ("is empty", *train, out, "--corpus", empty, "--corpus", one),
        ("k = 64", *train, out, "--corpus", one, "--corpus", two),
        ("0 to 1", *train, out, "--corpus", one, "--corpus", two, "--alpha", "2"),
        ("is there already", *train, str(tmp_path), "--corpus", one),
        ("resid_post", *train, out, "--corpus", one, "--corpus", two, "--neighbours", "2", "--site", "resid_post.9"),
        ("holds no memory", "write", "--model", str(tiny_model), "--memory", str(tmp_path), "--text", "the cat"),
        ("need 7 of the domain", "evaluate", "--model", str(tiny_model), "--out", out, "--corpus", one, "--source", two,
         "--documents", "4"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as left:
            at_the_edge(lambda given=arguments: app(["memory", *given]))
        told = capsys.readouterr().err
        assert left.value.code == 2, told
        assert said in told
        assert len(told.splitlines()) == 1, told
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
