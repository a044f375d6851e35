"""Groups of items: their means with intervals, and how far apart two of them are. Clusters are kept whole.

Cliff's delta is the probability that a shifted item is higher than an in-distribution one, less the probability that it
is lower: -1 and 1 are complete separation, 0 is none. It needs no scale. The standardised difference (in units of the
pooled standard deviation) says how far beyond separation the groups lie, and does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from analyses.statistics.association import Association, associate_items, cluster_sums
from analyses.statistics.design import DesignKind, design_of, recode
from analyses.statistics.intervals import bca
from analyses.statistics.permutation import design_p
from analyses.statistics.resampling import LEVEL, Estimates, Interval, interval, map_weightings
from analyses.statistics.trend import RESAMPLES
from probes.intervals import mean_interval


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

    Draws that are all the same have no spread to judge by, and so neither interval nor p-value. One draw that is not
    defined leaves nothing defined.

    >>> found = average(np.array([0.2, 0.4, 0.6]))
    >>> round(found.mean, 2), round(found.interval[0], 2), round(found.p, 2)
    (0.4, -0.1, 0.07)
    """
    mean, low, high, n = mean_interval(draws)
    if n < len(draws):
        mean = float("nan")
    if n < max(2, len(draws)) or not np.ptp(draws):
        return Average(mean, (float("nan"), float("nan")), float("nan"))
    error = float(draws.std(ddof=1) / np.sqrt(n))
    return Average(mean, (low, high), float(2 * stats.t.sf(abs(mean) / error, n - 1)))


def share_interval(share: float, spread: tuple[float, float], n: float) -> tuple[float, float]:
    """95 % interval of a share: that of its spread, as far as shares go; where there is no spread that of a count.

    Answers that are all right or all wrong differ nowhere, so resampling would put the share at one point. Then the
    interval is Clopper and Pearson's of n independent answers: of none right it ends at ``1 - 0.025 ** (1 / n)``.

    Args:
        share: between 0 and 1.
        spread: its interval by the spread of the answers.
        n: independent answers behind it, at least one; need not be a whole number.

    >>> [round(end, 3) for end in share_interval(1.0, (1.0, 1.0), 10.0)], share_interval(0.1, (-0.1, 0.3), 10.0)
    ([0.692, 1.0], (0.0, 0.3))
    """
    if share in (0.0, 1.0):
        proportion: Any = import_module("statsmodels.stats.proportion")
        low, high = proportion.proportion_confint(share * n, n, alpha=1 - LEVEL, method="beta")
        return float(low), float(high)
    return max(spread[0], 0.0), min(spread[1], 1.0)


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


class Contrast(NamedTuple):
    """Shifted against in-distribution items, per column.

    Attributes:
        design: how the items depend on each other.
        delta: Cliff's delta; positive where shifted items are higher.
        difference: difference of means in pooled standard deviations.
        p: two-sided p-value of the design's test.
        association: rank correlations with membership and covariates; ``partial_slope`` is delta given a covariate.
    """

    design: DesignKind
    delta: Estimates
    difference: Estimates
    p: Float[np.ndarray, " columns"]
    association: Association


def contrast(
    values: Float[np.ndarray, "n columns"],
    shifted: Bool[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    covariates: Float[np.ndarray, "n covariates"] | None = None,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Contrast:
    """Compare shifted with in-distribution items in every column.

    Where shifted items share a cluster with the items they were made from, whole clusters are resampled and the test
    exchanges members within clusters only.

    Args:
        values: the measures, one column each; NaN where undefined.
        shifted: which items are shifted.
        clusters: which items belong together.
        covariates: scores to be held fixed later, as ``association.partial_slope(1 + index)``.
        resamples: bootstrap draws.
        rng: the source of chance.
    """
    membership = shifted.astype(np.float64)
    design = design_of(membership, clusters)
    scores = membership[:, None] if covariates is None else np.column_stack([membership, covariates])
    association = associate_items(values, scores, clusters, within=False, resamples=resamples, rng=rng)
    difference = standardised_difference(values, shifted, clusters, resamples=resamples, rng=rng)
    p = design_p(design, values, membership, clusters, rng)
    return Contrast(design, association.slope(), difference, p, association)


def standardised_difference(
    values: Float[np.ndarray, "n columns"],
    shifted: Bool[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Estimates:
    """Difference of means over the pooled within-group standard deviation (Cohen's d), clusters kept whole."""
    codes = recode(clusters)
    n_clusters = int(codes.max()) + 1
    defined = np.isfinite(values)
    # deviations from the column mean: squares of raw values would cancel badly for large means
    deviations = np.where(defined, values - np.nanmean(np.where(defined.any(axis=0), values, 0.0), axis=0), 0.0)
    counted = defined[:, :1] if defined.all() else defined  # one column of counts stands for all that are complete
    moments = [counted.astype(np.float64), deviations, deviations**2]
    groups = [
        [cluster_sums(np.where(mask[:, None], moment, 0.0), codes) for moment in moments]
        for mask in (~shifted, shifted)
    ]
    # deviations are small and few places are enough for replicates: half the width is half the time
    narrow = [[sums.astype(np.float32) for sums in group] for group in groups]

    def differences(weights: Float[np.ndarray, "weightings clusters"]) -> Float[np.ndarray, "weightings columns"]:
        own = narrow if weights.dtype == np.float32 else groups
        (n_0, sum_0, square_0), (n_1, sum_1, square_1) = ([weights @ sums for sums in group] for group in own)
        with np.errstate(invalid="ignore", divide="ignore"):
            within = square_0 - sum_0**2 / n_0 + square_1 - sum_1**2 / n_1
            return (sum_1 / n_1 - sum_0 / n_0) / np.sqrt(within / (n_0 + n_1 - 2))

    way, parts = map_weightings(differences, n_clusters=n_clusters, resamples=resamples, rng=rng)
    value = differences(np.ones((1, n_clusters)))[0]
    return Estimates(value, *interval(value, np.concatenate(parts).astype(np.float64), way))
