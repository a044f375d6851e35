"""Means of groups of items and their intervals, clusters kept whole; and of a few draws, each one number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.intervals import bca
from analyses.statistics.resampling import LEVEL, Interval, interval, map_weightings


class Means(NamedTuple):
    """Mean per column, its 95 % interval, and how many items and clusters it rests on."""

    mean: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    n: Int[np.ndarray, " columns"]
    n_clusters: int


class Average(NamedTuple):
    """Mean of a few draws, its 95 % interval and the two-sided p-value of a mean of zero; NaN below two draws."""

    mean: float
    interval: tuple[float, float]
    p: float


def average(draws: Float[np.ndarray, " n"]) -> Average:
    """Student's interval over draws that count one each: domains, suites, seeds.

    Draws that are all the same have no spread to judge by, and so neither interval nor p-value.

    >>> found = average(np.array([0.2, 0.4, 0.6]))
    >>> round(found.mean, 2), round(found.interval[0], 2), round(found.p, 2)
    (0.4, -0.1, 0.07)
    """
    n = len(draws)
    mean = float(draws.mean()) if n else float("nan")
    if n < 2 or not np.ptp(draws):
        return Average(mean, (float("nan"), float("nan")), float("nan"))
    error = float(draws.std(ddof=1) / np.sqrt(n))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Average(mean, (mean - half, mean + half), float(2 * stats.t.sf(abs(mean) / error, n - 1)))


def cluster_means(
    values: Float[np.ndarray, "n columns"],
    clusters: Int[np.ndarray, " n"],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Means:
    """Mean of each column over items; undefined values are left out and show in ``n``.

    Args:
        values: the measures; NaN where undefined.
        clusters: which items belong together.
        resamples: bootstrap draws, where the bootstrap is used.
        rng: the source of chance.
    """
    codes = recode(clusters)
    n_clusters = int(codes.max(initial=-1)) + 1
    defined = np.isfinite(values)
    if not n_clusters:
        empty = np.full(values.shape[1], np.nan)
        return Means(empty, empty, empty, defined.sum(axis=0), 0)
    n = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.where(defined, values, 0.0).sum(axis=0) / n
    sums = cluster_sums(np.where(defined, values - middle, 0.0), codes)
    # one column of counts stands for all that are complete
    counts = cluster_sums((defined[:, :1] if defined.all() else defined).astype(np.float64), codes)
    # deviations are small and few places are enough for replicates: half the width is half the time
    narrow = sums.astype(np.float32), counts.astype(np.float32)

    def means(weights: Float[np.ndarray, "weightings clusters"]) -> Float[np.ndarray, "weightings columns"]:
        own_sums, own_counts = narrow if weights.dtype == np.float32 else (sums, counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return middle + (weights @ own_sums) / (weights @ own_counts)

    way, parts = map_weightings(means, n_clusters=n_clusters, resamples=resamples, rng=rng)
    mean, replicates = means(np.ones((1, n_clusters)))[0], np.concatenate(parts)
    bounds = interval(mean, replicates, way)
    if way == "bootstrap":  # of skewed measures percentiles miss on one side
        with np.errstate(invalid="ignore", divide="ignore"):
            left_out = middle - sums / (n - counts)
        own = bca(mean, replicates, left_out)
        bounds = Interval(*(np.where(np.isfinite(a), a, b) for a, b in zip(own, bounds, strict=True)))
    return Means(mean, bounds.low, bounds.high, n, n_clusters)
