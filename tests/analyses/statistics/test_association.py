"""Correlations across and within sources, and their partials, against least squares and loops."""

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.association import associate_items
from analyses.statistics.groups import contrast, standardised_difference
from tests.tolerances import CORRELATION, FLOAT64_ROUNDOFF, FLOAT64_SOLVED, gamma


@pytest.fixture
def rng():
    return np.random.default_rng(11)


# Added to values of size 1: each is then rounded to OFFSET roundoffs, and so is a mean of 100 of them. A difference of
# their squares would be off by OFFSET**2 roundoffs, 1e-4.
OFFSET = 1e6


def associate(values, scores, clusters, rng, *, within=False):
    return associate_items(values, scores, clusters, within=within, resamples=200, rng=rng)


def residuals(y, z):
    design = np.column_stack([np.ones_like(z), z])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


def test_partial_is_the_correlation_of_rank_residuals(rng):
    z = rng.normal(size=150)
    x, y = z + rng.normal(size=(2, 150))
    found = associate(y[:, None], np.column_stack([x, z]), np.arange(150), rng).partial(1)
    ranks = [stats.rankdata(values) for values in (x, y, z)]
    expected = np.corrcoef(residuals(ranks[0], ranks[2]), residuals(ranks[1], ranks[2]))[0, 1]
    assert found.value[0] == pytest.approx(expected, abs=FLOAT64_SOLVED)


def test_partial_slope_is_the_least_squares_coefficient_on_ranks(rng):
    z = rng.normal(size=150)
    x = (z + rng.normal(size=150) > 0).astype(float)
    y = x + z + rng.normal(size=150)
    found = associate(y[:, None], np.column_stack([x, z]), np.arange(150), rng).partial_slope(1)
    design = np.column_stack([np.ones(150), stats.rankdata(x), stats.rankdata(z)])
    expected = np.linalg.lstsq(design, stats.rankdata(y), rcond=None)[0][1]
    assert found.value[0] == pytest.approx(expected, abs=FLOAT64_SOLVED)


def test_a_covariate_that_is_the_level_leaves_nothing(rng):
    x = rng.normal(size=80)
    found = associate(rng.normal(size=(80, 1)), np.column_stack([x, 2 * x]), np.arange(80), rng).partial(1)
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()


def test_within_sources_equals_pooled_centred_ranks(rng):
    clusters = np.repeat(np.arange(40), 4)
    x = np.tile(np.arange(4.0), 40)
    y = rng.normal(size=160) + 0.5 * x + rng.normal(size=40)[clusters] * 5
    found = associate(y[:, None], x[:, None], clusters, rng, within=True).correlation()
    ranks = np.concatenate([stats.rankdata(y[clusters == c]) - 2.5 for c in range(40)])
    assert found.value[0] == pytest.approx(np.corrcoef(ranks, np.tile(np.arange(4.0) - 1.5, 40))[0, 1], abs=CORRELATION)
    across = associate(y[:, None], x[:, None], clusters, rng).correlation()
    assert found.value[0] > 2 * across.value[0] > 0


def test_columns_with_different_gaps_use_their_own_items(rng):
    x = rng.normal(size=100)
    values = x[:, None] + rng.normal(size=(100, 3))
    values[:40, 1] = np.nan
    values[:, 2] = np.nan
    found = associate(values, x[:, None], np.arange(100), rng)
    assert found.n.tolist() == [100, 60, 0]
    assert found.correlation().value[1] == pytest.approx(
        stats.spearmanr(x[40:], values[40:, 1]).statistic, abs=CORRELATION
    )
    assert np.isnan(found.correlation().value[2])


def test_whole_clusters_widen_the_interval_when_they_agree(rng):
    cluster = np.repeat(np.arange(50), 6)
    x = rng.normal(size=50)[cluster]
    y = (x + rng.normal(size=50)[cluster] + rng.normal(size=300) * 0.1)[:, None]
    whole = associate(y, x[:, None], cluster, rng).correlation()
    single = associate(y, x[:, None], np.arange(300), rng).correlation()
    assert whole.high[0] - whole.low[0] > 1.8 * (single.high[0] - single.low[0])


def test_delta_and_difference_know_a_large_effect_and_its_sign(rng):
    shifted = np.arange(200) % 2 == 1
    values = rng.normal(size=(200, 2)) + shifted[:, None] * np.array([4.8, -4.8])
    found = contrast(values, shifted, np.arange(200), rng=rng)
    assert found.delta.value[0] > 0.99
    assert found.delta.value[1] < -0.99
    pooled = np.sqrt((values[shifted].var(axis=0, ddof=1) + values[~shifted].var(axis=0, ddof=1)) / 2)
    expected = (values[shifted].mean(axis=0) - values[~shifted].mean(axis=0)) / pooled
    np.testing.assert_allclose(found.difference.value, expected, rtol=FLOAT64_SOLVED)


def test_difference_survives_a_large_offset(rng):
    shifted = np.arange(100) % 2 == 1
    values = rng.normal(size=(100, 1)) + shifted[:, None]
    near = standardised_difference(values, shifted, np.arange(100), resamples=50, rng=rng)
    far = standardised_difference(values + OFFSET, shifted, np.arange(100), resamples=50, rng=rng)
    assert far.value[0] == pytest.approx(near.value[0], rel=OFFSET * gamma(100, FLOAT64_ROUNDOFF))


def test_the_result_does_not_depend_on_the_number_of_threads(rng, monkeypatch):
    x, y = rng.normal(size=(2, 120))
    results = []
    for cores in (1, 4):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found = associate(y[:, None], x[:, None], np.arange(120), np.random.default_rng(3)).correlation()
        results.append((found.low[0], found.high[0]))
    assert results[0] == results[1]


def test_two_clusters_and_one_have_no_interval(rng):
    x, y = rng.normal(size=(2, 12))
    for n_clusters in (1, 2):
        found = associate(y[:, None], x[:, None], np.arange(12) % n_clusters, rng).correlation()
        assert np.isfinite(found.value[0])
        assert np.isnan([found.low[0], found.high[0]]).all()


@pytest.mark.parametrize("n", [8, 20, 40])
def test_one_pair_out_of_order_hardly_moves_the_interval_of_a_perfect_correlation(n, rng):
    """The jackknife on Fisher's scale went from no interval to [-1, 1] there."""
    x = np.arange(float(n))
    swapped = x.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    found = associate(np.column_stack([x, swapped]), x[:, None], np.arange(n), rng).correlation()
    assert found.value[0] == pytest.approx(1)
    assert 0.4 < found.low[1] <= found.low[0] < 1
    assert found.high[1] < found.high[0] == pytest.approx(1)
    assert found.low[0] - found.low[1] < 0.25
