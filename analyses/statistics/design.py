"""Dependence between the items of a panel, and the items that a column can use.

Three designs cover what suites produce. *Items*: every item is independent. *Clusters*: items share a source, and a
whole source is at one level. *Paired*: the same source appears at several levels, so that differences between sources
cancel within it. The design decides what may be exchanged under the null and to what an interval generalises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
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
    """Sample sizes, ties and design effects of a rank association; all but its value.

    Attributes:
        n: items.
        n_clusters: independent ones.
        items_at: items with the lowest value of the score, and with the highest.
        clusters_at: clusters of the same.
        spans: whether a cluster holds several values of the score.
        within: whether ranks were taken inside clusters.
        tied: whether items share their values of the score, two or more a value, as they share levels.
        best: the largest correlation that these ties allow.
        edge: variance of the correlation near the largest one, in proportion to that of a proportion; at most 1, which
            it is of two values of the score, and the closer to 0 the more values there are.
        base: variance of the correlation where there is no association and items are independent.
        effect_of_design: per column, how much clusters raise that variance; 1 or more.
    """

    n: int
    n_clusters: int
    items_at: tuple[int, int]
    clusters_at: tuple[int, int]
    spans: bool
    within: bool
    tied: bool
    best: float
    edge: float
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
    tied = 2 * len(distinct) <= n
    ends = [score == distinct[0], score == distinct[-1]]
    sizes = np.bincount(clusters).astype(np.float64) if within else np.array([float(n)])
    ranks = np.asarray(stats.rankdata(score), dtype=np.float64) - (n + 1) / 2
    untied = ((sizes**3 - sizes) / 12).sum()
    if not within:
        score = ranks
    best = float(np.sqrt((score**2).sum() / untied))
    pairs = len(np.unique(np.column_stack([clusters, score]), axis=0))
    alike = n / (pairs if within else len(distinct))
    base = 1 / max((sizes - 1).sum(), 1.0)
    return Layout(
        n=n,
        n_clusters=n_clusters,
        items_at=(int(ends[0].sum()), int(ends[1].sum())),
        clusters_at=(len(np.unique(clusters[ends[0]])), len(np.unique(clusters[ends[1]]))),
        spans=pairs > n_clusters,
        within=within,
        tied=tied,
        best=best,
        edge=min(alike * (alike + 1) / 4 * best**2 / ((score**2).sum() * base), 1.0),
        base=base,
        effect_of_design=(
            np.ones(values.shape[1])
            if within or not tied or n_clusters == n
            else _effect_of_clusters(values, ranks, clusters)
        ),
    )


def _effect_of_clusters(
    values: Float[np.ndarray, "n columns"], ranks: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " columns"]:
    """Variance of a slope on centred ranks with clusters kept whole, over that of as many single items; 1 or more.

    Read off normal scores that are taken inside each level, so that it does not matter how far apart the levels lie. A
    level in one cluster says nothing of how alike the items of a cluster are; there they count as one item.
    """
    level = np.unique(ranks, return_inverse=True)[1].reshape(-1)
    items = np.bincount(level)[level, None]
    within = pd.DataFrame(values).groupby(level).rank().to_numpy(dtype=np.float64)
    scores = np.asarray(stats.norm.ppf((within - 0.5) / items), dtype=np.float64)
    size = np.sqrt(cluster_sums(scores**2, level)[level] / items)
    pulls = ranks[:, None] * np.where(size > 0, scores / np.where(size > 0, size, 1.0), 0.0)
    pairs, first = np.unique(level * len(level) + clusters, return_index=True)
    of_pair = np.searchsorted(pairs, level * len(level) + clusters)
    of_level = level[first]
    n_clusters = np.bincount(of_level)
    alone = n_clusters == 1
    squares = cluster_sums(cluster_sums(pulls, of_pair) ** 2, of_level)
    variance = (cluster_sums(pulls, clusters) ** 2).sum(axis=0)
    variance += (squares[~alone] / (n_clusters[~alone, None] - 1)).sum(axis=0)
    variance += (np.bincount(level, weights=ranks)[alone] ** 2).sum()
    return np.maximum(variance / (ranks**2).sum(), 1.0)


def cluster_sums(
    values: Float[np.ndarray, "items ..."], clusters: Int[np.ndarray, " items"]
) -> Float[np.ndarray, "clusters ..."]:
    """Sums over the items of each cluster; clusters are numbered from 0 without gaps."""
    order = np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(int(clusters.max()) + 1))
    return np.add.reduceat(values[order], starts, axis=0)


def exchanged(
    n: int, clusters: Int[np.ndarray, " n"], design: DesignKind, permutations: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, " n"]]:
    """Yield permutations of ``range(n)``: of all items, within clusters, or of whole clusters.

    Raises:
        ValueError: if whole clusters of different sizes are to change places.
    """
    by_cluster = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    if design == "clusters" and np.ptp(sizes):
        raise ValueError(
            f"whole clusters can only change places with clusters of their size; sizes are {set(sizes.tolist())}"
        )
    for _ in range(permutations):
        if design == "items":
            yield rng.permutation(n)
        elif design == "paired":
            # sorting by cluster and chance shuffles each cluster in its own places
            order = np.empty(n, dtype=np.int64)
            order[by_cluster] = np.lexsort((rng.random(n), clusters))
            yield order
        else:
            blocks = by_cluster.reshape(len(sizes), -1)
            order = np.empty(n, dtype=np.int64)
            order[blocks.reshape(-1)] = blocks[rng.permutation(len(sizes))].reshape(-1)
            yield order
