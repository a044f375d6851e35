"""What several pictures share: chance as a line and a band, points with intervals, names at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from analyses.chance import sparser
from analyses.finding import Finding, Level, Null
from analyses.sentences import number, shown

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


def grid(axes: Axes, along: str) -> None:
    """Faint lines to read values by, behind everything."""
    axes.grid(axis="y" if along == "y" else "x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def colour_scale(figure: Figure, axes: Axes, mesh: ScalarMappable) -> Axes:
    """What the colours of cells say, beside them; the cells stand without a frame."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    frame, width = axes.get_position(), figure.get_figwidth()
    scale = figure.add_axes((frame.x1 + 0.1 / width, frame.y0, 0.14 / width, frame.height))
    bar: Any = figure.colorbar(mesh, cax=scale)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # no seams between the steps
    bar.outline.set_visible(False)
    return scale


def chance_band(null: Null, levels: Sequence[Level]) -> tuple[float, float]:
    """Where 95 of 100 means lie of as many i.i.d. Gaussian vectors as the smallest level has items."""
    fewest = min((level.n for level in levels if level.n > 0), default=1)
    half = NORMAL_95 * null.sd / math.sqrt(fewest)
    return null.value - half, null.value + half


def draw_chance(axes: Axes, null: Null | None, levels: Sequence[Level], *, label: bool = True) -> None:
    """Chance as a dashed line with its band, the line named at the left where nothing else names it."""
    grid(axes, "y")
    if null is None:
        return
    axes.axhspan(*chance_band(null, levels), color=BAND, alpha=0.22, linewidth=0, zorder=0)
    axes.axhline(null.value, color=CHANCE, linestyle=DASHES, linewidth=1, zorder=2)
    if label:
        axes.annotate(
            f"chance {number(null.value)}",
            (0.0, null.value),
            xycoords=("axes fraction", "data"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7.5,
            color=CHANCE,
        )


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


def measure(finding: Finding, at: str = "") -> str:
    """The measure as an axis says it: where it was read, and which end is the sparse one."""
    metric = finding.scope.metric
    end = sparser(metric)
    words = f"{metric.replace('_', ' ')}{at and f' at {at}'}"
    return words if end is None else f"{words} ({end} is sparser)"


def named(level: Level) -> str:
    """A level's name as an axis says it."""
    return shown(level.name, LONGEST_NAME).replace("_", " ")
