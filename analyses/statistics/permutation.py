"""Permutation tests that exchange only what the design makes exchangeable under the null hypothesis.

Independent items: all items are exchanged; the statistic is Jonckheere-Terpstra's with mid-ranks, which is Kendall's S
of level and value, and its permutation variance with ties is known in closed form. Paired items: ranks within each
source (Page's test, with ties, variance exact). Items that share a source at one level: whole sources, by random
permutation.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import centred_within, cluster_sums
from analyses.statistics.design import DesignKind, exchanged, finite_patterns, recode

PERMUTATIONS: Final = 1999
NUMBERS_AT_ONCE: Final = 1_000_000  # permuted values held at a time

TEST_NAMES: Final[dict[DesignKind, str]] = {
    "items": "Jonckheere-Terpstra over items, mid-ranks",
    "paired": "Page trend within source items, mid-ranks",
    "clusters": "rank trend, whole clusters permuted",
}

CONTRAST_NAMES: Final[dict[DesignKind, str]] = {
    "items": "Mann-Whitney over items, mid-ranks",
    "paired": "signs within source items",
    "clusters": "rank difference, whole clusters permuted",
}


def design_p(
    design: DesignKind,
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """Two-sided p-value of the trend of each column along the levels, by the test of the design.

    With two levels it is the test of a contrast: Jonckheere-Terpstra becomes Mann-Whitney.
    """
    p = np.full(values.shape[1], np.nan)
    for columns, rows in finite_patterns(values, np.isfinite(levels)):
        some, own_levels, own_clusters = values[np.ix_(rows, columns)], levels[rows], recode(clusters[rows])
        n_levels = len(np.unique(own_levels))
        if n_levels < 2:
            continue
        if design == "items":
            test = _mann_whitney_p if n_levels == 2 else _kendall_p
            p[columns] = test(some, own_levels)
        elif design == "paired":
            p[columns] = page_p(some, own_levels, own_clusters)
        else:
            p[columns] = whole_cluster_p(some, own_levels, own_clusters, rng)
    return p


def _kendall_p(
    values: Float[np.ndarray, "n columns"], levels: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " columns"]:
    return np.array([stats.kendalltau(levels, column).pvalue for column in values.T])


def _mann_whitney_p(
    values: Float[np.ndarray, "n columns"], levels: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " columns"]:
    """Kendall's p-value of two levels: the same statistic and variance, for all columns in one call."""
    low = levels == levels.min()
    found = stats.mannwhitneyu(values[low], values[~low], use_continuity=False, method="asymptotic", axis=0)
    return np.asarray(found.pvalue, dtype=np.float64)


def page_p(
    values: Float[np.ndarray, "n columns"], levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " columns"]:
    """Two-sided p-value of the rank trend within clusters, from its exact permutation variance.

    Exchanging values within a cluster of m items, the sum of products of centred ranks has mean 0 and variance
    (sum of squares of one) x (sum of squares of the other) / (m - 1), ties included; clusters add up.
    """
    ranks = centred_within(values, clusters)
    level_ranks = centred_within(levels[:, None], clusters)
    products = cluster_sums(ranks * level_ranks, clusters).sum(axis=0)
    sizes = np.bincount(clusters)
    freedom = np.maximum(sizes - 1, 1)[:, None]  # a cluster of one item has no squares and adds nothing
    variance = (cluster_sums(ranks**2, clusters) * cluster_sums(level_ranks**2, clusters) / freedom).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * stats.norm.sf(np.abs(products) / np.sqrt(variance)), dtype=np.float64)


def whole_cluster_p(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> Float[np.ndarray, " columns"]:
    """Two-sided permutation p-value of the rank covariance when whole clusters exchange their levels.

    The level of a cluster is that of its items; where a few clusters span levels it is their mean rank.
    """
    ranks = np.asarray(stats.rankdata(values, axis=0), dtype=np.float64) - (len(values) + 1) / 2
    sizes = np.bincount(clusters)
    sums = cluster_sums(ranks, clusters)
    level_ranks = cluster_sums(stats.rankdata(levels)[:, None], clusters)[:, 0] / sizes
    observed = np.abs(_covariance(level_ranks[None], sizes, sums))
    exceeded = np.zeros(values.shape[1])
    for start in range(0, permutations, 250):
        count = min(250, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(level_ranks, (count, len(level_ranks))), axis=1)
        exceeded += (np.abs(_covariance(shuffled, sizes, sums)) >= observed * (1 - 1e-12)).sum(axis=0)
    constant = np.ptp(values, axis=0) == 0
    return np.where(constant, np.nan, (1 + exceeded) / (1 + permutations))


def _covariance(
    cluster_levels: Float[np.ndarray, "permutations clusters"],
    sizes: Int[np.ndarray, " clusters"],
    sums: Float[np.ndarray, "clusters columns"],
) -> Float[np.ndarray, "permutations columns"]:
    """Covariance over the spread of the levels, which permuting clusters of unequal sizes changes."""
    total = sizes.sum()
    mean = cluster_levels @ sizes / total
    centred = cluster_levels - mean[:, None]
    spread = np.sqrt((centred**2) @ sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (centred @ sums) / spread[:, None]


def freedman_lane_p(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    covariates: Float[np.ndarray, "n covariates"],
    clusters: Int[np.ndarray, " n"],
    *,
    design: DesignKind = "items",
    permutations: int = PERMUTATIONS,
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """Two-sided p-value of the partial rank correlation of each column with the levels, by Freedman and Lane (1983).

    Permuting levels would break their tie with the covariates, and permuting values that of the values with them; so
    ranks of the values are regressed on ranks of the covariates, residuals are exchanged as the design allows, the fit
    is added back, and the partial correlation is computed anew. NaN where covariates explain the levels or the values
    completely.

    Args:
        values: the measures, without missing values.
        levels: place on the axis.
        covariates: what is held fixed.
        clusters: which items belong together, from 0.
        design: what may be exchanged: items, ranks within clusters (``paired``); whole clusters must be of one size.
        permutations: how many random permutations.
        rng: the source of chance.
    """
    ranks = _centred(values)
    basis = np.asarray(np.linalg.qr(_centred(covariates))[0], dtype=np.float64)
    fitted = basis @ (basis.T @ ranks)
    residual = ranks - fitted
    level = _centred(levels[:, None])[:, 0]
    level = level - basis @ (basis.T @ level)
    if (level**2).sum() < 1e-9 * len(level) ** 3:
        return np.full_like(ranks[0], np.nan)

    observed = _partial_size(ranks, basis, level)
    exceeded = np.zeros(values.shape[1], dtype=np.int64)
    orders = exchanged(len(values), clusters, design, permutations, rng)
    at_once = max(1, NUMBERS_AT_ONCE // values.size)
    while some := list(islice(orders, at_once)):
        exceeded += (_partial_size(fitted + residual[np.stack(some)], basis, level) >= observed * (1 - 1e-12)).sum(
            axis=0
        )
    explained = (residual**2).sum(axis=0) < 1e-9 * len(level) ** 3
    return np.where(explained, np.nan, (1 + exceeded) / (1 + permutations))


def _partial_size(
    values: Float[np.ndarray, "... n columns"], basis: Float[np.ndarray, "n covariates"], level: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "... columns"]:
    """Absolute correlation, up to a constant, of the levels with what the covariates leave of the values."""
    rest = values - basis @ (basis.T @ values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(level @ rest) / np.sqrt((rest**2).sum(axis=-2)), dtype=np.float64)


def _centred(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    return np.asarray(stats.rankdata(values, axis=0), dtype=np.float64) - (len(values) + 1) / 2
