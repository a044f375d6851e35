"""Gains of several treatments over a reference on the same items, and the chance that the largest of them is luck.

Items are answered under every treatment, so each item is compared with itself. Intervals come from whole clusters of
items (:func:`analyses.statistics.groups.cluster_means`). The test flips the signs of a cluster's differences, for all
treatments together: under no effect of any treatment, treatment and reference could as well have changed names. The
largest standardised gain under each flipping gives p-values that bound the chance of a single false one (max-T).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.association import cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.groups import cluster_means
from analyses.statistics.resampling import LEVEL, student
from analyses.statistics.trend import RESAMPLES

FLIPS: Final = 1999
TIES: Final = 1e-12  # relative: equal sums that were added up in another order


class Gains(NamedTuple):
    """One gain per column.

    Attributes:
        value: mean difference.
        low: lower end of its 95 % interval.
        high: upper end.
        error: standard error, over clusters.
        p: two-sided, of each alone.
        p_family: two-sided, of the largest of all (single-step max-T).
        n_clusters: independent items.
    """

    value: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    error: Float[np.ndarray, " columns"]
    p: Float[np.ndarray, " columns"]
    p_family: Float[np.ndarray, " columns"]
    n_clusters: int

    def interval(self, column: int) -> tuple[float, float]:
        """Both ends of one."""
        return float(self.low[column]), float(self.high[column])


def paired_gains(
    differences: Float[np.ndarray, "n columns"],
    clusters: Int[np.ndarray, " n"],
    *,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
    rng: np.random.Generator,
) -> Gains:
    """Gains of every column with intervals and tests.

    A column without any difference is no gain for sure: its p-values are 1.

    Args:
        differences: treatment less reference, one row per item; all defined.
        clusters: which items belong together.
        resamples: draws of clusters for the intervals.
        flips: draws of signs for the tests.
        rng: the source of chance.
    """
    codes = recode(clusters)
    n_clusters = int(codes.max()) + 1
    means = cluster_means(differences, codes, resamples=resamples, rng=rng)
    sums, sizes = cluster_sums(differences, codes), np.bincount(codes)
    size = np.sqrt((sums**2).sum(axis=0))
    scale = np.where(size > 0, size, 1.0)
    signs = rng.integers(0, 2, (flips, n_clusters)) * 2.0 - 1.0
    flipped = np.abs(signs @ sums) / scale
    observed = np.abs(sums.sum(axis=0)) / scale * (1 - TIES)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = ((sums - np.outer(sizes, means.mean)) ** 2).sum(axis=0)
        error = np.sqrt(spread * n_clusters / (n_clusters - 1)) / len(codes)
    return Gains(
        value=means.mean,
        low=means.low,
        high=means.high,
        error=error,
        p=(1 + (flipped >= observed).sum(axis=0)) / (1 + flips),
        p_family=(1 + (flipped.max(axis=1)[:, None] >= observed).sum(axis=0)) / (1 + flips),
        n_clusters=n_clusters,
    )


class Both(NamedTuple):
    """The smaller of two gains: whether something is better than each of two references.

    Attributes:
        value: the smaller gain.
        low: better than both is claimed where this is above zero (the intersection-union test, at 95 % each).
        high: not better than one of them is claimed where this is below zero; at 97.5 % each, because either will do.
        p: two-sided, of the claim on whose side the smaller gain lies.
    """

    value: float
    low: float
    high: float
    p: float


def smaller(gains: Gains, columns: tuple[int, int]) -> Both:
    """Better than each of two references, by the gains over them.

    Args:
        gains: gains over both among others.
        columns: of the two.
    """
    chosen = list(columns)
    value = float(gains.value[chosen].min())
    freedom = float("inf") if gains.n_clusters > MANY else float(max(gains.n_clusters - 1, 1))
    wider = student(1 - (1 - LEVEL) / 4, freedom) / student(1 - (1 - LEVEL) / 2, freedom)
    high = gains.value[chosen] + (gains.high[chosen] - gains.value[chosen]) * wider
    p = gains.p[chosen]
    worse = gains.value[chosen] < 0
    claimed = float(min(1.0, 2 * p[worse].min())) if worse.any() else float(p.max())
    return Both(value, float(gains.low[chosen].min()), float(high.min()), claimed)


MANY: Final = 30  # clusters from which Student's quantiles are as good as normal ones
