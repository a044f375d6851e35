"""Means of groups of items and their intervals, clusters kept whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.association import cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.resampling import interval, map_weightings


class Means(NamedTuple):
    """Mean per column, its 95 % interval, and how many items and clusters it rests on."""

    mean: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    n: Int[np.ndarray, " columns"]
    n_clusters: int


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
    mean = means(np.ones((1, n_clusters)))[0]
    bounds = interval(mean, np.concatenate(parts), way)
    return Means(mean, bounds.low, bounds.high, n, n_clusters)
