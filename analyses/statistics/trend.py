"""The trend of a measure along an ordered axis, estimated and tested over items, never over level means."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import Association, associate_items, cluster_sums
from analyses.statistics.design import DesignKind, design_of, finite_patterns, recode
from analyses.statistics.permutation import design_p
from analyses.statistics.resampling import LEVEL, Estimates

RESAMPLES: Final = 2000
BLOCK: Final = 2048  # items whose pairs are compared at a time


class Trend(NamedTuple):
    """The trend of every column along the axis.

    Attributes:
        design: how the items depend on each other.
        correlation: Spearman's rho, or the pooled rank correlation within sources in a paired design.
        tau_b: Kendall's tau-b over all items.
        p: two-sided p-value of the design's test.
        association: the correlations with level and covariates, for partials.
    """

    design: DesignKind
    correlation: Estimates
    tau_b: Float[np.ndarray, " columns"]
    p: Float[np.ndarray, " columns"]
    association: Association


def trend(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    covariates: Float[np.ndarray, "n covariates"] | None = None,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Trend:
    """Estimates and test the trend of every column along an ordered axis.

    Args:
        values: the measures, one column each; NaN where undefined.
        levels: place on the axis; two values make it a contrast of two groups.
        clusters: which items belong together.
        covariates: scores to be held fixed later, as ``association.partial(1 + index)``.
        resamples: bootstrap draws.
        rng: the source of chance.
    """
    design = design_of(levels, clusters)
    scores = levels[:, None] if covariates is None else np.column_stack([levels, covariates])
    association = associate_items(values, scores, clusters, within=design == "paired", resamples=resamples, rng=rng)
    usable = np.asarray(np.isfinite(scores).all(axis=1))
    tau_b, p = np.full((2, values.shape[1]), np.nan)
    for columns, rows in finite_patterns(values, usable):
        if len(rows) > 1:
            for column in columns:
                tau_b[column], p[column] = stats.kendalltau(levels[rows], values[rows, column])
    if design != "items":
        p = design_p(design, values[usable], levels[usable], clusters[usable], rng)
    return Trend(design, association.correlation(), tau_b, p, association)


class Concordance(NamedTuple):
    r"""Kendall's tau-b and Somers' D of every column: how much more often two items are in the order of their levels.

    Unlike Spearman's rho they are probabilities of pairs. Both are ratios of sums over pairs, so their errors follow
    from what each cluster contributes to those sums (the delta method), clusters kept whole.

    .. math:: \tau_b = \frac{S}{\sqrt{P_x P_y}}, \qquad D_{y|x} = \frac{S}{P_x}

    with S the concordant less the discordant pairs and P the pairs that are not tied on one side.
    """

    tau_b: Estimates
    somers_d: Estimates


def concordance(
    values: Float[np.ndarray, "n columns"], levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Concordance:
    """Coefficients with Student's intervals over clusters.

    Args:
        values: the measures, without missing values.
        levels: place on the axis.
        clusters: which items belong together.
    """
    codes = recode(clusters)
    n_clusters = int(codes.max()) + 1
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, max(n_clusters - 1, 1)))
    tau, somers = np.full((2, 3, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        pairs = _pair_sums(values[:, column], levels)
        s, p_x, p_y = pairs.sum(axis=0)
        if n_clusters < 2 or not p_x or not p_y:
            continue
        # each pair is counted at both of its items, so a cluster's derivative of log(sum) is twice its share
        shares = 2 * cluster_sums(pairs, codes)
        d_s, d_x, d_y = shares.T
        for into, value, change in (
            (tau, s / np.sqrt(p_x * p_y), (d_s - s / 2 * (d_x / p_x + d_y / p_y)) / np.sqrt(p_x * p_y)),
            (somers, s / p_x, (d_s - s * d_x / p_x) / p_x),
        ):
            error = np.sqrt(n_clusters / (n_clusters - 1) * ((change - change.mean()) ** 2).sum())
            into[:, column] = value, max(value - quantile * error, -1.0), min(value + quantile * error, 1.0)
    return Concordance(Estimates(*tau), Estimates(*somers))


def _pair_sums(values: Float[np.ndarray, " n"], levels: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Contribution of each item to S, P_x and P_y, as sums over all other items."""
    n = len(values)
    sums = np.empty((n, 3))
    for start in range(0, n, BLOCK):
        x = np.sign(levels[start : start + BLOCK, None] - levels).astype(np.int8)
        y = np.sign(values[start : start + BLOCK, None] - values).astype(np.int8)
        sums[start : start + BLOCK, 0] = (x * y).sum(axis=1, dtype=np.int64)
        sums[start : start + BLOCK, 1] = np.count_nonzero(x, axis=1)
        sums[start : start + BLOCK, 2] = np.count_nonzero(y, axis=1)
    return sums
