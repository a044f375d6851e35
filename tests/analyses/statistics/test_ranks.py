"""The one pass behind every interval, against scipy and against data that are really repeated."""

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.ranks import COARSE, associate, group
from tests.samples import ERRORS
from tests.tolerances import CORRELATION


def spread_within(sizes, n):
    """Spread of the ranks of n items within groups of these sizes, as a share of their whole spread."""
    return np.sqrt((sizes**3 - sizes).sum() / (n**3 - n))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def estimate(columns, scores):
    groups = [group(column) for column in columns], [group(score) for score in scores]
    return associate(*groups, np.ones((len(columns[0]), 1)))


def test_weights_of_one_give_spearman_with_ties(rng):
    x = rng.integers(0, 5, 200).astype(float)
    y = np.round(x + rng.normal(size=200) * 2)
    found = estimate([y], [x])
    assert found.columns[0, 0, 0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=CORRELATION)


def test_a_weighting_is_the_same_as_repeating_the_items(rng):
    x, y, z = rng.normal(size=(3, 60)).round(1)
    counts = rng.integers(0, 4, 60)
    weighted = associate([group(y)], [group(x), group(z)], counts[:, None].astype(float))
    x, y, z = (np.repeat(values, counts) for values in (x, y, z))
    expected = [stats.spearmanr(y, score).statistic for score in (x, z)]
    np.testing.assert_allclose(weighted.columns[0, 0], expected, atol=CORRELATION)
    assert weighted.scores[0, 0, 1] == pytest.approx(stats.spearmanr(x, z).statistic, abs=CORRELATION)


@pytest.mark.parametrize("n", [300, 6000])
def test_coarse_groups_move_replicates_by_little_of_their_spread(n, rng):
    x = rng.integers(0, 7, n).astype(float)
    y = x + rng.normal(size=n) * 3
    weights = rng.poisson(1, (n, 100)).astype(np.float32)
    exact = associate([group(y)], [group(x)], weights.astype(np.float64)).columns
    coarse = associate([group(y, most=COARSE)], [group(x, most=COARSE)], weights).columns
    # A coarse rank is the mean of the ranks of its group, so what a group takes from a correlation r is the sum of
    # weight x score x rank within the group, of which the score's own part has spread sqrt(1 - r^2) and the rank's
    # spread_within. Poisson weights have second moment 2 here and make groups up to twice as uneven: a standard
    # deviation of 2 spread_within sqrt(1 - r^2) / sqrt(n), where replicates have (1 - r^2) / sqrt(n).
    r = stats.spearmanr(x, y).statistic
    within = spread_within(group(y, most=COARSE).membership.sum(axis=1), n)
    assert np.abs(exact - coarse).max() < ERRORS * 2 * within / np.sqrt(1 - r * r) * exact.std()


def test_coarse_groups_keep_ties_together_and_their_number_bounded(rng):
    values = rng.integers(0, 3000, 9000).astype(float)
    groups = group(values, most=100)
    assert groups.membership.shape[0] <= 100
    for value in np.unique(values)[:50]:
        assert len(set(groups.of_item[values == value])) == 1
    order = np.argsort(values, kind="stable")
    assert (np.diff(groups.of_item[order]) >= 0).all()


def test_a_constant_column_is_undefined_not_zero(rng):
    found = estimate([np.ones(20)], [rng.normal(size=20)])
    assert np.isnan(found.columns).all()


def test_ratio_turns_a_correlation_with_membership_into_cliffs_delta(rng):
    member = np.arange(90) % 3 == 0
    y = np.round(rng.normal(size=90) + member, 1)
    found = estimate([y], [member.astype(float)])
    differences = np.sign(y[member][:, None] - y[~member][None])
    assert found.columns[0, 0, 0] * found.ratio[0, 0] == pytest.approx(differences.mean(), abs=CORRELATION)
