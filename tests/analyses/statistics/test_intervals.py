"""Do 95 % intervals cover in 95 % of runs? Small counts here; the full ones run with `-m long`."""

import numpy as np
import pytest

from analyses.statistics import resampling
from analyses.statistics.association import associate_items
from analyses.statistics.groups import cluster_means
from analyses.statistics.resampling import FEW_CLUSTERS, MANY_CLUSTERS, interval, map_weightings, way_for

# A correlation of 1 is kept 6 / n^3 inside of it on the scale of Fisher; its interval reaches less than twice as far.
EDGE = 2 * 6 / MANY_CLUSTERS**3


def clustered(rng, n_clusters, size, runs):
    """Items whose mean is 0 and which agree within clusters; many columns are many runs."""
    clusters = np.repeat(np.arange(n_clusters), size)
    return clusters, rng.normal(size=(n_clusters, runs))[clusters] + rng.normal(size=(n_clusters * size, runs))


def coverage(rng, n_clusters, runs):
    clusters, values = clustered(rng, n_clusters, 5, runs)
    found = cluster_means(values, clusters, resamples=500, rng=rng)
    return np.mean((found.low <= 0) & (found.high >= 0))


@pytest.mark.parametrize("n_clusters", [5, 8, 40])
def test_means_are_covered_with_few_clusters_and_many(n_clusters):
    assert coverage(np.random.default_rng(n_clusters), n_clusters, 1500) >= 0.925


def test_the_percentile_bootstrap_would_not_cover_with_five_clusters(monkeypatch):
    monkeypatch.setattr("analyses.statistics.resampling.FEW_CLUSTERS", 2)
    assert coverage(np.random.default_rng(1), 5, 600) < 0.88


def spearman_coverage(rng, n, runs, rho):
    x = rng.normal(size=n)
    hits = 0
    # the truth of Spearman's rho under a bivariate normal law
    truth = 6 / np.pi * np.arcsin(rho / 2)
    for _ in range(runs):
        x = rng.normal(size=n)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
        found = associate_items(
            y[:, None], x[:, None], np.arange(n), within=False, resamples=400, rng=rng
        ).correlation()
        hits += found.low[0] <= truth <= found.high[0]
    return hits / runs


@pytest.mark.parametrize(("n", "rho"), [(12, 0.5), (60, 0.0), (60, 0.7)])
def test_rank_correlations_are_covered(n, rho):
    assert spearman_coverage(np.random.default_rng(n), n, 150, rho) >= 0.89  # .95 less three standard errors


@pytest.mark.long
@pytest.mark.parametrize("n", [8, 15, 29, 30, 60, 200])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_rank_correlations_are_covered_at_full_counts(n, rho, proof):
    covered = spearman_coverage(np.random.default_rng(n), n, 2000, rho)
    assert covered >= 0.92
    proof(f"Rank correlation, {n} items, a normal law with correlation {rho}: covered in {covered:.3f} of 2000.")


@pytest.mark.long
@pytest.mark.parametrize("n_clusters", [5, 8, 15, 29, 30, 60])
def test_means_are_covered_at_full_counts(n_clusters, proof):
    covered = coverage(np.random.default_rng(n_clusters), n_clusters, 4000)
    assert covered >= 0.92
    proof(f"Mean over {n_clusters} clusters of 5 items: covered in {covered:.3f} of 4000 replicates.")


def test_few_clusters_leave_one_out_and_many_are_drawn():
    assert (way_for(FEW_CLUSTERS - 1), way_for(FEW_CLUSTERS)) == ("jackknife", "bootstrap")
    rng = np.random.default_rng(0)
    way, parts = map_weightings(lambda w: w, n_clusters=5, resamples=100, rng=rng)
    np.testing.assert_array_equal(np.concatenate(parts), 1 - np.eye(5))
    assert way == "jackknife"
    _, parts = map_weightings(lambda w: w, n_clusters=40, resamples=100, rng=rng)
    drawn = np.concatenate(parts)
    assert drawn.shape == (100, 40)
    assert (drawn.sum(axis=1) == 40).all()


def test_an_estimate_that_many_resamples_lose_has_no_interval():
    replicates = np.ones((100, 1))
    replicates[:10] = np.nan
    assert np.isnan(interval(np.ones(1), replicates, "bootstrap").low[0])


def test_undefined_values_are_left_out_and_counted():
    values = np.array([[1.0], [np.nan], [3.0]] * 20)
    found = cluster_means(values, np.arange(60), resamples=100, rng=np.random.default_rng(0))
    assert found.mean[0] == 2.0
    assert found.n[0] == 40


def test_many_clusters_have_the_intervals_that_percentiles_of_many_draws_give(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=MANY_CLUSTERS)
    values = np.column_stack([rho * x + np.sqrt(1 - rho**2) * rng.normal(size=len(x)) for rho in (0.0, 0.3, 0.9, 1.0)])

    def found():
        return associate_items(
            values, x[:, None], np.arange(len(x)), within=False, resamples=1000, rng=np.random.default_rng(1)
        ).correlation()

    normal = found()
    monkeypatch.setattr(resampling, "MANY_CLUSTERS", 10**9)
    percentile = found()
    width = percentile.high - percentile.low
    for ends in ((normal.low, percentile.low), (normal.high, percentile.high)):
        assert np.all(np.abs(ends[0] - ends[1])[:3] <= 0.08 * width[:3])  # seen: .025
        assert ends[0][3] == pytest.approx(1, abs=EDGE)
