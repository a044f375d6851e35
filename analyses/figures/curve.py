"""A mean over a number: share carried by the m top coordinates, an effect over layers or training, a dose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analyses.figures.depth import along, is_place, layer_ticks
from analyses.figures.drawing import OKABE_ITO, new_figure, ordered_colours, styled, width_of
from analyses.figures.marks import CHANCE, DASHES, SIZE, grid, label_lines, spans
from analyses.findings.formatting import shown
from analyses.findings.record import Mark, Plot
from probes.vocabulary.sites import UNLAYERED

SPAN_OF_A_LOG: Final = 16.0
MOST_TICKS: Final = 9
ROOM: Final = 0.38  # inches of the axis that a number needs
LONGEST_LABEL: Final = 100
LONGEST_SERIES: Final = 24
LINE: Final = 36  # characters along the vertical axis
FEWEST_WITHOUT_MARKERS: Final = 16
COLOURS: Final = ("#0072B2", "#000000", *OKABE_ITO[:1], *OKABE_ITO[2:])


@styled
def curve(plot: Plot) -> Figure:
    """One line per series with its interval as a band.

    Where the points are places in the network, the axis is that of the layers, and linear. Else it is logarithmic to
    base 2 where positive x span a factor of 16, and a zero among them (the step before training) stands one doubling
    below the least; points with other names, and few enough of them, are named on the axis.
    """
    plot = _through_layers(plot)
    lines: dict[str, list[Mark]] = {}
    for mark in plot.marks:
        lines.setdefault(mark.series, []).append(mark)
    names = [shown(name, LONGEST_SERIES).replace("_", " ") for name in lines]
    several = len(lines) > 1
    label = wrap(shown(plot.y, LONGEST_LABEL), LINE)
    left = 0.5 + 0.15 * len(label)
    figure, axes = new_figure(SIZE, left=left, right=0.15 + width_of(names) if several else 0.2)
    if math.isfinite(plot.reference):
        axes.axhline(plot.reference, color=CHANCE, linewidth=1, linestyle=DASHES)
    colours = line_colours(list(lines))
    ends: list[float] = []
    for number, (marks, colour) in enumerate(zip(lines.values(), colours, strict=True)):
        ordered = sorted(marks, key=_place)
        style = "-" if number < len(COLOURS) else DASHES  # a colour that comes again is told by its dashes
        _line(axes, [mark for mark in ordered if not _apart(mark)], colour, style)
        for mark in filter(_apart, ordered):
            value, low, high = (np.array([number]) for number in (mark.value, mark.low, mark.high))
            span = spans(value, low, high)
            axes.errorbar([_place(mark)], value, span, color=colour, fmt="D", markersize=4, elinewidth=1.2)
        ends.append(ordered[-1].value)
    _scale(axes, plot)
    axes.set_ylabel("\n".join(label))
    grid(axes, "y")
    if several:
        label_lines(axes, names, ends, colours, max(_place(mark) for mark in plot.marks), "")
    return figure


def line_colours(series: Sequence[str]) -> list[str]:
    """Dark to light where the lines are numbers in order (levels of an axis), else colours that tell names apart.

    >>> line_colours(["2", "10"])[0] == line_colours(["2", "4", "10"])[0], line_colours(["a", "b"])[1]
    (True, '#000000')
    """
    levels = [_number(name) for name in series]
    if len(levels) > 1 and all(map(math.isfinite, levels)):
        shades = ordered_colours(len(levels))
        return [shades[rank] for rank in np.argsort(np.argsort(levels))]
    return [COLOURS[number % len(COLOURS)] for number in range(len(series))]


def _number(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return math.nan


def _through_layers(plot: Plot) -> Plot:
    """The same plot with places at their layers; other plots as they are."""
    names = list(dict.fromkeys(mark.name for mark in plot.marks))
    if not names or not all(map(is_place, names)):
        return plot
    at = dict(zip(names, along(names).tolist(), strict=True))
    return plot._replace(marks=tuple(mark._replace(x=at[mark.name]) for mark in plot.marks))


def _line(axes: Axes, marks: Sequence[Mark], colour: str, style: str | tuple[int, tuple[int, int]]) -> None:
    if not marks:
        return
    x, value, low, high = np.array([(m.x, m.value, m.low, m.high) for m in marks], dtype=np.float64).T
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    marker = "o" if len(x) < FEWEST_WITHOUT_MARKERS else None
    axes.plot(x, value, color=colour, linestyle=style, marker=marker, markersize=3.5)


def _scale(axes: Axes, plot: Plot) -> None:
    """Ticks: powers of two, or the names of few points; what all names begin with moves into the label."""
    x = np.array([mark.x for mark in plot.marks], dtype=np.float64)
    named = {_place(mark): mark.name for mark in plot.marks if mark.name}
    axes.set_xlabel(shown(plot.x, 60))
    if named and all(map(is_place, named.values())):
        at = sorted(named)
        layer_ticks(axes, [named[place] for place in at], np.array(at))
        return
    positive = x[x > 0]
    if x.min() >= 0 and len(positive) and x.max() / positive.min() > SPAN_OF_A_LOG:
        if x.min() > 0:
            axes.set_xscale("log", base=2)
        else:
            axes.set_xscale("symlog", base=2, linthresh=float(positive.min()))
        if (x == np.rint(x)).all():
            axes.set_xticks(_thinned(np.unique(x), axes))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_locator(NullLocator())
    elif named and len(named) <= MOST_TICKS:
        at = sorted(named)
        texts = [shown(named[place], 14).replace("_", "\n", 1) for place in at]
        words = {text.rpartition(" ")[0] for text in texts}
        word = words.pop() if len(words) == 1 else ""  # "eighth 1", "eighth 2": said once
        axes.set_xticks(at, [text.removeprefix(word).strip() for text in texts])
        if word:
            axes.set_xlabel(f"{shown(plot.x, 50)}, {word}")


def _thinned(values: np.ndarray, axes: Axes) -> list[float]:
    """Those of the values that leave room for their numbers, from the last one on."""
    limits = axes.get_xlim()  # asking settles them: transLimits alone is that of the axes before the data
    low, high = axes.transScale.transform([(limit, 1.0) for limit in limits])[:, 0]
    at = axes.transScale.transform([(value, 1.0) for value in values])[:, 0]
    kept: list[float] = []
    last, room = math.inf, ROOM * axes.figure.dpi / axes.bbox.width * (high - low)
    for value, place in sorted(zip(values.tolist(), at.tolist(), strict=True), reverse=True):
        if last - place > room:
            kept.append(value)
            last = place
    return kept


def _plain(value: float, _: int) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _apart(mark: Mark) -> bool:
    """True where a place is outside the blocks: another vector, never connected to them."""
    return mark.name.rpartition(".")[2] in UNLAYERED


def _place(mark: Mark) -> float:
    return mark.x if math.isfinite(mark.x) else math.inf
