"""How far apart are two groups of items? For axes without an order: shifted against in-distribution.

Cliff's delta is the chance that a shifted item is higher than an in-distribution one, less the chance that it is
lower: -1 and 1 are complete separation, 0 is none. It needs no scale. The standardised difference (in units of the
pooled standard deviation) says how far beyond separation the groups lie, and does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analyses.statistics.association import Association, associate_items, cluster_sums
from analyses.statistics.design import DesignKind, design_of, recode
from analyses.statistics.estimate import Estimates
from analyses.statistics.permutation import design_p
from analyses.statistics.resampling import interval, map_weightings
from analyses.statistics.trend import RESAMPLES


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
