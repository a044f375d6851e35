"""A forest: estimates below each other with their intervals and numbers, in blocks under headings.

A covariate from before the model (length, bytes per token) may be adjusted for; one read off the output (entropy, loss)
says how much the output accounts for and removes no confounder. Blocks keep such kinds apart, so that neither is read
as the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figures.drawing import new_figure, styled, width_of
from analyses.figures.marks import ADJUSTED, CHANCE, DASHES, MEASURED, grid, spans
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.record import Mark, Plot

LONGEST: Final = 40
LINE: Final = 20  # characters of a name on one line; two lines keep the figure narrow enough for a phone
LONGEST_HEADING: Final = 70
LONGEST_LABEL: Final = 62
AXES: Final = 1.9  # inches that the estimates have for themselves
ROW: Final = 0.24
ROW_OF_TWO_LINES: Final = 0.36
HEADING: Final = 0.20
FIRST: Final = 0.12
BELOW_HEADING: Final = 0.12
BELOW: Final = 0.52
MARKERS: Final = ("o", "s", "D", "^", "v", "P")


class _Row(NamedTuple):
    """One mark: its block, its name as written, and where it is drawn, in inches below the top."""

    mark: Mark
    block: int
    name: str
    y: float


@styled
def forest(plot: Plot) -> Figure:
    """One row per mark, one block per series, a line at the plot's reference where it has one."""
    rows, headings, depth = _laid_out(plot.marks)
    numbers = [_number(row.mark) for row in rows]
    left = max(width_of([line for row in rows for line in row.name.split("\n")]), 1.0)
    right, height = 0.95 * width_of(numbers), depth + 0.04 + BELOW
    figure, axes = new_figure((left + AXES + right, height), left=left, right=right, bottom=BELOW, top=0.02)
    for series, y in headings:
        _write(axes, 0.0, -y, shown(series, LONGEST_HEADING), x_offset=4.0 - 72.0 * left)
    for row, number in zip(rows, numbers, strict=True):
        _draw(axes, row)
        _write(axes, 1.0, -row.y, number, x_offset=5.0, colour="black")
    for block in {row.block for row in rows} if math.isfinite(plot.reference) else ():
        own = [row.y for row in rows if row.block == block]  # the line does not run through headings
        axes.vlines(
            plot.reference, -max(own) - 0.12, -min(own) + 0.12, color=CHANCE, linewidth=1, linestyle=DASHES, zorder=0
        )
    axes.set_ylim(-depth - 0.02, 0.0)
    axes.set_yticks([-row.y for row in rows], [row.name for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    _label_below(figure, plot.x, height)
    grid(axes, "x")
    return figure


def _laid_out(marks: Sequence[Mark]) -> tuple[list[_Row], list[tuple[str, float]], float]:
    """Rows and headings with their places, and how far down they reach."""
    rows: list[_Row] = []
    headings: list[tuple[str, float]] = []
    y = 0.0
    for block, series in enumerate(dict.fromkeys(mark.series for mark in marks)):
        if series:
            headings.append((series, y + (HEADING if block else FIRST)))
            y = headings[-1][1] + BELOW_HEADING
        for mark in marks:
            if mark.series == series:
                name = _name(mark.name)
                height = ROW if "\n" not in name else ROW_OF_TWO_LINES
                rows.append(_Row(mark, block, name, y + height / 2))
                y += height
    return rows, headings, y


def _draw(axes: Axes, row: _Row) -> None:
    mark, block = row.mark, row.block
    colour = MEASURED if block == 0 else ADJUSTED
    value, low, high = (np.array([number]) for number in (mark.value, mark.low, mark.high))
    axes.errorbar(
        value,
        [-row.y],
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
        fontsize=8,
        color=colour,
        annotation_clip=False,
    )


def _label_below(figure: Figure, text: str, height: float) -> None:
    """Write the axis label from the left edge of the picture where it is longer than the axis."""
    label = shown(text, LONGEST_LABEL)
    if width_of([label]) <= AXES:
        figure.axes[0].set_xlabel(label)
        return
    figure.text(0.02, 0.1 / height, label, fontsize=8, va="bottom")


def _name(name: str) -> str:
    """A name on one line or two."""
    words = shown(name, LONGEST).replace("_", " ")
    return (
        words
        if len(words) <= LINE
        else "\n".join(wrap(words, LINE, max_lines=2, placeholder="\N{HORIZONTAL ELLIPSIS}"))
    )


def _number(mark: Mark) -> str:
    return with_interval(mark.value, (mark.low, mark.high)) if math.isfinite(mark.low) else signed(mark.value)
