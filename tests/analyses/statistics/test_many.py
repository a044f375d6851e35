"""Partial tests, max-T, equivalence, power, concordance: against brute force, and by their simulated error rates.

Each simulation has a small count for the gate and a full one marked `long` with bounds of three standard errors.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.design import exchanged
from analyses.statistics.equivalence import equivalence, minimum_detectable, noise_floor
from analyses.statistics.intervals import bca
from analyses.statistics.mixed import slopes, within_slope
from analyses.statistics.multiplicity import family_p, holm, max_t, weighted_benjamini_hochberg
from analyses.statistics.permutation import freedman_lane_p
from analyses.statistics.trend import concordance
from tests.samples import of_quantile, of_share
from tests.tolerances import CORRELATION, FLOAT64_SOLVED

FULL = pytest.param(2000, marks=pytest.mark.long)


def max_t_p(*args, **more):
    (p,) = family_p([max_t(*args, **more)])
    return p


def benjamini_hochberg(p):
    return weighted_benjamini_hochberg(p, np.ones(len(p)))


def within(rate, level, runs):
    """Whether a rate is no more than three standard errors above its level."""
    return rate <= level + 3 * math.sqrt(level * (1 - level) / runs)


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.mark.parametrize(
    ("design", "same"), [("items", None), ("paired", "clusters stay in place"), ("clusters", "whole clusters move")]
)
def test_exchange_moves_what_the_design_allows(design, same, rng):
    clusters = rng.permutation(np.repeat(np.arange(8), 3))
    for order in exchanged(24, clusters, design, 20, rng):
        assert sorted(order) == list(range(24))
        if same == "clusters stay in place":
            assert (clusters[order] == clusters).all()
        elif same:
            assert all(len(set(clusters[order][clusters == c])) == 1 for c in range(8))


def test_whole_clusters_of_different_sizes_are_refused(rng):
    with pytest.raises(ValueError, match="of their size"):
        next(exchanged(3, np.array([0, 0, 1]), "clusters", 1, rng))


@pytest.mark.parametrize("runs", [250, FULL])
def test_a_confounded_null_is_not_rejected_too_often(runs, rng, proof):
    rejected = naive = 0
    for _ in range(runs):
        z = rng.normal(size=60)
        x, y = z + rng.normal(size=60), z + rng.normal(size=60)
        p = freedman_lane_p(y[:, None], x, z[:, None], np.arange(60), permutations=199, rng=rng)
        rejected += p[0] < 0.05
        naive += stats.spearmanr(x, y).pvalue < 0.05
    assert within(rejected / runs, 0.06, runs)  # ranks of a linear confounder are not quite linear
    assert naive / runs > 0.8
    proof(
        f"Freedman-Lane at 5 %, 60 items, a confounder of both sides: rejected in {rejected / runs:.3f} of {runs} "
        f"replicates without an effect; Spearman's test in {naive / runs:.3f}."
    )


def test_every_permutation_is_adjusted_for_the_covariate_anew(rng):
    """Freedman and Lane by regressions, one permutation at a time; ties of the statistic count as reached."""
    for _ in range(3):
        covariate = rng.normal(size=12)
        levels = covariate + rng.normal(size=12)
        values = 3 * covariate + 0.5 * levels + rng.normal(size=12)
        ranks, place, held = (stats.rankdata(own) for own in (values, levels, covariate))
        design = np.column_stack([np.ones(12), held])

        def left(own, design=design):
            return own - design @ np.linalg.lstsq(design, own, rcond=None)[0]

        def size(own, place=place):
            return abs(np.corrcoef(left(place), left(own))[0, 1])

        fitted, orders = ranks - left(ranks), exchanged(12, np.arange(12), "items", 199, np.random.default_rng(1))
        reached = sum(size(fitted + left(ranks)[order]) >= size(ranks) * (1 - 1e-9) for order in orders)
        found = freedman_lane_p(
            *(values[:, None], levels, covariate[:, None], np.arange(12)),
            permutations=199,
            rng=np.random.default_rng(1),
        )
        assert found[0] == pytest.approx((1 + reached) / 200)


def test_a_partial_effect_is_found_and_a_complete_confounder_is_undefined(rng):
    z = rng.normal(size=80)
    x = z + rng.normal(size=80)
    y = x + rng.normal(size=80) * 0.5
    assert freedman_lane_p(y[:, None], x, z[:, None], np.arange(80), permutations=499, rng=rng)[0] < 0.01
    assert np.isnan(freedman_lane_p(y[:, None], x, x[:, None], np.arange(80), permutations=9, rng=rng)[0])


@pytest.mark.parametrize("runs", [200, FULL])
@pytest.mark.parametrize("design", ["items", "paired", "clusters"])
def test_max_t_bounds_the_chance_of_any_false_positive(runs, design, rng, proof):
    clusters = np.repeat(np.arange(15), 4)
    levels = (clusters % 3).astype(float) if design == "clusters" else np.tile(np.arange(4.0), 15)
    source = clusters if design != "items" else np.arange(60)
    false = 0
    for _ in range(runs):
        shared = rng.normal(size=(60, 1))
        values = shared + rng.normal(size=(60, 12)) + (0 if design == "items" else rng.normal(size=(15, 12))[clusters])
        p = max_t_p(values, levels, source, design=design, permutations=199, rng=rng)
        false += p.min() < 0.05
    assert within(false / runs, 0.05, runs)
    proof(
        f"max-T at 5 %, 12 columns that move together, {design}: a false positive in any of them in {false / runs:.3f} "
        f"of {runs} replicates."
    )


@pytest.mark.parametrize("runs", [60, FULL])
def test_suites_joined_bound_the_chance_of_one_false_positive_in_any(runs, rng, proof):
    """Three sets of items of different sizes, one with sources of different sizes, neighbouring columns alike."""
    false = 0
    for _ in range(runs):
        parts = []
        for n, design in ((40, "items"), (60, "paired"), (45, "clusters")):
            clusters = {
                "items": np.arange(n),
                "paired": np.arange(n) // 4,
                "clusters": np.repeat(np.arange(15), [1, 2, 3, 4, 5] * 3),
            }
            source = clusters[design]
            levels = {"items": np.arange(n) % 4, "paired": np.arange(n) % 4, "clusters": source % 3}[design]
            values = rng.normal(size=(n, 1)) + rng.normal(size=(n, 6)) + rng.normal(size=(n, 6))[source]
            parts.append(max_t(values, levels.astype(float), source, design=design, permutations=199, rng=rng))
        false += min(float(p.min()) for p in family_p(parts)) < 0.05
    assert within(false / runs, 0.05, runs)
    proof(
        f"max-T joined over three suites of different designs, 18 columns: a false positive in any of them in "
        f"{false / runs:.3f} of {runs} replicates."
    )


def test_columns_of_a_larger_family_have_larger_p(rng):
    levels = np.repeat(np.arange(4.0), 10)
    values = rng.normal(size=(40, 5)) + 0.4 * levels[:, None] * np.array([1, 0, 0, 0, 0])
    one = max_t(values, levels, np.arange(40), rng=rng)
    other = max_t(rng.normal(size=(40, 50)), levels, np.arange(40), rng=rng)
    (alone,), (joined, _) = family_p([one]), family_p([one, other])
    assert (joined >= alone).all()
    assert joined[0] < 0.2 < joined[1:].min()


def test_max_t_costs_less_than_bonferroni_when_columns_move_together(rng):
    levels = np.repeat(np.arange(4.0), 20)
    values = 0.18 * levels[:, None] + rng.normal(size=(80, 1)) * 1.0 + rng.normal(size=(80, 30)) * 0.05
    adjusted = max_t_p(values, levels, np.arange(80), permutations=1999, rng=rng)
    single = np.array([stats.spearmanr(levels, column).pvalue for column in values.T])
    assert adjusted.min() < 0.4 * min(1.0, 30 * single.min())


def test_a_constant_column_takes_no_part(rng):
    values = np.column_stack([np.ones(40), np.arange(40.0)])
    p = max_t_p(values, np.arange(40.0), np.arange(40), permutations=99, rng=rng)
    assert np.isnan(p[0])
    assert p[1] == 0.01


def test_steps_of_holm_are_those_of_statsmodels(rng):
    from statsmodels.stats.multitest import multipletests

    p = rng.uniform(size=9) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_false_discoveries_are_bounded_and_ties_with_scipy():
    p = np.array([0.001, 0.02, 0.03, 0.5])
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    assert (benjamini_hochberg(p) >= p).all()


@pytest.mark.parametrize("runs", [2000])
def test_an_effect_at_the_bound_is_called_negligible_in_one_run_of_twenty(runs, rng):
    bound, error = 0.2, 0.05
    said = sum(equivalence(bound + error * rng.normal(), error, bound).verdict == "negligible" for _ in range(runs))
    assert within(said / runs, 0.05, runs)
    assert said / runs > 0.035


def test_no_effect_is_called_negligible_only_with_a_small_enough_error():
    assert equivalence(0.0, 0.05, 0.2).verdict == "negligible"
    assert equivalence(0.0, 0.15, 0.2).verdict == "undecided"
    assert equivalence(math.nan, 0.1, 0.2).verdict == "undecided"
    with pytest.raises(ValueError, match="positive effect"):
        equivalence(0.0, 0.1, 0.0)


def test_the_smallest_detectable_effect_is_detected_four_times_of_five(rng):
    n, runs = 100, 2000
    effect = minimum_detectable(math.sqrt(2 / n))
    found = 0
    for _ in range(runs):
        a, b = rng.normal(size=(2, n))
        found += stats.norm.sf(abs((b + effect).mean() - a.mean()) / math.sqrt(2 / n)) < 0.025
    assert found / runs == pytest.approx(0.8, abs=of_share(0.8, runs))


def test_the_noise_floor_is_what_halves_of_the_same_items_show(rng):
    values = rng.normal(size=200)
    (floor,) = noise_floor(values[:, None], np.arange(200), rng=rng)
    assert 0.1 < floor < 0.25  # 1.96 * sqrt(201 / (3 * 100 * 100)) = .16
    clustered = rng.normal(size=20)[np.repeat(np.arange(20), 10)] + 0.1 * rng.normal(size=200)
    assert noise_floor(clustered[:, None], np.repeat(np.arange(20), 10), rng=rng)[0] > 2 * floor
    (in_ranks,) = noise_floor(values[:, None], np.arange(200), currency="correlation", rng=rng)
    assert in_ranks == pytest.approx(1.96 / math.sqrt(199), rel=of_share(0.05, 200) / (2 * stats.norm.pdf(1.96) * 1.96))
    assert np.isnan(noise_floor(values[:, None], np.zeros(200, dtype=np.int64), rng=rng)).all()


def test_measures_of_one_construct_count_as_one_test(rng):
    p = rng.random(40)
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    # eight copies of each of five tests say what the five say
    single = np.array([0.004, 0.03, 0.2, 0.5, 0.9])
    copies = weighted_benjamini_hochberg(np.repeat(single, 8), np.full(40, 1 / 8))
    np.testing.assert_allclose(copies[::8], benjamini_hochberg(single))


@pytest.mark.parametrize("runs", [300, FULL])
def test_weights_bound_the_weighted_share_of_false_discoveries(runs, rng, proof):
    weights = np.repeat([1.0, 1 / 8], [10, 80])
    shares = []
    for _ in range(runs):
        construct = np.repeat(rng.normal(size=10), 8)  # eight measures that move together
        z = np.concatenate([rng.normal(size=10) + np.repeat([3.0, 0.0], 5), construct + 0.2 * rng.normal(size=80)])
        found = weighted_benjamini_hochberg(2 * stats.norm.sf(np.abs(z)), weights) < 0.05
        shares.append(weights[found][~(np.flatnonzero(found) < 5)].sum() / max(weights[found].sum(), 1e-9))
    assert within(float(np.mean(shares)), 0.05, runs)
    proof(f"Weighted Benjamini-Hochberg at 5 %: weighted share of false discoveries {np.mean(shares):.3f} over {runs}.")


def test_a_mixed_model_finds_the_slope_and_within_sources_needs_no_assumption(rng):
    source = np.repeat(np.arange(30), 6)
    x = rng.normal(size=180) + rng.normal(size=30)[source]
    y = 0.5 * x + 2 * rng.normal(size=30)[source] + rng.normal(size=180)
    found = slopes(y, x, source)
    truth = 0.5 * x.std() / y.std()
    assert found.status == "converged"
    assert found.mixed.low < truth < found.mixed.high
    assert found.within.low < truth < found.within.high
    # a source that comes with the axis spoils the one and not the other
    pair = np.repeat(np.arange(80), 2)
    x = rng.normal(size=160) + rng.normal(size=80)[pair]
    y = 0.5 * x + 2 * (np.bincount(pair, x) / 2)[pair] + 2 * rng.normal(size=160)
    other = slopes(y, x, pair)
    assert other.mixed.value > 1.5 * other.within.value
    assert other.within.low < 0.5 * x.std() / y.std() < other.within.high
    assert slopes(y, np.ones(160), pair).status == "nothing varies"


@pytest.mark.parametrize("runs", [300, FULL])
@pytest.mark.parametrize("n_clusters", [5, 12])
def test_the_slope_within_sources_is_covered(runs, n_clusters, rng, proof):
    source, hits = np.repeat(np.arange(n_clusters), 5), 0
    for _ in range(runs):
        x, y = rng.normal(size=(2, 5 * n_clusters)) + rng.normal(size=(2, n_clusters))[:, source]
        found = within_slope(y + 0.3 * x, x, source)
        hits += found.low <= 0.3 <= found.high
    assert hits / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)
    proof(f"Slope within {n_clusters} sources of 5 items: covered in {hits / runs:.3f} of {runs} replicates.")


def test_concordance_equals_scipy_with_ties(rng):
    x = rng.integers(0, 4, 90).astype(float)
    y = np.round(x + rng.normal(size=90), 1)
    found = concordance(y[:, None], x, np.arange(90))
    assert found.tau_b.value[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=CORRELATION)
    assert found.somers_d.value[0] == pytest.approx(stats.somersd(x, y).statistic, abs=CORRELATION)


@pytest.mark.parametrize("runs", [200, FULL])
@pytest.mark.parametrize("size", [1, 4])
def test_concordance_is_covered(runs, size, rng, proof):
    rho, n_clusters = 0.5, 60
    truth = 2 / np.pi * np.arcsin(rho)  # Kendall's tau of a bivariate normal law
    codes = np.repeat(np.arange(n_clusters), size)
    hits = 0
    for _ in range(runs):
        # the same correlation between and within clusters, so that the truth is that of the whole
        x, y = (rng.normal(size=(2, n_clusters))[:, codes] + rng.normal(size=(2, n_clusters * size))) / math.sqrt(2)
        y = rho * x + math.sqrt(1 - rho**2) * y
        found = concordance(y[:, None], x, codes).tau_b
        hits += found.low[0] <= truth <= found.high[0]
    assert hits / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs) - 0.01
    proof(f"Kendall's tau-b, 60 clusters of {size}: covered in {hits / runs:.3f} of {runs} replicates.")


def test_bca_equals_scipy(rng):
    data = rng.exponential(size=40)
    draws = rng.integers(0, 40, (4000, 40))
    replicates = data[draws].mean(axis=1)[:, None]
    left_out = np.array([[np.delete(data, i).mean()] for i in range(40)])
    found = bca(np.array([data.mean()]), replicates, left_out)
    other = stats.bootstrap((data,), np.mean, n_resamples=20_000, method="BCa", rng=rng).confidence_interval
    error = data.std() / math.sqrt(40) * (of_quantile(0.025, 4000) + of_quantile(0.025, 20_000))
    assert found.low[0] == pytest.approx(other.low, abs=error)
    assert found.high[0] == pytest.approx(other.high, abs=error)
    percentile = np.quantile(replicates, 0.975)
    assert found.high[0] > percentile  # the skewed side is longer


def test_exact_p_of_few_items_agrees_with_all_orders(rng):
    levels = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
    values = levels + rng.normal(size=6)
    ranks = stats.rankdata(values)
    centred = stats.rankdata(levels) - 3.5
    observed = abs(centred @ ranks)
    orders = itertools.permutations(range(6))
    exact = np.mean([abs(centred[list(order)] @ ranks) >= observed - FLOAT64_SOLVED for order in orders])
    p = max_t_p(values[:, None], levels, np.arange(6), permutations=5000, rng=rng)
    assert p[0] == pytest.approx(exact, abs=of_share(exact, 5000))
