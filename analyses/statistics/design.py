"""How the items of a panel depend on each other, and which of them a column can use.

Three designs cover what suites produce. *Items*: every item stands alone. *Clusters*: items share a source, and a whole
source sits at one level. *Paired*: the same source appears at several levels, so that what it is about cancels within
it. The design decides what may be exchanged under the null and over what an interval may generalise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

DesignKind = Literal["items", "clusters", "paired"]
PAIRED_SHARE = 0.5  # of the clusters that hold two items or more at all, the share that must span levels


class Pattern(NamedTuple):
    """Columns that are defined for the same items.

    Attributes:
        columns: their indices.
        rows: the items for which they are defined.
    """

    columns: Int[np.ndarray, " some"]
    rows: Int[np.ndarray, " rows"]


class Layout(NamedTuple):
    """What the design says of a rank association before its size is looked at.

    Attributes:
        n: items.
        n_clusters: independent ones.
        items_at: items with the lowest value of the score, and with the highest.
        clusters_at: clusters of the same.
        spans: whether a cluster holds several values of the score.
        within: whether ranks were taken inside clusters.
        tied: whether items share their values of the score, two or more a value, as they share levels.
        best: the largest correlation that these ties allow.
        base: variance of the correlation where there is no association.
        effect_of_design: per column, how much clusters raise the variance of a difference of the two ends; 1 or more.
    """

    n: int
    n_clusters: int
    items_at: tuple[int, int]
    clusters_at: tuple[int, int]
    spans: bool
    within: bool
    tied: bool
    best: float
    base: float
    effect_of_design: Float[np.ndarray, " columns"]


def design_of(levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> DesignKind:
    """Classify the dependence between items from their levels and clusters.

    >>> design_of(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
    'paired'
    >>> design_of(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    'clusters'
    >>> design_of(np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2]))
    'items'
    """
    _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if (sizes == 1).all():
        return "items"
    low = np.full(len(sizes), np.inf)
    high = np.full(len(sizes), -np.inf)
    np.minimum.at(low, codes, levels)
    np.maximum.at(high, codes, levels)
    several = sizes > 1
    items_in_spanning = sizes[high > low].sum()
    return "paired" if items_in_spanning >= PAIRED_SHARE * len(levels) and (high > low)[several].any() else "clusters"


def recode(clusters: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The same clusters numbered from 0 without gaps."""
    return np.unique(clusters, return_inverse=True)[1].reshape(-1)


def finite_patterns(values: Float[np.ndarray, "n columns"], usable: Bool[np.ndarray, " n"]) -> Iterator[Pattern]:
    """Group columns by the items for which they are defined, so that each group is computed in one pass."""
    defined = np.isfinite(values) & usable[:, None]
    packed = np.packbits(defined, axis=0)
    _, group = np.unique(packed, axis=1, return_inverse=True)
    group = group.reshape(-1)
    for code in range(int(group.max(initial=-1)) + 1):
        columns = np.flatnonzero(group == code)
        yield Pattern(columns, np.flatnonzero(defined[:, columns[0]]))


def layout_of(
    values: Float[np.ndarray, "n columns"],
    score: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    within: bool,
) -> Layout:
    """Describe the design of a rank association.

    Args:
        values: the measures, without missing values; only how alike the items of a cluster are is read of them.
        score: what they are associated with; inside clusters its centred ranks.
        clusters: which items belong together, from 0.
        within: whether ranks were taken inside clusters.
    """
    n, n_clusters = len(score), int(clusters.max()) + 1
    distinct = np.unique(score)
    ends = [score == distinct[0], score == distinct[-1]]
    sizes = np.bincount(clusters).astype(np.float64) if within else np.array([float(n)])
    ranks = np.asarray(stats.rankdata(score), dtype=np.float64) - (n + 1) / 2
    untied = ((sizes**3 - sizes) / 12).sum()
    return Layout(
        n=n,
        n_clusters=n_clusters,
        items_at=(int(ends[0].sum()), int(ends[1].sum())),
        clusters_at=(len(np.unique(clusters[ends[0]])), len(np.unique(clusters[ends[1]]))),
        spans=len(np.unique(np.column_stack([clusters, score]), axis=0)) > n_clusters,
        within=within,
        tied=2 * len(distinct) <= n,
        best=float(np.sqrt(((score if within else ranks) ** 2).sum() / untied)),
        base=1 / max((sizes - 1).sum() if within else n_clusters - 1, 1.0),
        effect_of_design=(
            _effect_of_clusters(values, ends[1], clusters)
            if len(distinct) == 2 and not within and n_clusters < n
            else np.ones(values.shape[1])
        ),
    )


def _effect_of_clusters(
    values: Float[np.ndarray, "n columns"], upper: Bool[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " columns"]:
    """Variance of a difference of two groups with clusters kept whole, over that of as many single items; 1 or more.

    Read off normal scores that are taken inside each group, so that it does not matter how far apart the groups lie.
    """
    n_clusters = int(clusters.max()) + 1
    means: list[np.ndarray] = []
    variance = np.zeros(values.shape[1])
    for mask, sign in ((~upper, -1.0), (upper, 1.0)):
        own, n = clusters[mask], int(mask.sum())
        scores = stats.norm.ppf((np.asarray(stats.rankdata(values[mask], axis=0)) - 0.5) / n)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = scores / np.sqrt((scores**2).mean(axis=0))
            total = np.zeros((n_clusters, values.shape[1]))
            np.add.at(total, own, sign * scores / n)
            k = len(np.unique(own))
            variance += (total**2).sum(axis=0) * (np.float64(k) / (k - 1))
        means.append(total)
    variance += 2 * (means[0] * means[1]).sum(axis=0)
    single = 1 / upper.sum() + 1 / (~upper).sum()
    return np.where(np.isnan(variance), np.nan, np.maximum(variance / single, 1.0))
