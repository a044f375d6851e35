"""Tests against scipy's, against brute force, and for the rate at which they cry wolf."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.design import design_of
from analyses.statistics.permutation import design_p, page_p, whole_cluster_p
from analyses.statistics.trend import trend
from tests.samples import of_share
from tests.tolerances import FLOAT64_SOLVED, P_VALUE


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def jonckheere_z(values, levels):
    """From the definition: pairs in order less pairs against it, over the permutation standard deviation with ties."""
    s = sum(
        np.sign(values[j] - values[i]) * np.sign(levels[j] - levels[i])
        for i, j in itertools.combinations(range(len(values)), 2)
    )
    n = len(values)
    t, u = (np.unique(side, return_counts=True)[1] for side in (values, levels))
    v0, vt, vu = n * (n - 1) * (2 * n + 5), (t * (t - 1) * (2 * t + 5)).sum(), (u * (u - 1) * (2 * u + 5)).sum()
    variance = (v0 - vt - vu) / 18 + (t * (t - 1)).sum() * (u * (u - 1)).sum() / (2 * n * (n - 1))
    variance += (t * (t - 1) * (t - 2)).sum() * (u * (u - 1) * (u - 2)).sum() / (9 * n * (n - 1) * (n - 2))
    return s / np.sqrt(variance)


def test_items_get_jonckheere_terpstra_with_ties(rng):
    levels = np.repeat(np.arange(4.0), 10)
    values = np.round(levels * 0.4 + rng.normal(size=40), 1)
    p = design_p("items", values[:, None], levels, np.arange(40), rng)
    assert p[0] == pytest.approx(2 * stats.norm.sf(abs(jonckheere_z(values, levels))), rel=P_VALUE)


def test_two_levels_are_mann_whitney(rng):
    shifted = np.arange(60) % 2 == 1
    values = rng.normal(size=60) + 0.4 * shifted
    p = design_p("items", values[:, None], shifted.astype(float), np.arange(60), rng)
    other = stats.mannwhitneyu(values[shifted], values[~shifted], use_continuity=False, method="asymptotic")
    assert p[0] == pytest.approx(other.pvalue, rel=P_VALUE)


def test_paired_items_get_page(rng):
    values = rng.normal(size=(25, 5)) + np.arange(5) * 0.2 + rng.normal(size=(25, 1)) * 4
    clusters, levels = np.repeat(np.arange(25), 5), np.tile(np.arange(5.0), 25)
    p = page_p(values.reshape(-1, 1), levels, clusters)
    one_sided = stats.page_trend_test(values, method="asymptotic").pvalue
    assert p[0] == pytest.approx(2 * one_sided, rel=P_VALUE)


def test_page_is_blind_to_what_a_source_is_about(rng):
    clusters, levels = np.repeat(np.arange(30), 4), np.tile(np.arange(4.0), 30)
    values = rng.normal(size=(120, 1))
    moved = values + 100 * rng.normal(size=30)[clusters][:, None]
    assert page_p(moved, levels, clusters)[0] == page_p(values, levels, clusters)[0]


def test_whole_clusters_agree_with_all_permutations_of_few(rng):
    clusters = np.repeat(np.arange(6), 3)
    level_of = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
    values = rng.normal(size=18) + level_of[clusters]
    ranks = stats.rankdata(values) - 9.5

    def statistic(levels):
        return abs(np.cov(stats.rankdata(levels[clusters]), ranks)[0, 1])

    observed = statistic(level_of)
    exact = np.mean(
        [statistic(level_of[list(o)]) >= observed - FLOAT64_SOLVED for o in itertools.permutations(range(6))]
    )
    p = whole_cluster_p(values[:, None], level_of[clusters], clusters, rng, permutations=20_000)
    assert p[0] == pytest.approx(exact, abs=of_share(exact, 20_000))


def rejections(design, rng, runs):
    """Share of runs without any effect in which p < .05."""
    n_clusters, size = 24, 4
    clusters = np.repeat(np.arange(n_clusters), size)
    if design == "paired":
        levels = np.tile(np.arange(float(size)), n_clusters)
    else:
        levels = (np.arange(n_clusters) % 3).astype(float)[clusters]
    # many columns at once are many runs of the same design
    values = rng.normal(size=(n_clusters, runs))[clusters] * 2 + rng.normal(size=(len(clusters), runs))
    assert design_of(levels, clusters) == design
    return np.mean(design_p(design, values, levels, clusters, rng) < 0.05)


@pytest.mark.parametrize("design", ["paired", "clusters"])
def test_false_positives_stay_at_the_level(design, rng):
    rate = rejections(design, rng, 1000)
    assert 0.028 <= rate <= 0.072  # three standard errors of 1,000 runs around .05


def test_ignoring_clusters_would_cry_wolf(rng):
    clusters = np.repeat(np.arange(24), 4)
    levels = (np.arange(24) % 3).astype(float)[clusters]
    values = rng.normal(size=(24, 400))[clusters] * 2 + rng.normal(size=(96, 400))
    assert np.mean(design_p("items", values, levels, clusters, rng) < 0.05) > 0.2


def test_trend_chooses_the_design_itself(rng):
    levels = np.tile(np.arange(3.0), 40)
    values = rng.normal(size=(120, 1))
    assert trend(values, levels, np.repeat(np.arange(40), 3), rng=rng, resamples=50).design == "paired"
    assert trend(values, levels, np.arange(120), rng=rng, resamples=50).design == "items"
    assert trend(values, np.sort(levels), np.repeat(np.arange(40), 3), rng=rng, resamples=50).design == "clusters"
