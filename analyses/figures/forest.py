"""A forest: estimates below each other with their intervals and numbers, in blocks under headings.

A covariate from before the model (length, bytes per token) may be adjusted for; one read off the output (entropy, loss)
says how much the output accounts for and removes no confounder. Blocks keep such kinds apart, so that neither is read
as the other.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.drawing import new_figure, styled, width_of
from analyses.figures.marks import ADJUSTED, CHANCE, DASHES, MEASURED, grid, spans
from analyses.finding import Mark, Plot
from analyses.sentences import shown, signed, with_interval

LONGEST: Final = 30
LONGEST_LABEL: Final = 62
AXES: Final = 2.1  # inches that the estimates have for themselves
ROW: Final = 0.24
HEADING: Final = 0.30
MARKERS: Final = ("o", "s", "D", "^", "v", "P")


@styled
def forest(plot: Plot) -> Figure:
    """One row per mark, one block per series, a line at the plot's reference."""
    blocks = dict.fromkeys(mark.series for mark in plot.marks)
    names = [_name(mark.name) for mark in plot.marks]
    numbers = [_number(mark) for mark in plot.marks]
    headed = [series for series in blocks if series]
    left, right = max(width_of(names), 1.0), 0.9 * width_of(numbers)
    height = 0.7 + ROW * len(names) + HEADING * len(headed)
    figure, axes = new_figure((left + AXES + right, height), left=left, right=right, bottom=0.52, top=0.1)
    reference = plot.reference if math.isfinite(plot.reference) else 0.0
    axes.axvline(reference, color=CHANCE, linewidth=1, linestyle=DASHES)
    y = 0.0
    ticks: list[float] = []
    labels: list[str] = []
    for block, series in enumerate(blocks):
        if series:
            y -= HEADING / ROW
            _write(axes, 0.0, y + 0.1, shown(series, 70), x_offset=4.0 - 72.0 * left)
        for mark, number in zip(plot.marks, numbers, strict=True):
            if mark.series == series:
                y -= 1
                ticks.append(y)
                labels.append(_name(mark.name))
                _draw(axes, mark, y, block)
                _write(axes, 1.0, y, number, x_offset=5.0, colour="black")
    axes.set_ylim(y - 0.7, -0.1)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    _label_below(figure, plot.x, height)
    grid(axes, "x")
    return figure


def _draw(axes: Axes, mark: Mark, y: float, block: int) -> None:
    colour = MEASURED if block == 0 else ADJUSTED
    value, low, high = (np.array([number]) for number in (mark.value, mark.low, mark.high))
    axes.errorbar(
        value,
        [y],
        xerr=spans(value, low, high),
        fmt=MARKERS[block % len(MARKERS)],
        color=colour,
        markerfacecolor="white" if block > 1 else colour,
        elinewidth=1.3,
        markersize=5,
    )


def _write(axes: Axes, x: float, y: float, text: str, *, x_offset: float, colour: str = CHANCE) -> None:
    axes.annotate(
        text,
        (x, y),
        xycoords=("axes fraction", "data"),
        xytext=(x_offset, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
        color=colour,
        annotation_clip=False,
    )


def _label_below(figure: Figure, text: str, height: float) -> None:
    """What the axis is, from the left edge of the picture where it is longer than the axis."""
    label = shown(text, LONGEST_LABEL)
    if width_of([label]) <= AXES:
        figure.axes[0].set_xlabel(label)
        return
    figure.text(0.02, 0.1 / height, label, fontsize=8, va="bottom")


def _name(name: str) -> str:
    return shown(name, LONGEST).replace("_", " ")


def _number(mark: Mark) -> str:
    return with_interval(mark.value, (mark.low, mark.high)) if math.isfinite(mark.low) else signed(mark.value)
