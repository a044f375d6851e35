"""Measures: do the measures of sparsity agree with each other on these states?

They share one word and not one definition. Ranks of the items under every pair of measures are correlated at the
pre-stated place, each turned so that larger is sparser, once over all items and once within levels, because a change
along the axis that all of them see makes any two of them agree. Primary: the lowest agreement within levels.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analyses.chance import sparser
from analyses.comparison import fresh, signs
from analyses.evidence import FEWEST_ITEMS, levels_of, primary_column, scope_of
from analyses.finding import Effect, Finding, Mark, Plot, analysis
from analyses.runs import Run
from analyses.sentences import shown, signed, with_interval
from analyses.statistics.association import centred_within, cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.resampling import interval, map_weightings
from analyses.statistics.trend import RESAMPLES
from analyses.tables import Panel, read_panels

QUESTION: Final = "Do the measures of sparsity agree with each other?"
KINDS: Final = ("familiarity", "difficulty", "nominal", "length")


class Agreement(NamedTuple):
    """Rank correlations of every pair of measures, and the lowest with its interval."""

    matrix: Float[np.ndarray, "measures measures"]
    lowest: float
    interval: tuple[float, float]
    pair: tuple[int, int]
    n: int


@analysis(QUESTION)
def measures(run: Run) -> list[Finding]:
    """Answer for every model and suite with three measures of sparsity or more at one place."""
    return [finding for panel in read_panels(run, KINDS) for finding in _panel_findings(panel)]


def _panel_findings(panel: Panel) -> list[Finding]:
    column = primary_column(panel)
    if column is None:
        return []
    where = panel.columns[column]
    same = [
        index
        for index, own in enumerate(panel.columns)
        if own[:3] == where[:3]
        and sparser(own.metric) is not None
        and np.isfinite(panel.values[:, index]).sum() >= FEWEST_ITEMS
    ]
    if len(same) < 3:
        return []
    codes = levels_of(panel)[0]
    values = (panel.values * signs(panel))[:, same]
    known = np.isfinite(values).all(axis=1) & (codes >= 0)
    if known.sum() < FEWEST_ITEMS:
        return []
    clusters = recode(panel.clusters[known])
    groups = recode(codes[known])
    if (np.ptp(centred_within(values[known], groups), axis=0) == 0).any():
        return []  # a measure that is one value within every level agrees with nothing
    within = agreement(values[known], clusters, groups)
    over = agreement(values[known], clusters, np.zeros_like(groups))
    names = [panel.columns[index].metric for index in same]
    order = cluster_order(within.matrix)
    a, b = (shown(names[index]) for index in within.pair)
    marks = tuple(
        Mark(names[i], names[j], float("nan"), float(within.matrix[i, j]), float("nan"), float("nan"))
        for i in order
        for j in order
    )
    off = within.matrix[np.triu_indices(len(names), 1)]
    middle = float(np.median(off))
    return [
        Finding(
            analysis="measures",
            question=QUESTION,
            scope=scope_of(panel, column),
            primary=True,
            estimate=within.lowest,
            unit="lowest rank correlation of two measures within levels, both turned so that larger is sparser",
            interval=within.interval,
            n=within.n,
            n_clusters=int(clusters.max()) + 1,
            effects=(
                Effect("median over pairs", middle, (float("nan"), float("nan"))),
                Effect("lowest over all items", over.lowest, over.interval),
            ),
            verdict="described",
            text=(
                f"Of {len(names)} measures at {where.place}, within levels, {a} and {b} agree least: rank correlation "
                f"{with_interval(within.lowest, within.interval)}; the median pair has {signed(middle)}, and over all "
                f"items the lowest is {signed(over.lowest)}."
            ),
            plot=Plot("matrix", "measure", "measure", marks, 0.0),
        )
    ]


def agreement(values: Float[np.ndarray, "items measures"], clusters: np.ndarray, groups: np.ndarray) -> Agreement:
    """Rank correlations of all pairs, ranks taken within groups; resamples keep the ranks and draw clusters."""
    ranks = centred_within(values, groups)
    products = cluster_sums(ranks[:, :, None] * ranks[:, None, :], clusters)
    first, second = np.triu_indices(values.shape[1], 1)

    def pairs(weights: Float[np.ndarray, "weightings clusters"]) -> Float[np.ndarray, "weightings pairs"]:
        sums = np.tensordot(weights.astype(np.float64), products, axes=1)
        square = np.einsum("bii->bi", sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, first, second] / np.sqrt(square[:, first] * square[:, second])

    n_clusters = products.shape[0]
    estimate = pairs(np.ones((1, n_clusters)))[0]
    way, parts = map_weightings(pairs, n_clusters=n_clusters, resamples=RESAMPLES, rng=fresh())
    at = int(np.nanargmin(estimate))
    bounds = interval(estimate[[at]], np.concatenate(parts)[:, [at]], way)
    matrix = np.eye(values.shape[1])
    matrix[first, second] = matrix[second, first] = estimate
    pair = int(first[at]), int(second[at])
    return Agreement(matrix, float(estimate[at]), (float(bounds.low[0]), float(bounds.high[0])), pair, len(values))


def cluster_order(matrix: Float[np.ndarray, "measures measures"]) -> list[int]:
    """The order of the leaves when measures that agree are joined first (average linkage)."""
    distance = np.clip(1 - (matrix + matrix.T) / 2, 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(squareform(np.nan_to_num(distance, nan=1.0), checks=False), "average")
    return [int(leaf) for leaf in hierarchy.leaves_list(tree)]
