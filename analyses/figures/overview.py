"""An effect everywhere at once: a row per measure, position or domain, a column per layer, its sign as a colour.

One such picture stands for the tables and the heatmaps of hundreds of cells that nobody reads one by one: it shows at
which layers an effect turns over and whether the measures agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figures.depth import in_order, layer_of, layer_ticks
from analyses.figures.drawing import new_figure, styled, width_of
from analyses.figures.marks import CHANCE, SIZE, Colours, cells, colour_scale, significant
from analyses.findings.formatting import shown
from analyses.findings.record import Finding

ROW: Final = 0.19
LONGEST_NAME: Final = 30
LIGHT: Final = 0.62  # share of the reach from which a white dot reads better than a black one
FAINTEST: Final = 0.1  # half the reach of the colours at least, so that nothing looks like an effect that is none


@styled
def overview(rows: Mapping[str, Sequence[Finding]]) -> Figure:
    """Estimates by row and place; a dot marks those that are significant after correction.

    Args:
        rows: findings of one currency by the name of their row; a place that a row lacks stays empty.
    """
    ordered = in_order([finding for own in rows.values() for finding in own])
    places = list(dict.fromkeys(_column(finding.scope.place) for finding in ordered))
    values = np.full((len(rows), len(places)), np.nan)
    marked: list[tuple[int, int]] = []
    for row, own in enumerate(rows.values()):
        for finding in own:
            column = places.index(_column(finding.scope.place))
            values[row, column] = finding.estimate
            if significant(finding):
                marked.append((row, column))
    names = [shown(name, LONGEST_NAME).replace("_", " ") for name in rows]
    size = (SIZE[0], 0.95 + ROW * len(rows))
    figure, axes = new_figure(size, left=0.88 * width_of(names), right=0.7, bottom=0.56, top=0.34)
    finite = np.abs(values[np.isfinite(values)])
    reach = max(float(finite.max()) if len(finite) else 0.0, FAINTEST)
    colours = Colours("PuOr_r", -reach, reach)
    cells(axes, values, colours)
    _dots(axes, values, marked, reach)
    axes.set_yticks(np.arange(len(names)), names, fontsize=7.5)
    axes.invert_yaxis()
    layer_ticks(axes, places, np.arange(len(places), dtype=np.float64))
    axes.set_xlabel("layer")
    axes.tick_params(length=0)
    colour_scale(figure, axes, colours)
    units = dict.fromkeys(finding.quantity or finding.unit for finding in ordered)
    unit = shown(next(iter(units)), 60) if len(units) == 1 else "effect"
    title = f"{unit}: orange sparser, purple denser; dot: significant"
    figure.text(0.02, 1 - 0.14 / size[1], title, fontsize=8, color=CHANCE, va="center")
    return figure


def _column(place: str) -> str:
    """Sites of one layer share a column; their row says which site it is."""
    layer = layer_of(place)
    return place if layer is None else f"layer.{layer}"


def _dots(axes: Axes, values: np.ndarray, marked: Sequence[tuple[int, int]], reach: float) -> None:
    for colour in ("black", "white"):
        own = [(r, c) for r, c in marked if (abs(values[r, c]) > LIGHT * reach) == (colour == "white")]
        if own:
            rows, columns = zip(*own, strict=True)
            axes.plot(columns, rows, marker="o", markersize=1.8, linestyle="none", color=colour, zorder=3)
