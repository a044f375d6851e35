"""A mean over a number: share carried by the m top coordinates, an effect over layers or training, a dose."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analyses.drawing import OKABE_ITO, new_figure, styled, width_of
from analyses.figures.marks import CHANCE, DASHES, LONGEST_NAME, SIZE, grid, label_lines
from analyses.finding import Mark, Plot
from analyses.sentences import shown

SPAN_OF_A_LOG: Final = 16.0
MOST_TICKS: Final = 9
LONG_LABEL: Final = 30
FEWEST_WITHOUT_MARKERS: Final = 16
COLOURS: Final = ("#0072B2", "#000000", *OKABE_ITO[:1], *OKABE_ITO[2:])


@styled
def curve(plot: Plot) -> Figure:
    """One line per series with its interval as a band; logarithmic to base 2 where positive x span a factor of 16.

    Points whose marks have names (places, say) and few enough of them are named on the axis.
    """
    lines: dict[str, list[Mark]] = {}
    for mark in plot.marks:
        lines.setdefault(mark.series, []).append(mark)
    names = [shown(name, LONGEST_NAME).replace("_", " ") for name in lines]
    several = len(lines) > 1
    figure, axes = new_figure(SIZE, right=0.15 + width_of(names) if several else 0.2)
    if math.isfinite(plot.reference):
        axes.axhline(plot.reference, color=CHANCE, linewidth=1, linestyle=DASHES)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(lines))]
    ends: list[float] = []
    for marks, colour in zip(lines.values(), colours, strict=True):
        ordered = sorted(marks, key=_place)
        x, value, low, high = np.array([(m.x, m.value, m.low, m.high) for m in ordered], dtype=np.float64).T
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, value, color=colour, marker="o" if len(x) < FEWEST_WITHOUT_MARKERS else None, markersize=3.5)
        ends.append(float(value[-1]))
    _scale(axes, plot)
    label = shown(plot.y, 56)
    axes.set_ylabel(label, fontsize=8.5 if len(label) < LONG_LABEL else 7.2)
    grid(axes, "y")
    if several:
        label_lines(axes, names, ends, colours, max(mark.x for mark in plot.marks), "")
    return figure


def _scale(axes: Axes, plot: Plot) -> None:
    """Ticks: powers of two, or the names of few points; what all names begin with moves into the label."""
    x = np.array([mark.x for mark in plot.marks], dtype=np.float64)
    named = {mark.x: mark.name for mark in plot.marks if mark.name}
    axes.set_xlabel(shown(plot.x, 60))
    if x.min() > 0 and x.max() / x.min() > SPAN_OF_A_LOG:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_locator(NullLocator())
    elif named and len(named) <= MOST_TICKS:
        at = sorted(named)
        sites = {named[place].rpartition(".")[0] for place in at} - {""}
        (site,) = sites if len(sites) == 1 else ("",)
        texts = [shown(named[place].removeprefix(f"{site}."), 14).replace("_", "\n", 1) for place in at]
        axes.set_xticks(at, texts)
        if site:
            axes.set_xlabel(f"layer of {shown(site, 40)}")


def _plain(value: float, _: int) -> str:
    return f"{value:g}"


def _place(mark: Mark) -> float:
    return mark.x if math.isfinite(mark.x) else math.inf
