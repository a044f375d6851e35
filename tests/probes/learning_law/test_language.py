"""Sentences are spoiled as told and kept apart, the transformer is a learner, and its weights become a suite."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.cli import app, at_the_edge
from probes.errors import InputError
from probes.lab.families import build_model
from probes.lab.recipe import Recipe
from probes.learning_law import language, scales, scaling
from probes.learning_law.descent import scheduled, train, uniform
from probes.learning_law.language import LanguagePlan, language_learner, sentences_of
from probes.learning_law.precision import in_float64
from probes.learning_law.search import begin, policy_gradient
from probes.learning_law.sentences import EDITS, draw_sentences, help_sentences, spoil
from probes.learning_law.weights import found_by

TINY = LanguagePlan(
    Recipe(family="gpt2", d_model=8, n_layers=1, n_heads=2, d_mlp=8, context_length=9, initial_sd=0.1),
    (6, 6, 4),
    2,
    0.3,
    3,
    1,
)


# Central differences with h = 1e-4: third derivatives leave h^2 = 1e-8, of a few units here; rounding of a total of 15
# leaves 15 u / h = 2e-11 beside derivatives of 1e-2. The issue asks for 1e-6, and for 1e-10 from autograd.
DIFFERENCES = 1e-6
UNROLLED = 1e-10


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_adjoint_of_a_transformer_is_what_central_differences_say(family):
    plan = TINY._replace(recipe=replace(TINY.recipe, family=family))
    learner = language_learner(plan.recipe, sentences_of(plan, 0))
    weights = begin(learner, 3).weights
    path = train(learner, scheduled(weights), rate=0.3, n_steps=3)
    found = policy_gradient(learner, weights, path, 0.3)
    h = 1e-4
    for step, example in ((0, 0), (1, 3)):
        totals = []
        for moved in (h, -h):
            other = weights.clone()
            other[step, example] += moved
            totals.append(train(learner, scheduled(other), rate=0.3, n_steps=3, held_out=False).total)
        assert (totals[0] - totals[1]) / (2 * h) == pytest.approx(found[step, example].item(), rel=DIFFERENCES)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_adjoint_of_a_transformer_is_autograd_through_the_unrolled_training(family):
    plan = TINY._replace(recipe=replace(TINY.recipe, family=family))
    learner = language_learner(plan.recipe, sentences_of(plan, 0))
    weights = begin(learner, 3).weights
    found = policy_gradient(learner, weights, train(learner, scheduled(weights), rate=0.3, n_steps=3), 0.3)
    asked, at, total = weights.clone().requires_grad_(), learner.start.clone().requires_grad_(), torch.zeros(())
    for step in range(3):
        loss = (asked[step] * learner.parts[0](at)).sum()
        at = at - 0.3 * torch.autograd.grad(loss, at, create_graph=True)[0]
        total = total + learner.wanted(at)
    (expected,) = torch.autograd.grad(total, asked)
    torch.testing.assert_close(found, expected, rtol=UNROLLED, atol=UNROLLED)


def test_a_llama_in_float64_is_the_llama_that_it_was():
    recipe = replace(TINY.recipe, family="llama", n_layers=2)
    ids = torch.arange(12).view(2, 6)
    plain = build_model(recipe, vocabulary=20, seed=0)
    expected = plain(input_ids=ids, use_cache=False).logits
    found = in_float64(build_model(recipe, vocabulary=20, seed=0), "llama")(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found.float(), expected)
    with pytest.raises(InputError, match="derivatives in float64"):
        in_float64(plain, "mamba")


def test_parts_change_nothing(monkeypatch):
    whole = language_learner(TINY.recipe, sentences_of(TINY, 0))
    monkeypatch.setattr(language, "AT_ONCE", 4)
    parts = language_learner(TINY.recipe, sentences_of(TINY, 0))
    assert (len(whole.parts), len(parts.parts)) == (1, 2)
    weights, direction = uniform(whole)(0, whole.start), torch.ones_like(whole.start)
    for one, other in zip(
        (whole.gradient(whole.start, weights), *whole.turn(whole.start, weights, direction)),
        (parts.gradient(whole.start, weights), *parts.turn(whole.start, weights, direction)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_half_of_the_sentences_are_spoiled_and_no_other_set_is():
    texts = help_sentences(24)
    assert len(texts) == len(set(texts)) > 1000
    assert {len(one) for one in texts} == {24}
    read = draw_sentences(texts, (40, 30, 20), np.random.default_rng(0))
    assert sum(read.spoiled) == 20
    assert all((one in texts) == (not bad) for one, bad in zip(read.train, read.spoiled, strict=True))
    assert set(read.desired) | set(read.held_out) <= set(texts)
    assert not set(read.desired) & set(read.held_out)
    rng = np.random.default_rng(1)
    lengths = [len(spoil("a" * 64, "b", rng)) for _ in range(50)]
    assert 64 - EDITS * 64 <= min(lengths) <= max(lengths) <= 64


def test_an_empty_or_overlapping_desired_set_is_refused():
    texts = help_sentences(24)[:40]
    with pytest.raises(InputError, match="desired set is empty"):
        draw_sentences(texts, (20, 0, 5), np.random.default_rng(0))
    with pytest.raises(InputError, match="at once, such as"):
        draw_sentences(texts, (30, 10, 10), np.random.default_rng(0), desired=texts[:30])
    with pytest.raises(InputError, match="30 training, 20 desired"):
        draw_sentences(texts, (30, 20, 5), np.random.default_rng(0))


def test_weights_are_a_table_and_are_held_against_what_was_spoiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(language.LANGUAGES, "small", TINY)
    monkeypatch.setattr(scaling, "RESAMPLES", 2)
    assert scales.TRIALS["language"][0] is language.LANGUAGES
    out = ["--out", str(tmp_path)]
    at_the_edge(lambda: app(["learning-law", *out, "--learner", "language", "--seeds", "1"], standalone_mode=False))
    at_the_edge(lambda: app(["learning-law", "weights", *out], standalone_mode=False))
    told = capsys.readouterr().out
    assert "AUROC of little weight" in told
    assert "axis: policy_weight" in told
    rows = [json.loads(line) for line in (tmp_path / "language" / "weights.jsonl").read_text().splitlines()]
    read = sentences_of(TINY, 0)
    assert [row["text"] for row in rows] == list(read.train)
    assert [row["spoiled"] for row in rows] == list(read.spoiled)
    weights = np.array([row["policy_weight"] for row in rows])
    assert weights.mean() == pytest.approx(1)
    assert f"{found_by(weights, np.array(read.spoiled)):.3f}" in told


def test_found_by_is_the_probability_of_the_right_order():
    rng = np.random.default_rng(0)
    score, spoiled = rng.integers(0, 4, 30).astype(float), rng.integers(0, 2, 30)
    pairs = [(a, b) for a in score[spoiled == 1] for b in score[spoiled == 0]]
    assert found_by(score, spoiled) == pytest.approx(np.mean([(a < b) + 0.5 * (a == b) for a, b in pairs]))
    assert np.isnan(found_by(score, np.ones(30, int)))
