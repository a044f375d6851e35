"""Joining items by what comes next: the bits it keeps, and a grouping that is planted in the distributions."""

import itertools

import numpy as np
import pytest

from analyses.statistics.concepts.bottleneck import bottleneck, relevant_bits, told_by
from tests.tolerances import FLOAT64, FLOAT64_SOLVED

pytestmark = pytest.mark.numeric


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def planted(rng, groups=3, each=5, outcomes=20):
    centres = rng.dirichlet(np.full(outcomes, 0.2), size=groups)
    return np.repeat(centres, each, axis=0) * 0.9 + rng.dirichlet(np.ones(outcomes), size=groups * each) * 0.1


def test_all_items_alone_keep_the_mutual_information_and_one_cluster_keeps_none(rng):
    chances = planted(rng)
    found = bottleneck(chances)
    joint = chances / len(chances)
    outer = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    assert found.bits[0] == pytest.approx((joint * np.log2(joint / outer)).sum(), rel=FLOAT64_SOLVED)
    assert found.bits[-1] == pytest.approx(0.0, abs=FLOAT64_SOLVED)
    assert (np.diff(found.bits) <= FLOAT64).all()


def test_bits_of_the_curve_are_those_of_its_partitions(rng):
    chances = planted(rng)
    found = bottleneck(chances)
    for k in (1, 2, 3, 7, 15):
        labels = found.labels(k)
        assert len(np.unique(labels)) == k
        assert found.bits[15 - k] == pytest.approx(relevant_bits(chances, labels), abs=FLOAT64_SOLVED)


def test_a_planted_grouping_is_recovered(rng):
    labels = bottleneck(planted(rng)).labels(3)
    assert [len(set(labels[start : start + 5])) for start in (0, 5, 10)] == [1, 1, 1]
    assert len(set(labels)) == 3


def test_the_first_pair_is_the_one_that_loses_least_of_all(rng):
    chances = rng.dirichlet(np.ones(6), size=7)
    found = bottleneck(chances)
    every = {
        pair: relevant_bits(chances, np.where(np.arange(7) == pair[1], pair[0], np.arange(7)))
        for pair in itertools.combinations(range(7), 2)
    }
    assert tuple(found.merges[0]) == max(every, key=every.get)


def test_putting_outcomes_together_never_adds_information(rng):
    chances = planted(rng)
    labels = np.repeat(np.arange(3), 5)
    joined = [np.c_[chances[:, :apart], chances[:, apart:].sum(axis=1)] for apart in (1, 3, 10, 19)]
    bits = [relevant_bits(own, labels) for own in joined]
    assert (np.diff(bits) >= -FLOAT64).all()


def test_labels_are_told_beside_joined_clusters_of_no_greater_entropy_and_chance(rng):
    chances, labels = planted(rng), np.repeat(np.arange(3), 5)
    own = told_by(chances, labels, rng)
    assert own.regret == pytest.approx(0.0, abs=FLOAT64_SOLVED)
    assert own.null < own.people <= own.joined <= own.each
    assert own.bits == pytest.approx(np.log2(3))
    other = told_by(chances, np.tile(np.arange(3), 5), rng)
    assert 0.5 < other.regret < 1.5
    assert [told for _, told in own.curve] == sorted(told for _, told in own.curve)
