"""Tokens: an effect within texts is found; what a text is about, place and which token it is make none."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.questions.tokens import ROUNDS, without_means
from tests.analyses.sweeps import text_domains, with_table
from tests.samples import of_correlation

N_TOKENS = 24


@pytest.fixture
def rng():
    return np.random.default_rng(41)


def with_tokens(sweep, sparsity, surprisal, identity):
    """A sweep with one row per item and token; arrays have shape (items, tokens)."""
    ids, run_id = sweep.examples()["example_id"].to_numpy(), sweep.runs()["run_id"].iloc[0]
    rows = pd.DataFrame(
        {
            "run_id": run_id,
            "example_id": np.repeat(ids, N_TOKENS),
            "token": np.tile(np.arange(N_TOKENS), len(ids)).astype(np.int32),
        }
    )
    states = rows.assign(site="final_norm", layer=1, unit=-1, basis="raw", hoyer=sparsity.reshape(-1))
    told = rows.assign(
        char_start=0, char_end=1, measure="surprisal", corpus=None, value=surprisal.reshape(-1).astype(float)
    )
    inputs = sweep.inputs().assign(token_ids=[list(map(int, own)) for own in identity])
    return with_table(sweep, token_measurements=states, familiarity_tokens=told, inputs=inputs)


def made(rng, *, effect=0.0, place=0.0, token=0.0, text=0.0):
    """Sparsity that follows surprisal, and a place, a token and a text that both follow."""
    sweep = text_domains(rng, n_layers=1, n_per_level=20, names=("wikitext",))
    shape = (len(sweep.examples()), N_TOKENS)
    identity = rng.integers(0, 12, shape)
    of_token = rng.normal(size=12)[identity]
    shared = place * np.linspace(-2, 2, N_TOKENS) + token * of_token + text * rng.normal(size=(shape[0], 1))
    surprisal = shared + rng.normal(size=shape)
    return with_tokens(sweep, shared + effect * surprisal + rng.normal(size=shape), surprisal, identity)


def answer(sweep):
    (found,) = analyse(sweep, "tokens")
    assert found.primary
    return found


def test_an_effect_within_texts_is_found(rng):
    found = answer(made(rng, effect=0.4, text=3.0))
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx(0.35, abs=of_correlation(40 * N_TOKENS, 0.35))
    assert (found.n, found.n_clusters) == (40 * N_TOKENS, 40)
    assert "adjusting for position and token identity" in found.text
    assert "read off the model's own output" in found.text
    values = [mark.value for mark in found.plot.marks]
    assert values[0] < 0 < values[-1]


@pytest.mark.parametrize("confounder", ["place", "token", "text"])
def test_what_a_token_shares_with_others_makes_no_effect(rng, confounder):
    found = answer(made(rng, **{confounder: 1.5}))
    assert found.verdict == "undecided"
    assert abs(found.estimate) < of_correlation(40 * N_TOKENS)
    plain = found.effects[0]
    assert (plain.estimate > 0.2) == (confounder != "text")


@pytest.mark.parametrize("runs", [4, pytest.param(200, marks=pytest.mark.long)])
def test_of_200_sweeps_without_an_effect_at_most_17_say_one(runs, proof):
    confounders = [{"place": 1.0}, {"token": 1.0}]
    answers = [answer(made(np.random.default_rng(seed), **confounders[seed % 2])) for seed in range(runs)]
    said = sum(found.verdict != "undecided" for found in answers)
    assert said <= (17 if runs == 200 else 2)
    proof(f"Of {runs} sweeps in which place or token identity alone ties sparsity to surprisal, {said} said an effect.")


def test_a_token_that_has_one_place_only_is_held_fixed_with_it(rng):
    sweep = made(rng, effect=0.4)
    places = [list(range(N_TOKENS))] * len(sweep.examples())
    found = answer(with_table(sweep, inputs=sweep.inputs().assign(token_ids=places)))
    assert found.verdict == "supported"
    assert np.isfinite(found.interval).all()


def test_without_token_ids_place_alone_is_held_fixed(rng):
    sweep = made(rng, effect=0.4)
    found = answer(with_table(sweep, inputs=sweep.inputs().drop(columns="token_ids")))
    assert found.unit.endswith("adjusting for position")
    assert found.verdict == "supported"


def test_without_tokens_nothing_is_asked(rng):
    assert analyse(text_domains(rng, n_layers=1), "tokens") == []


def test_means_of_several_groupings_are_those_of_least_squares(rng):
    one, other = rng.integers(0, 6, 200), rng.integers(0, 9, 200)
    x = rng.normal(size=(200, 2))
    dummies = np.column_stack([one[:, None] == np.arange(6), other[:, None] == np.arange(9)]).astype(float)
    rest = x - dummies @ np.linalg.lstsq(dummies, x, rcond=None)[0]
    # of what is still to be taken off, a round leaves the squared cosine between the groupings beyond their common mean
    axes = [np.linalg.qr(part[:, 1:] - part[:, 1:].mean(axis=0))[0] for part in (dummies[:, :6], dummies[:, 6:])]
    cosine = np.linalg.norm(axes[0].T @ axes[1], 2)
    np.testing.assert_allclose(without_means(x, one, other), rest, atol=cosine ** (2 * ROUNDS) * np.linalg.norm(x))
