"""A value for each pair of names, in the order in which the finding gives them: how far measures agree, say."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from analyses.figures.drawing import new_figure, styled, width_of
from analyses.figures.marks import CHANCE, SIZE, Colours, cells
from analyses.findings.formatting import shown
from analyses.findings.record import Plot

CELL: Final = 0.34
LIGHT_FROM: Final = 0.6  # share of the reach from which white text reads better than black
LONGEST: Final = 26


@styled
def matrix(plot: Plot) -> Figure:
    """Cells on a diverging scale around the plot's reference; a pair without a value stays empty."""
    rows = list(dict.fromkeys(mark.series for mark in plot.marks))
    columns = list(dict.fromkeys(mark.name for mark in plot.marks))
    values = np.full((len(rows), len(columns)), np.nan)
    for mark in plot.marks:
        values[rows.index(mark.series), columns.index(mark.name)] = mark.value
    row_names, column_names = ([shown(name, LONGEST).replace("_", " ") for name in names] for names in (rows, columns))
    left, below = width_of(row_names), width_of(column_names) * 0.92
    across = CELL * len(columns)
    right = max(0.15, SIZE[0] - left - across)  # few cells are small, not blown up to the width of a column
    size = (left + across + right, below + CELL * len(rows) + 0.35)
    figure, axes = new_figure(size, left=left, bottom=below, right=right, top=0.35)
    middle = plot.reference if math.isfinite(plot.reference) else 0.0
    finite = values[np.isfinite(values)]
    reach = max(float(np.abs(finite - middle).max()) if len(finite) else 0.0, 1e-9)
    cells(axes, values, Colours("PuOr_r", middle - reach, middle + reach))
    for (row, column), value in np.ndenumerate(values):
        if math.isfinite(value):
            colour = "white" if abs(value - middle) > LIGHT_FROM * reach else "black"
            axes.text(column, row, _short(value), ha="center", va="center", fontsize=6.2, color=colour)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(columns)), column_names, rotation=90)
    axes.set_yticks(np.arange(len(rows)), row_names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(shown(plot.y or plot.x, 60), fontsize=8, color=CHANCE, loc="left")
    return figure


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}")
