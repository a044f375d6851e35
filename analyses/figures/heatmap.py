"""Layer x level at once; a dot marks a mean whose interval lies on the dense side of chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.drawing import new_figure, styled, width_of
from analyses.figures.depth import in_order, layer_ticks
from analyses.figures.marks import CHANCE, SIZE, colour_scale, measure, named
from analyses.finding import Finding, Level, Null
from analyses.sentences import number

MOST_CELLS_WITH_TEXT: Final = 13
LIGHT_FROM: Final = 0.55  # share of cividis from which black text reads better than white
STEPS: Final = 48  # of the colours; from 49 on the colour scale would become a bitmap


@styled
def heatmap(findings: Sequence[Finding]) -> Figure:
    """Layer x level means.

    Args:
        findings: of one measure, model and suite, one per place; their levels are the same ones.
    """
    ordered = in_order(findings)
    rows = ordered[0].levels
    names = [named(row) for row in rows]
    size = (SIZE[0], min(1.4 + 0.28 * len(rows), 5.2))
    figure, axes = new_figure(size, left=width_of(names), right=0.75, top=0.48)
    mesh = _cells(axes, ordered)
    # the axis of an order starts at the bottom, a list of domains at the top, as beside it
    if math.isnan(rows[0].value):
        axes.invert_yaxis()
    axes.set_yticks(np.arange(len(rows)), names)
    layer_ticks(axes, ordered, np.arange(len(ordered), dtype=np.float64))
    axes.tick_params(length=0)
    scale = colour_scale(figure, axes, mesh)
    figure.text(
        1 - 0.05 / size[0],
        axes.get_position().y1 + 0.34 / size[1],
        measure(ordered[0]),
        fontsize=8,
        ha="right",
        va="center",
    )
    _mark_chance(axes, scale, mesh.get_clim(), ordered[0].null)
    return figure


def _cells(axes: Axes, ordered: Sequence[Finding]) -> Any:  # noqa: ANN401  matplotlib's mesh
    rows = ordered[0].levels
    means = np.array([[finding.levels[row].mean for finding in ordered] for row in range(len(rows))])
    edges = (np.arange(len(ordered) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5)
    mesh = axes.pcolormesh(*edges, means, cmap=colormaps["cividis"].resampled(STEPS))
    mesh.set_edgecolor("face")
    low, high = mesh.get_clim()
    middle = low + LIGHT_FROM * (high - low)
    for column, finding in enumerate(ordered):
        for row, level in enumerate(finding.levels):
            colour = "black" if level.mean > middle else "white"
            if len(ordered) <= MOST_CELLS_WITH_TEXT and math.isfinite(level.mean):
                points = 6.6 if len(ordered) > 8 else 7.4
                axes.text(column, row, _short(level.mean), ha="center", va="center", color=colour, fontsize=points)
            if _denser_than_chance(finding.null, level):
                axes.plot(column + 0.36, row + 0.3, marker="o", markersize=2, color=colour)
    return mesh


def _mark_chance(axes: Axes, scale: Axes, limits: tuple[float, float], null: Null | None) -> None:
    if null is None:
        return
    low, high = limits
    inside = low <= null.value <= high
    if inside:
        scale.axhline(null.value, color="white", linewidth=2.2)
        scale.axhline(null.value, color="black", linewidth=1, linestyle=(0, (3, 2)))
    where = "" if inside else (", below the scale" if null.value < low else ", above the scale")
    axes.set_title(f"chance {number(null.value)}{where}", fontsize=8, color=CHANCE, loc="left")


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3g}"


def _denser_than_chance(null: Null | None, level: Level) -> bool:
    if null is None:
        return False
    return level.high < null.value if null.sparser == "higher" else level.low > null.value
