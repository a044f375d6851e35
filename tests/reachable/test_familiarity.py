"""How familiar an input is, and what a change is adjusted for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from analyses import analyse
from tests.reachable import plain
from tests.reachable.asking import items, of, values
from tests.tolerances import TWO_ROUTES

RANKS = (
    12 / 52**2
)  # rounding may let two neighbours of 52 items change places: sum d^2 moves by 2 n, rho by 6 x 2 n / n^3


def test_distances_to_known_states_energy_and_entropy_are_those_of_scikit_learn(swept: Any) -> None:
    texts, splits = [item["text"] for item in items()], [item["split"] for item in items()]
    known = list(dict.fromkeys(text for text, split in zip(texts, splits, strict=True) if split == "in"))
    states = swept.last[[texts.index(text) for text in known]]
    apart = np.where(np.array(texts)[:, None] == known, np.inf, cdist(swept.last, states))  # not its own neighbour
    cloud = LedoitWolf().fit(states)
    logits = np.stack([own.logits[-1] for own in swept.shown])
    by_hand = {
        "knn_distance(3)": np.sort(apart, axis=1)[:, 2],
        "mahalanobis": np.sqrt(cloud.mahalanobis(swept.last)),
        "energy": -np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1),
        "next_token_entropy": np.array([own.entropy[-1] for own in swept.shown]),
    }
    rows = swept.records.familiarity()
    for measure, expected in by_hand.items():
        found = values(swept, of(rows, measure=measure))
        np.testing.assert_allclose(found, expected, rtol=TWO_ROUTES, atol=TWO_ROUTES * np.abs(expected).max())


def test_the_ledger_adjusts_for_length_norm_entropy_and_bytes_per_token(swept: Any) -> None:
    found = analyse(swept.records, "covariates")
    (primary,) = (one for one in found if one.primary)
    x = [own.hidden[-1][1:] for own in swept.shown]  # position mean
    y = np.array([plain.hoyer(own).mean() for own in x])
    level = swept.level.astype(float)
    n_tokens = np.array([len(own.ids) for own in swept.shown], dtype=float)
    per_token = np.array([len(item["text"].encode()) for item in items()]) / (n_tokens - 1)
    after = [plain.stories().read(f"{item['text']} {item['answer']}") for item in items()]
    answers = [one.nats[len(own.ids) - 1 :].mean() for one, own in zip(after, swept.shown, strict=True)]
    covariates = {
        "n_tokens": n_tokens,
        "bytes_per_token": per_token,
        "next_token_entropy": np.array([own.entropy[-1] for own in swept.shown]),
        "mean_next_token_entropy": np.array([own.entropy[1:].mean() for own in swept.shown]),
        "nll": np.array(answers),
        "l2_norm at final_norm": np.array([np.linalg.norm(own, axis=1).mean() for own in x]),
    }
    given = {control.name: control.estimate for control in primary.controls}
    assert given.keys() == covariates.keys()
    for name, covariate in covariates.items():
        assert given[name] == pytest.approx(plain.partial_rank_correlation(y, level, covariate), abs=RANKS), name
    jointly = plain.partial_rank_correlation(y, level, n_tokens, per_token)
    assert primary.estimate == pytest.approx(jointly, abs=RANKS)
    assert "correct is a collider and not conditioned on" in primary.text
    greedy = [
        (one.logits[len(own.ids) - 1 : -1].argmax(1) == one.ids[len(own.ids) :]).all()
        for one, own in zip(after, swept.shown, strict=True)
    ]
    np.testing.assert_array_equal(values(swept, of(swept.records.outcomes(), name="correct")), greedy)
