"""One item: tokens along, layers up, each cell the measure of one token's vector, against chance.

Above it, where it is known, how familiar each token is: the state that a cell measures has read that token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figures.drawing import new_figure, styled, width_of
from analyses.figures.marks import CHANCE, Colours, cells, colour_scale
from analyses.findings.formatting import number, shown

MOST_TOKENS: Final = 40
LONGEST_TOKEN: Final = 9
BARS: Final = 0.55  # inches
BAR: Final = "#8a8a8a"


class Strip(NamedTuple):
    """One item as its tokens show it.

    Attributes:
        tokens: text of each token.
        places: names of the rows, from the first layer on.
        values: shape ``(places, tokens)``; NaN where undefined.
        metric: the measure.
        chance: what it is for an i.i.d. Gaussian vector; None where it has no null.
        told: name and unit of what is known of each token; empty where nothing is.
        familiarity: its values; NaN for a token without one.
    """

    tokens: Sequence[str]
    places: Sequence[str]
    values: np.ndarray
    metric: str
    chance: float | None
    told: str = ""
    familiarity: Sequence[float] = ()


@styled
def strip(item: Strip) -> Figure:
    """Layers x the first tokens of one item; white is chance, orange above it, purple below."""
    n = min(len(item.tokens), MOST_TOKENS)
    names = [shown(place, 18) for place in item.places]
    labels = [shown(token, LONGEST_TOKEN).strip() or "\N{OPEN BOX}" for token in item.tokens[:n]]
    below = 0.34 + 0.8 * width_of(labels)
    above = 0.35 + (BARS if item.told else 0.0)
    size = (max(4.7, 0.8 + width_of(names) + 0.17 * n), 0.1 + above + below + 0.24 * len(names))
    left = max(width_of(names), width_of([item.told]) if item.told else 0.0)
    figure, axes = new_figure(size, left=left, right=0.75, bottom=below, top=above)
    values = item.values[:, :n]
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    middle = item.chance if item.chance is not None else (low + high) / 2
    reach = max(abs(high - middle), abs(middle - low), 1e-12)
    colours = Colours("PuOr_r", middle - reach, middle + reach)
    cells(axes, values, colours)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_xticks(np.arange(n), labels, rotation=90)
    axes.set_xlabel("token, in the order of the text", fontsize=7.5)
    axes.tick_params(length=0, axis="both", labelsize=7)
    scale = colour_scale(figure, axes, colours)
    scale.set_ylim(low, max(high, low + 1e-12))  # the scale is symmetric about chance, the values are not
    said = f"{item.metric.replace('_', ' ')}" + (
        f"; white: Gaussian null {number(middle)}" if item.chance is not None else ""
    )
    axes.set_title(said, fontsize=8, color=CHANCE, loc="left")
    if item.told:
        _bars(figure, axes, item, n)
    return figure


def _bars(figure: Figure, axes: Axes, item: Strip, n: int) -> None:
    """Familiarity of each token as a row of bars above the cells."""
    frame, height = axes.get_position(), figure.get_figheight()
    row = figure.add_axes((frame.x0, frame.y1 + 0.3 / height, frame.width, (BARS - 0.12) / height), sharex=axes)
    values = np.array(item.familiarity[:n], dtype=np.float64)
    row.bar(np.arange(len(values)), np.nan_to_num(values, nan=0.0), width=0.8, color=BAR)
    row.tick_params(axis="x", length=0, labelbottom=False)
    row.locator_params(axis="y", nbins=3)
    row.tick_params(axis="y", labelsize=7)
    row.set_ylabel(shown(item.told, 30), fontsize=7.5, rotation=0, ha="right", va="center", labelpad=12)
    row.spines["bottom"].set_visible(False)
