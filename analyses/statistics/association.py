"""Rank association of every column with a level and with covariates, with what is needed for intervals and partials.

Across items it is Spearman's correlation. Within sources (a paired design) it is the same inside each source: ranks are
taken within the cluster, and sums of squares and products are pooled over clusters, the correlation form of Page's
test. Either way the result is a correlation matrix per weighting, so partial correlations and their intervals follow
without another pass over the items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.statistics.design import Layout, cluster_sums, finite_patterns, layout_of, recode
from analyses.statistics.intervals import correlation_interval, delta_interval, fisher_interval
from analyses.statistics.ranks import COARSE, Associations, associate, group
from analyses.statistics.resampling import Estimates, Interval, Way, interval, map_weightings

COLLINEAR: Final = 1e-9  # share of a score's variance left beside another; below it they are one score

Estimator = Callable[[Associations], np.ndarray]
Bounds = Callable[[np.ndarray, np.ndarray, Way, Layout], Interval]


class Block(NamedTuple):
    """The correlations of those columns that are defined for the same items.

    Attributes:
        columns: which.
        estimate: from all items.
        replicates: under each weighting.
        way: how the weightings were made.
        layout: what the design says of the first score.
    """

    columns: Int[np.ndarray, " some"]
    estimate: Associations
    replicates: Associations
    way: Way
    layout: Layout


@dataclass(frozen=True, slots=True)
class Association:
    """Rank correlations of columns with scores; the first score is the one asked about."""

    n_columns: int
    blocks: tuple[Block, ...]

    def correlation(self, score: int = 0) -> Estimates:
        """Correlation with one score, by default the first."""
        first = correlation_interval if score == 0 else _fisher
        return self._estimate(lambda found: found.columns[..., score], first)

    def partial(self, score: int) -> Estimates:
        r"""Correlation with the first score given another one; NaN where the two scores are one.

        .. math:: r_{xy \cdot z} = \frac{r_{xy} - r_{xz} r_{yz}}{\sqrt{(1 - r_{xz}^2)(1 - r_{yz}^2)}}
        """
        return self._estimate(lambda found: partial_of(found, score), _fisher)

    def slope(self) -> Estimates:
        """Slope of ranks on ranks of the first score, which is zero or one: Cliff's delta."""
        return self._estimate(lambda found: np.clip(found.columns[..., 0] * found.ratio, -1.0, 1.0), delta_interval)

    def partial_slope(self, score: int) -> Estimates:
        """The same slope given another score; NaN where the two scores are one.

        Unlike the slope itself it may lie beyond 1: what is left of a score spreads less than the score.
        """
        return self._estimate(lambda found: partial_slope_of(found, score), _unbounded)

    def partial_all(self, scores: Sequence[int], *, slope: bool) -> Estimates:
        r"""Correlation with the first score given several others together, or its slope; NaN where nothing is left.

        .. math:: r_{xy \cdot Z} = \frac{r_{xy} - r_{xZ} R_Z^{-1} r_{Zy}}
                                        {\sqrt{(1 - r_{xZ} R_Z^{-1} r_{Zx})(1 - r_{yZ} R_Z^{-1} r_{Zy})}}
        """

        def given(found: Associations) -> np.ndarray:
            held = list(scores)
            among, x, y = found.scores[:, held][:, :, held], found.scores[:, 0, held], found.columns[:, :, held]
            inverse = np.linalg.pinv(np.where(np.isfinite(among), among, 0.0), hermitian=True)
            of_x, of_y = np.einsum("bi,bij->bj", x, inverse), np.einsum("bci,bij->bcj", y, inverse)
            rest = found.columns[..., 0] - np.einsum("bj,bcj->bc", of_x, y)
            left_x = _positive_root(1 - np.einsum("bj,bj->b", of_x, x))[:, None]
            if slope:
                return rest / left_x**2 * found.ratio
            return rest / (left_x * _positive_root(1 - np.einsum("bcj,bcj->bc", of_y, y)))

        return self._estimate(given, _unbounded if slope else _fisher)

    @property
    def n(self) -> Int[np.ndarray, " columns"]:
        """Items used per column."""
        return self._spread([block.layout.n for block in self.blocks])

    @property
    def n_clusters(self) -> Int[np.ndarray, " columns"]:
        """Clusters used per column."""
        return self._spread([block.layout.n_clusters for block in self.blocks])

    def _spread(self, numbers: list[int]) -> Int[np.ndarray, " columns"]:
        spread = np.zeros(self.n_columns, dtype=np.int64)
        for block, number in zip(self.blocks, numbers, strict=True):
            spread[block.columns] = number
        return spread

    def _estimate(self, estimator: Estimator, bounds_of: Bounds) -> Estimates:
        value, low, high = np.full((3, self.n_columns), np.nan)
        for block in self.blocks:
            estimate = estimator(block.estimate)[0]
            bounds = bounds_of(estimate, estimator(block.replicates), block.way, block.layout)
            value[block.columns], low[block.columns], high[block.columns] = estimate, bounds.low, bounds.high
        return Estimates(value, low, high)


def _fisher(estimate: np.ndarray, replicates: np.ndarray, way: Way, layout: Layout) -> Interval:
    return fisher_interval(estimate, replicates, way, layout.n_clusters)


def _unbounded(estimate: np.ndarray, replicates: np.ndarray, way: Way, _: Layout) -> Interval:
    return interval(estimate, replicates, way)


def partial_of(found: Associations, score: int) -> Float[np.ndarray, "weightings columns"]:
    """Correlation of the columns with the first score given another one, under every weighting."""
    r_yz, r_xz = found.columns[..., score], found.scores[..., 0, score, None]
    return _beyond(found, score) / _positive_root((1 - r_xz**2) * (1 - r_yz**2))


def partial_slope_of(found: Associations, score: int) -> Float[np.ndarray, "weightings columns"]:
    """Slope of the columns' ranks on those of the first score given another one, under every weighting."""
    r_xz = found.scores[..., 0, score, None]
    return _beyond(found, score) / _positive_root(1 - r_xz**2) ** 2 * found.ratio


def _beyond(found: Associations, score: int) -> np.ndarray:
    return found.columns[..., 0] - found.scores[..., 0, score, None] * found.columns[..., score]


def _positive_root(rest: np.ndarray) -> np.ndarray:
    """Root of a share of variance, NaN where nothing is left."""
    return np.sqrt(np.where(rest > COLLINEAR, rest, np.nan))


def associate_items(
    values: Float[np.ndarray, "n columns"],
    scores: Float[np.ndarray, "n scores"],
    clusters: Int[np.ndarray, " n"],
    *,
    within: bool,
    resamples: int,
    rng: np.random.Generator,
) -> Association:
    """Correlate every column with every score, across items or within clusters, with cluster replicates.

    Args:
        values: the measures; NaN where undefined.
        scores: the level asked about first, then covariates; items with a NaN here are left out.
        clusters: which items belong together.
        within: take ranks inside the cluster, so that what a source is about cancels.
        resamples: bootstrap draws, where the bootstrap is used.
        rng: the source of chance.
    """
    usable = np.asarray(np.isfinite(scores).all(axis=1))
    blocks: list[Block] = []
    seed = int(rng.integers(2**63))
    compute = _within if within else _across
    for columns, defined in finite_patterns(values, usable):
        rows = defined[_in_spanning_clusters(scores[defined, 0], recode(clusters[defined]))] if within else defined
        if len(rows) > 1:
            some = values[np.ix_(rows, columns)]
            # the same draws for every block, so that no column's interval depends on which others were measured
            draws = np.random.default_rng(seed)
            blocks.append(compute(columns, some, scores[rows], recode(clusters[rows]), resamples, draws))
    return Association(values.shape[1], tuple(blocks))


def _across(
    columns: Int[np.ndarray, " some"],
    values: Float[np.ndarray, "n some"],
    scores: Float[np.ndarray, "n scores"],
    clusters: Int[np.ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
) -> Block:
    n_clusters = int(clusters.max()) + 1
    score_groups = [group(score) for score in scores.T]
    coarse_scores = [group(score, most=COARSE) for score in scores.T]
    coarse = [group(column, most=COARSE) for column in values.T]
    way, parts = map_weightings(
        lambda weights: associate(coarse, coarse_scores, np.ascontiguousarray(weights.T)[clusters]),
        n_clusters=n_clusters,
        resamples=resamples,
        rng=rng,
    )
    estimate = associate([group(column) for column in values.T], score_groups, np.ones((len(values), 1)))
    return Block(columns, estimate, _concatenate(parts), way, layout_of(values, scores[:, 0], clusters, within=False))


def _within(
    columns: Int[np.ndarray, " some"],
    values: Float[np.ndarray, "n some"],
    scores: Float[np.ndarray, "n scores"],
    clusters: Int[np.ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
) -> Block:
    ranks, score_ranks = centred_within(values, clusters), centred_within(scores, clusters)
    return _products(columns, ranks, score_ranks, clusters, resamples, rng, within=True)


def associate_centred(
    values: Float[np.ndarray, "n columns"],
    scores: Float[np.ndarray, "n scores"],
    clusters: Int[np.ndarray, " n"],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Association:
    """The same of numbers that are ranked and centred already, without missing ones; clusters are resampled.

    Args:
        values: the measures.
        scores: what is asked about first, then covariates.
        clusters: which items belong together.
        resamples: bootstrap draws, where the bootstrap is used.
        rng: the source of chance.
    """
    columns = np.arange(values.shape[1], dtype=np.int64)
    return Association(
        values.shape[1], (_products(columns, values, scores, recode(clusters), resamples, rng, within=False),)
    )


def _products(
    columns: Int[np.ndarray, " some"],
    ranks: Float[np.ndarray, "n some"],
    score_ranks: Float[np.ndarray, "n scores"],
    clusters: Int[np.ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
    *,
    within: bool,
) -> Block:
    n_clusters = int(clusters.max()) + 1
    squares = cluster_sums(ranks**2, clusters)
    products = cluster_sums(ranks[:, :, None] * score_ranks[:, None, :], clusters)
    score_products = cluster_sums(score_ranks[:, :, None] * score_ranks[:, None, :], clusters)

    def correlations(weights: Float[np.ndarray, "weightings clusters"]) -> Associations:
        square = np.tensordot(weights, squares, axes=1)
        product = np.tensordot(weights, products, axes=1)
        of_scores = np.tensordot(weights, score_products, axes=1)
        score_square = np.einsum("bss->bs", of_scores)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Associations(
                product / np.sqrt(square[:, :, None] * score_square[:, None, :]),
                of_scores / np.sqrt(score_square[:, :, None] * score_square[:, None, :]),
                np.sqrt(square / score_square[:, [0]]),
            )

    way, parts = map_weightings(correlations, n_clusters=n_clusters, resamples=resamples, rng=rng)
    layout = layout_of(ranks, score_ranks[:, 0], clusters, within=within)
    return Block(columns, correlations(np.ones((1, n_clusters))), _concatenate(parts), way, layout)


def centred_within(values: Float[np.ndarray, "n k"], clusters: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Mid-ranks inside each cluster, less the cluster's mean rank."""
    ranks = pd.DataFrame(values).groupby(clusters).rank().to_numpy(dtype=np.float64)
    sizes = np.bincount(clusters)
    return ranks - ((sizes + 1) / 2)[clusters, None]


def _in_spanning_clusters(levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> np.ndarray:
    """Items whose cluster appears at two levels or more."""
    if not len(levels):
        return np.zeros(0, dtype=bool)
    low = np.full(int(clusters.max()) + 1, np.inf)
    high = -low
    np.minimum.at(low, clusters, levels)
    np.maximum.at(high, clusters, levels)
    return (high > low)[clusters]


def _concatenate(parts: list[Associations]) -> Associations:
    return Associations(*(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))
