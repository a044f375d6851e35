"""Marks that several pictures share: the Gaussian null as line and band, cells, points with intervals, line names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from analyses.findings.formatting import number, shown
from analyses.findings.null import sparser
from analyses.findings.record import ALPHA, LENGTH, Finding, Level, Null

CHANCE: Final = "#666666"
GRID: Final = "#e6e6e6"
BAND: Final = "#9a9a9a"
MEASURED: Final = "#0072B2"
ADJUSTED: Final = "#555555"
DASHES: Final = (0, (4, 3))
SIZE: Final = (4.7, 3.3)
LONGEST_NAME: Final = 20
MOST_DIRECT_LABELS: Final = 11
NORMAL_95: Final = 1.96
FARTHEST_NULL: Final = 0.8  # of the span of the data, beyond which the null is written and not drawn
STEPS: Final = 32  # of the colours of cells
SQUARE: Final = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)])
SQUARE_CODES: Final = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], dtype=np.uint8)


def grid(axes: Axes, along: str) -> None:
    """Faint lines to read values by, behind everything."""
    axes.grid(axis="y" if along == "y" else "x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


class Colours(NamedTuple):
    """A colour map between two values, in :data:`STEPS` steps.

    Attributes:
        name: of the colour map.
        low: the value of its first colour.
        high: the value of its last.
    """

    name: str
    low: float
    high: float

    def step(self, values: np.ndarray) -> np.ndarray:
        """Number of the step of each value; -1 for a value that is not there."""
        share = (values - self.low) / max(self.high - self.low, 1e-300)
        steps = np.clip(np.nan_to_num(share) * STEPS, 0, STEPS - 1).astype(np.int64)
        return np.where(np.isfinite(values), steps, -1)

    def hex(self, step: int) -> str:
        """The colour of a step."""
        return to_hex(colormaps[self.name]((step + 0.5) / STEPS))


def cells(axes: Axes, values: np.ndarray, colours: Colours) -> None:
    """Unit squares around whole numbers, row 0 at the bottom; a value that is not there stays empty.

    All squares of one colour are one path: a picture of a thousand cells is a few dozen paths.
    """
    steps = colours.step(values)
    for step in np.unique(steps[steps >= 0]).tolist():
        rows, columns = np.nonzero(steps == step)
        corners = np.column_stack([columns, rows])[:, None, :] - 0.5
        _squares(axes, corners + SQUARE, colours.hex(step))
    axes.set_xlim(-0.5, values.shape[1] - 0.5)
    axes.set_ylim(-0.5, values.shape[0] - 0.5)


def _squares(axes: Axes, corners: np.ndarray, colour: str) -> None:
    path = Path(corners.reshape(-1, 2), np.tile(SQUARE_CODES, len(corners)))
    axes.add_patch(PathPatch(path, facecolor=colour, edgecolor=colour, linewidth=0.3, zorder=1))


def colour_scale(figure: Figure, axes: Axes, colours: Colours) -> Axes:
    """Draw the meaning of the cells' colours beside them; the cells stand without a frame."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    frame, width = axes.get_position(), figure.get_figwidth()
    scale = figure.add_axes((frame.x1 + 0.1 / width, frame.y0, 0.14 / width, frame.height))
    edges = np.linspace(colours.low, colours.high, STEPS + 1)
    for step, (low, high) in enumerate(pairwise(edges.tolist())):
        _squares(scale, np.array([[(0, low), (1, low), (1, high), (0, high), (0, low)]]), colours.hex(step))
    scale.set_xlim(0, 1)
    scale.set_ylim(colours.low, colours.high)
    scale.set_xticks([])
    scale.yaxis.tick_right()
    scale.patch.set_visible(False)
    for spine in scale.spines.values():
        spine.set_visible(False)
    return scale


def chance_band(null: Null, levels: Sequence[Level]) -> tuple[float, float]:
    """Range of 95 of 100 means of as many i.i.d. Gaussian vectors as the smallest level has items."""
    fewest = min((level.n for level in levels if level.n > 0), default=1)
    half = NORMAL_95 * null.sd / math.sqrt(fewest)
    return null.value - half, null.value + half


def draw_null(axes: Axes, null: Null | None, levels: Sequence[Level], *, label: bool = True, along: str = "y") -> bool:
    """The Gaussian null as a dashed line with its band, after the data are drawn; whether it is in the picture.

    A null so far from all values that they would shrink to a line beside it is only written at the edge it lies beyond.
    """
    grid(axes, along)
    if null is None:
        return False
    upright = along == "y"
    low, high = axes.get_ylim() if upright else axes.get_xlim()
    reach = FARTHEST_NULL * (high - low)
    said = f"Gaussian null {number(null.value)}"
    if not low - reach <= null.value <= high + reach:
        below = null.value < low
        side = ("below" if upright else "to the left") if below else ("above" if upright else "to the right")
        corner = (0.02, 0.02 if below else 0.98) if upright else (0.02 if below else 0.98, 1.02)
        across, down = ("left" if upright or below else "right"), ("bottom" if below or not upright else "top")
        axes.text(*corner, f"{said}, {side}", transform=axes.transAxes, fontsize=7.5, color=CHANCE, ha=across, va=down)
        return False
    ends = chance_band(null, levels)
    drawing: Any = axes  # the two ways to draw differ in their names only
    (drawing.axhspan if upright else drawing.axvspan)(*ends, color=BAND, alpha=0.22, linewidth=0, zorder=0)
    (drawing.axhline if upright else drawing.axvline)(null.value, color=CHANCE, linestyle=DASHES, linewidth=1, zorder=2)
    if label:
        axes.annotate(
            said,
            (0.0, null.value) if upright else (null.value, 1.0),
            xycoords=("axes fraction", "data") if upright else ("data", "axes fraction"),
            xytext=(3, 3) if upright else (0, 3),
            textcoords="offset points",
            ha="left" if upright else "center",
            fontsize=7.5,
            color=CHANCE,
        )
    return True


def points(axes: Axes, x: np.ndarray, rows: Sequence[tuple[float, ...]], *, marker: str, filled: bool) -> None:
    """Estimates with their intervals, filled as measured or hollow as adjusted."""
    value, low, high = np.array(rows, dtype=np.float64).T
    colour = MEASURED if filled else ADJUSTED
    face = colour if filled else "white"
    span = spans(value, low, high)
    axes.errorbar(x, value, span, fmt=marker, color=colour, markerfacecolor=face, elinewidth=1.2, markersize=4.5)


def spans(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lengths of the two arms of intervals; an interval that is not there has none."""
    return np.nan_to_num(np.abs(np.array([value - low, high - value])), nan=0.0, posinf=0.0)


def label_lines(
    axes: Axes, names: Sequence[str], ends: Sequence[float], colours: Sequence[str], x: float, title: str
) -> None:
    """Names at the right end of their lines, pushed apart where they would collide."""
    rows = [row for row in range(len(names)) if math.isfinite(ends[row])]
    if len(rows) > MOST_DIRECT_LABELS:
        rows = [rows[0], rows[len(rows) // 2], *rows[-2:]]
    low, high = axes.get_ylim()
    rows.sort(key=lambda row: ends[row])
    at = _apart([ends[row] for row in rows], 0.062 * (high - low))
    for row, y in zip(rows, at, strict=True):
        arrow: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.5, "alpha": 0.6, "shrinkA": 1, "shrinkB": 3}
        arrow["relpos"] = (0.0, 0.5)  # to the beginning of the name, not through it
        axes.annotate(
            names[row],
            (x, ends[row]),
            xytext=(1.035, (y - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=colours[row],
            arrowprops={**arrow, "color": colours[row]},
        )
    top = max([(y - low) / (high - low) for y in at], default=1.0)
    axes.text(1.035, max(top, 0.9) + 0.075, title, transform=axes.transAxes, fontsize=7.5, color=CHANCE, va="center")
    axes.set_ylim(low, high)


def _apart(ends: Sequence[float], gap: float) -> list[float]:
    at = list(ends)
    for _ in range(60):
        for lower, upper in zip(range(len(at) - 1), range(1, len(at)), strict=True):
            overlap = gap - (at[upper] - at[lower])
            if overlap > 0:
                at[lower] -= overlap / 2
                at[upper] += overlap / 2
    return at


def significant(finding: Finding) -> bool:
    """True where corrected test and interval both tell the estimate from zero, and it survives length.

    It survives where its sign is the same after adjusting for length, by the interval, or where length does not vary.
    """
    low, high = finding.interval
    if finding.test is None or not finding.test.p_adjusted < ALPHA or not (low > 0 or high < 0):
        return False
    length = next((control.interval for control in finding.controls if control.name == LENGTH), finding.interval)
    return length[0] > 0 if low > 0 else length[1] < 0


def measure(finding: Finding, at: str = "") -> str:
    """The measure as an axis says it: where it was read, and which end is the sparse one."""
    metric = finding.scope.metric
    end = sparser(metric)
    words = f"{metric.replace('_', ' ')}{at and f' at {at}'}"
    return words if end is None else f"{words} ({end} is sparser)"


def named(level: Level) -> str:
    """A level's name as an axis says it."""
    return shown(level.name, LONGEST_NAME).replace("_", " ")
