"""Measures: do the measures of sparsity agree with each other on these states?

They share one word and not one definition. Ranks of the items under every pair of measures are correlated at the
pre-stated place, each turned so that larger is sparser, once over all items and once within levels, because a change
along the axis that all of them see makes any two of them agree. Primary: the lowest agreement within levels.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import fresh, signs
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.null import sparser
from analyses.findings.panel import FEWEST_ITEMS, levels_of, primary_column, scope_of
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.statistics.association import centred_within, cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.resampling import interval, map_weightings
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Do the measures of sparsity agree with each other?"


class Agreement(NamedTuple):
    """Rank correlations of every pair of measures, and the lowest with its interval.

    Attributes:
        matrix: of all pairs.
        lowest: the least of them.
        interval: its 95 % interval.
        pair: which two measures.
        n: items.
        adjusted: the same adjusted for the number of tokens; NaN where that does not vary within groups.
        adjusted_interval: its 95 % interval.
    """

    matrix: Float[np.ndarray, "measures measures"]
    lowest: float
    interval: tuple[float, float]
    pair: tuple[int, int]
    n: int
    adjusted: float
    adjusted_interval: tuple[float, float]


@analysis(QUESTION, order=17, title="Agreement of measures")
def measures(run: Run) -> list[Finding]:
    """Answer for every model and suite with three measures of sparsity or more at one place."""
    return [finding for panel in read_panels(run, AXIS_KINDS) for finding in _panel_findings(panel)]


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
    lengths = panel.items["n_tokens"].to_numpy(np.float64)[known]
    within = agreement(values[known], lengths, clusters, groups)
    over = agreement(values[known], lengths, clusters, np.zeros_like(groups))
    adjusted = Control(LENGTH, "pre_treatment", within.adjusted, within.adjusted_interval, float("nan"))
    is_adjusted = np.isfinite(within.adjusted)
    beside = f" ({with_interval(within.adjusted, within.adjusted_interval)} adjusted for length)" if is_adjusted else ""
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
            controls=(adjusted,) if is_adjusted else (),
            effects=(
                Effect("median over pairs", middle, (float("nan"), float("nan"))),
                Effect("lowest over all items", over.lowest, over.interval),
            ),
            verdict="described",
            text=(
                f"Of {len(names)} measures at {where.place}, within levels, {a} and {b} agree least: rank correlation "
                f"{with_interval(within.lowest, within.interval)}{beside}; the median pair has {signed(middle)}, "
                f"and over all items the lowest is {signed(over.lowest)}."
            ),
            plot=Plot(
                "matrix", "measure", "rank correlation within levels, both turned so that larger is sparser", marks, 0.0
            ),
        )
    ]


def agreement(
    values: Float[np.ndarray, "items measures"],
    lengths: Float[np.ndarray, " items"],
    clusters: Int[np.ndarray, " items"],
    groups: Int[np.ndarray, " items"],
) -> Agreement:
    """Rank correlations of all pairs, ranks taken within groups; resamples keep the ranks and draw clusters."""
    ranks = centred_within(np.column_stack([values, lengths]), groups)
    products = cluster_sums(ranks[:, :, None] * ranks[:, None, :], clusters)
    first, second = np.triu_indices(values.shape[1], 1)

    def correlations(weights: Float[np.ndarray, "weightings clusters"]) -> Float[np.ndarray, "weightings all all"]:
        sums = np.tensordot(weights.astype(np.float64), products, axes=1)
        scale = np.sqrt(np.einsum("bii->bi", sums))
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / (scale[:, :, None] * scale[:, None, :])

    n_clusters = products.shape[0]
    whole = correlations(np.ones((1, n_clusters)))
    lowest = int(np.nanargmin(whole[0, first, second]))
    a, b = int(first[lowest]), int(second[lowest])

    def pair(found: Float[np.ndarray, "weightings all all"]) -> Float[np.ndarray, "weightings two"]:
        r_ab, r_az, r_bz = found[:, a, b], found[:, a, -1], found[:, b, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.column_stack([r_ab, (r_ab - r_az * r_bz) / np.sqrt((1 - r_az**2) * (1 - r_bz**2))])

    way, parts = map_weightings(
        lambda weights: pair(correlations(weights)), n_clusters=n_clusters, resamples=RESAMPLES, rng=fresh()
    )
    estimate = pair(whole)[0]
    (low, low_given), (high, high_given) = interval(estimate, np.concatenate(parts), way)
    matrix = whole[0, :-1, :-1].copy()
    np.fill_diagonal(matrix, 1.0)
    adjusted = (float(low_given), float(high_given))
    return Agreement(
        matrix, float(estimate[0]), (float(low), float(high)), (a, b), len(values), float(estimate[1]), adjusted
    )


def cluster_order(matrix: Float[np.ndarray, "measures measures"]) -> list[int]:
    """The order of the leaves when measures that agree are joined first (average linkage)."""
    distance = np.clip(1 - (matrix + matrix.T) / 2, 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(squareform(np.nan_to_num(distance, nan=1.0), checks=False), "average")
    return [int(leaf) for leaf in hierarchy.leaves_list(tree)]
