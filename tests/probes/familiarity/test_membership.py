"""Membership: the area and its interval are right; a baseline that never saw the model sees what words give away."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.familiarity.membership import BLIND, blind_scores, judge_membership, separate
from tests.trained import PROSE
from tests.trained.stories import stories


@given(st.lists(st.tuples(st.integers(-3, 3).map(float), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_chance_that_a_member_looks_more_familiar(items):
    scores = np.array([score for score, _ in items])
    member = np.array([side for _, side in items])
    pairs = list(itertools.product(scores[member], scores[~member]))
    found = separate(scores, member, familiar="higher")
    if not pairs:
        assert math.isnan(found.auroc)
        return
    assert found.auroc == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))
    assert 0 <= found.low <= found.auroc <= found.high <= 1
    assert separate(-scores, member, familiar="lower") == found


def test_perfect_separation_of_few_items_is_not_certain():
    found = separate(np.arange(8.0), np.arange(8) >= 4, familiar="higher")
    assert (found.auroc, found.high) == (1.0, pytest.approx(1.0))
    assert 0.3 < found.low < 0.8


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # of two normal distributions one standard deviation apart: Phi(1 / sqrt 2)
    member = np.arange(120) < 60
    covered = 0
    for _ in range(300):
        found = separate(rng.standard_normal(120) + member, member, familiar="higher")
        covered += found.low <= truth <= found.high
    assert 0.91 < covered / 300 < 0.99


def test_undefined_scores_are_left_out_and_counted():
    scores = np.array([1.0, np.nan, 0.0, 2.0])
    found = separate(scores, np.array([True, True, False, True]), familiar="higher")
    assert (found.n_undefined, found.n_members, found.n_nonmembers, found.auroc) == (1, 2, 1, 1.0)


def test_the_rate_at_one_percent_needs_a_hundred_nonmembers():
    scores = np.concatenate([np.arange(100.0), np.arange(200.0) / 2 + 48.75])
    member = np.arange(300) >= 100
    # one non-member in a hundred may look more familiar than the threshold, which is then 98
    assert separate(scores, member, familiar="higher").tpr == pytest.approx((scores[member] > 98).mean())
    assert math.isnan(separate(scores[1:], member[1:], familiar="higher").tpr)


def test_the_blind_baseline_is_blind_to_a_random_split_and_not_to_a_shift():
    rng = np.random.default_rng(0)
    tales = stories(160, seed=0)
    split = rng.permutation(160) < 80
    table = judge_membership({"length": (np.array([float(len(t)) for t in tales]), "higher")}, tales, split, rng)
    assert table["measure"].tolist() == [BLIND, "length"]
    assert table["low"][0] < 0.5 < table["high"][0]
    is_tale = np.arange(len(tales) + len(PROSE)) < len(tales)
    shifted = blind_scores([*tales, *PROSE], is_tale, rng)
    assert separate(shifted, is_tale, familiar="higher").auroc > 0.98


def test_items_of_a_cluster_are_judged_together():
    texts = [f"name{n % 20} went home" for n in range(100)]
    member = np.array([n % 20 < 10 for n in range(100)])
    rng = np.random.default_rng(0)
    leaky = separate(blind_scores(texts, member, rng), member, familiar="higher").auroc
    clusters = [str(n % 20) for n in range(100)]
    honest = separate(blind_scores(texts, member, rng, clusters=clusters), member, familiar="higher").auroc
    assert leaky == 1.0
    assert honest < 0.8
