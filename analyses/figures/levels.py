"""One place along the axis: the items of each level as a violin, their mean, its interval, and chance.

A mean with a narrow interval looks decided whatever the items do; the violin shows how far the levels overlap, which
is what the rank statistics of the tables speak of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figures.drawing import level_colours, new_figure, styled, width_of
from analyses.figures.marks import SIZE, draw_null, measure, named, spans
from analyses.findings.formatting import shown
from analyses.findings.record import Finding, Level

FEWEST_FOR_A_VIOLIN: Final = 5
CROWDED: Final = 42  # characters that names may have together before they are turned
VIOLIN: Final = 0.38  # half its width, in steps of the axis
BINS: Final = 40
TOWARDS: Final = {  # how levels run from left to right, by question
    "difficulty": "easier to harder",
    "familiarity": "more to less familiar",
    "length": "shorter to longer",
}
ARROW: Final = "\N{RIGHTWARDS ARROW}"

Items = Sequence[np.ndarray] | None


@styled
def levels(finding: Finding, items: Items = None) -> Figure:
    """One measure at one place along the axis.

    Args:
        finding: whose levels are drawn.
        items: the values of the items of each level, in the order of ``finding.levels``; None draws means only.
    """
    if math.isnan(finding.levels[0].value):
        return _domains(finding, items)
    return _ordered(finding, items)


def _ordered(finding: Finding, items: Items) -> Figure:
    rows = finding.levels
    names = [named(row) for row in rows]
    crowded = sum(map(len, names)) > CROWDED
    figure, axes = new_figure(SIZE, bottom=0.5 + (0.6 * width_of(names) if crowded else 0.1))
    colours = level_colours(rows)
    x = np.arange(len(rows), dtype=np.float64)
    axes.plot(x, [row.mean for row in rows], color="#bbbbbb", linewidth=1, zorder=1)
    for at, row, colour in zip(x, rows, colours, strict=True):
        axes.errorbar([at], [row.mean], _arms(row), color=colour, fmt="o", elinewidth=1.6, markersize=5.5, zorder=4)
    _violins(axes, items, x, colours, upright=True)
    draw_null(axes, finding.null, rows)
    axes.set_xticks(x, names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    towards = TOWARDS.get(finding.analysis, "")
    axes.set_xlabel(f"{shown(finding.scope.axis)}{towards and f', {towards} '}{towards and ARROW}")
    axes.set_ylabel(measure(finding, finding.scope.place))
    return figure


def _domains(finding: Finding, items: Items) -> Figure:
    rows = finding.levels
    names = [named(row) for row in rows]
    figure, axes = new_figure((SIZE[0], max(1.2 + 0.34 * len(rows), 2.0)), left=width_of(names))
    colours = level_colours(rows)
    y = -np.arange(len(rows), dtype=np.float64)
    for at, row, colour in zip(y, rows, colours, strict=True):
        axes.errorbar([row.mean], [at], xerr=_arms(row), color=colour, fmt="o", elinewidth=1.6, markersize=5, zorder=4)
    _violins(axes, items, y, colours, upright=False)
    axes.set_yticks(y, names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(measure(finding, finding.scope.place))
    axes.margins(y=0.06)
    draw_null(axes, finding.null, rows, along="x")
    axes.locator_params(axis="x", nbins=7)
    return figure


def _violins(axes: Axes, items: Items, at: np.ndarray, colours: Sequence[str], *, upright: bool) -> None:
    """Smoothed histograms; a level with fewer than five items shows the items themselves."""
    for place, all_values, colour in zip(at, items or (), colours, strict=bool(items)):
        values = all_values[np.isfinite(all_values)]
        if not len(values):
            continue
        drawing: Any = axes  # the two ways to fill differ in the names of their arguments only
        fill = drawing.fill_betweenx if upright else drawing.fill_between
        if len(values) < FEWEST_FOR_A_VIOLIN or np.ptp(values) == 0:
            across = np.full(len(values), place)
            pair = (across, values) if upright else (values, across)
            drawing.plot(*pair, marker=".", linestyle="none", color=colour, alpha=0.5, markersize=4)
            continue
        grid_of, density = _density(values)
        half: Any = VIOLIN * density / density.max()
        fill(grid_of, place - half, place + half, color=colour, alpha=0.2, linewidth=0, zorder=1)


def _density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A histogram between the extremes, smoothed by Silverman's width; it never reaches past the data."""
    edges = np.linspace(float(values.min()), float(values.max()), BINS + 1)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    low, high = np.percentile(values, (25, 75)).tolist()
    spread = min(float(values.std()), (high - low) / 1.34 or math.inf)
    step = float(edges[1] - edges[0])
    width = max(0.9 * spread * len(values) ** -0.2, step)
    kernel = np.exp(-0.5 * (np.arange(-BINS, BINS + 1) * step / width) ** 2)
    return (edges[1:] + edges[:-1]) / 2, np.convolve(counts, kernel, mode="full")[BINS : 2 * BINS]


def _arms(row: Level) -> np.ndarray:
    return spans(*(np.array([value]) for value in (row.mean, row.low, row.high)))
