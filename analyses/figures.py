"""Findings as figures that a paper could print. No statistics here: what is drawn are fields of findings.

Four pictures. The *profile* follows every level through the layers; the *levels* plot shows one place along the axis;
the *heatmap* is both at once; the *effects* plot shows estimate and interval per layer with its length-adjusted twin.
Chance is drawn in each of the first three, because a value means nothing without it.

Labels sit beside what they name, not in legends. Figures are small enough to be read on a phone without zooming; how
they look and leave is in :mod:`analyses.drawing`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.drawing import level_colours, new_figure, styled, width_of
from analyses.finding import Finding, Level, Null
from analyses.sentences import number, shown
from analyses.tables import UNLAYERED

CHANCE: Final = "#666666"
SIZE: Final = (4.7, 3.3)
LONGEST_NAME: Final = 20
MOST_DIRECT_LABELS: Final = 11
MOST_CELLS_WITH_TEXT: Final = 13
LIGHT_FROM: Final = 0.55  # share of cividis from which black text reads better than white
STEPS: Final = 48  # of the heatmap's colours; from 49 on the colour scale would become a bitmap
# The final norm is another vector than the last residual stream: it stands apart and is not connected.
NORM_GAP: Final = 0.5


@styled
def profile(findings: Sequence[Finding]) -> Figure:
    """Mean per level through the layers with 95 % intervals; one line per level.

    Args:
        findings: of one measure, model and suite, one per place of a residual stream (or of one other site).
    """
    ordered = sorted(findings, key=_depth)
    x = _positions(ordered)
    names = [_named(level) for level in ordered[0].levels]
    figure, axes = new_figure(
        SIZE, right=0.15 + width_of([*names, shown(ordered[0].scope.axis, LONGEST_NAME), "chance 0.00"])
    )
    colours = level_colours(ordered[0].levels)
    connected = [index for index, finding in enumerate(ordered) if not _stands_apart(finding, ordered)]
    apart = [index for index in range(len(ordered)) if index not in connected]
    ends: list[float] = []
    for row, colour in enumerate(colours):
        levels = [finding.levels[row] for finding in ordered]
        mean, low, high = (np.array([getattr(level, name) for level in levels]) for name in ("mean", "low", "high"))
        axes.fill_between(x[connected], low[connected], high[connected], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x[connected], mean[connected], color=colour, marker="o" if len(connected) < 9 else None, markersize=3)
        if apart:
            span = np.abs(np.array([mean[apart] - low[apart], high[apart] - mean[apart]]))
            axes.errorbar(x[apart], mean[apart], span, color=colour, fmt="D", markersize=4, elinewidth=1.2, capsize=0)
        ends.append(float(mean[-1]))
    _draw_chance(axes, ordered[0].null, label=False)
    _layer_ticks(axes, ordered, x)
    if apart and connected:
        axes.axvline((x[connected[-1]] + x[apart[0]]) / 2, color="#cccccc", linewidth=0.7)
    axes.set_ylabel(_measure(ordered[0]))
    null = ordered[0].null
    if null is not None:
        names, colours, ends = [*names, f"chance {number(null.value)}"], [*colours, CHANCE], [*ends, null.value]
    _label_lines(axes, names, ends, colours, float(x[-1]), shown(ordered[0].scope.axis, LONGEST_NAME))
    return figure


@styled
def levels(finding: Finding) -> Figure:
    """One measure at one place along the axis: the mean of each level with its 95 % interval, and chance."""
    rows = finding.levels
    colours = level_colours(rows)
    ordered_axis = not math.isnan(rows[0].value)
    names = [_named(row) for row in rows]
    crowded = sum(map(len, names)) > 42
    if ordered_axis:
        figure, axes = new_figure(SIZE, bottom=0.5 + (0.6 * width_of(names) if crowded else 0.1))
    else:
        figure, axes = new_figure((SIZE[0], max(1.2 + 0.28 * len(rows), 2.0)), left=width_of(names))
    x = np.arange(len(rows), dtype=np.float64)
    for at, row, colour in zip(x, rows, colours, strict=True):
        span = [[abs(row.mean - row.low)], [abs(row.high - row.mean)]]
        if ordered_axis:
            axes.errorbar([at], [row.mean], span, color=colour, fmt="o", elinewidth=1.4, markersize=5.5, zorder=3)
        else:
            axes.errorbar([row.mean], [-at], xerr=np.array(span), color=colour, fmt="o", elinewidth=1.4, markersize=5.5)
    if ordered_axis:
        axes.plot(x, [row.mean for row in rows], color="#bbbbbb", linewidth=1, zorder=1)
        _draw_chance(axes, finding.null)
        axes.set_xticks(x, names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
        axes.set_xlabel(f"{shown(finding.scope.axis)}, near to far \N{RIGHTWARDS ARROW}")
        axes.set_ylabel(f"{_measure(finding)} at {finding.scope.place}")
    else:
        axes.set_yticks(-x, names)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{_measure(finding)} at {finding.scope.place}")
        if finding.null is not None:
            axes.axvline(finding.null.value, color=CHANCE, linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                f"chance {number(finding.null.value)}",
                (finding.null.value, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=CHANCE,
            )
        axes.margins(y=0.12)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


@styled
def heatmap(findings: Sequence[Finding]) -> Figure:
    """Layer x level means; a dot marks a mean whose interval lies on the dense side of chance."""
    ordered = sorted(findings, key=_depth)
    rows = ordered[0].levels
    means = np.array([[finding.levels[row].mean for finding in ordered] for row in range(len(rows))])
    names = [_named(row) for row in rows]
    size = (SIZE[0], min(1.2 + 0.28 * len(rows), 5.0))
    figure, axes = new_figure(size, left=width_of(names), right=0.75)
    x = np.arange(len(ordered), dtype=np.float64)
    mesh = axes.pcolormesh(
        np.arange(len(ordered) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        means,
        cmap=colormaps["cividis"].resampled(STEPS),
    )
    mesh.set_edgecolor("face")
    middle = np.nanmin(means) + LIGHT_FROM * (np.nanmax(means) - np.nanmin(means))
    with_text = len(ordered) <= MOST_CELLS_WITH_TEXT
    for column, finding in enumerate(ordered):
        for row, level in enumerate(finding.levels):
            colour = "black" if level.mean > middle else "white"
            if with_text and math.isfinite(level.mean):
                points = 6.6 if len(ordered) > 8 else 7.4
                axes.text(column, row, _short(level.mean), ha="center", va="center", color=colour, fontsize=points)
            if _denser_than_chance(finding, level):
                axes.plot(column + 0.36, row + 0.3, marker="o", markersize=2, color=colour)
    axes.set_yticks(np.arange(len(rows)), names)
    _layer_ticks(axes, ordered, x)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    frame = axes.get_position()
    scale = figure.add_axes((frame.x1 + 0.1 / size[0], frame.y0, 0.14 / size[0], frame.height))
    bar = figure.colorbar(mesh, cax=scale)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # no seams between the steps
    bar.outline.set_visible(False)
    figure.text(
        1 - 0.05 / size[0], frame.y1 + 0.14 / size[1], _measure(ordered[0]), fontsize=8, ha="right", va="center"
    )
    null = ordered[0].null
    if null is not None:
        low, high = mesh.get_clim()
        inside = low <= null.value <= high
        if inside:
            bar.ax.axhline(null.value, color="white", linewidth=2.2)
            bar.ax.axhline(null.value, color="black", linewidth=1, linestyle=(0, (3, 2)))
        where = "" if inside else (", below the scale" if null.value < low else ", above the scale")
        axes.set_title(f"chance {number(null.value)}{where}", fontsize=8, color=CHANCE, loc="left")
    return figure


@styled
def effects(findings: Sequence[Finding], *, covariate: str = "n_tokens") -> Figure:
    """Estimate and 95 % interval per layer, and beside it the same with a covariate held fixed (hollow)."""
    ordered = sorted(findings, key=_depth)
    figure, axes = new_figure((SIZE[0], 2.7), top=0.34)
    x = _positions(ordered)
    axes.axhline(0, color=CHANCE, linewidth=1, linestyle=(0, (4, 3)))
    plain = [(finding.estimate, *finding.interval) for finding in ordered]
    _points(axes, x - 0.09, plain, marker="o", filled=True)
    twin = [
        next(((c.estimate, *c.interval) for c in finding.controls if c.name == covariate), (math.nan,) * 3)
        for finding in ordered
    ]
    if np.isfinite(np.array(twin)[:, 0]).any():
        _points(axes, x + 0.09, twin, marker="s", filled=False)
        axes.set_title("filled: as measured; hollow: length held fixed", fontsize=8, color=CHANCE, loc="left")
    _layer_ticks(axes, ordered, x)
    axes.set_ylabel("\N{LEFTWARDS ARROW} denser     sparser \N{RIGHTWARDS ARROW}")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def _depth(finding: Finding) -> tuple[int, int]:
    layer = finding.scope.layer
    return (-1 if layer is None else layer, int(_is_unlayered(finding)))


def _is_unlayered(finding: Finding) -> bool:
    return finding.scope.site.rpartition(".")[2] in UNLAYERED


def _stands_apart(finding: Finding, among: Sequence[Finding]) -> bool:
    return _is_unlayered(finding) and len(among) > 1


def _positions(ordered: Sequence[Finding]) -> np.ndarray:
    x = np.arange(len(ordered), dtype=np.float64)
    for index, finding in enumerate(ordered):
        if _stands_apart(finding, ordered):
            x[index] += NORM_GAP if finding.scope.site.endswith("norm") else -NORM_GAP
    return x


def _layer_ticks(axes: Axes, ordered: Sequence[Finding], x: np.ndarray) -> None:
    every = max(1, math.ceil(len(ordered) / 14))
    ticks: list[float] = []
    labels: list[str] = []
    for index, finding in enumerate(ordered):
        if _is_unlayered(finding):
            ticks.append(float(x[index]))
            labels.append(finding.scope.site.replace("final_", "final\n"))
        elif index % every == 0:
            ticks.append(float(x[index]))
            labels.append(str(finding.scope.layer))
    axes.set_xticks(ticks, labels)
    sites = dict.fromkeys(finding.scope.site for finding in ordered if not _is_unlayered(finding))
    axes.set_xlabel(f"layer of {' and '.join(sites)}" if sites else "")


def _draw_chance(axes: Axes, null: Null | None, *, label: bool = True) -> None:
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    if null is None:
        return
    axes.axhline(null.value, color=CHANCE, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
    if not label:
        return
    axes.annotate(
        f"chance {number(null.value)}",
        (0.0, null.value),
        xycoords=("axes fraction", "data"),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=7.5,
        color=CHANCE,
    )


def _label_lines(
    axes: Axes, names: Sequence[str], ends: Sequence[float], colours: Sequence[str], x: float, title: str
) -> None:
    """Names at the right end of their lines, pushed apart where they would collide."""
    rows = [row for row in range(len(names)) if math.isfinite(ends[row])]
    if len(rows) > MOST_DIRECT_LABELS:
        rows = [rows[0], rows[len(rows) // 2], *rows[-2:]]
    low, high = axes.get_ylim()
    gap = 0.062 * (high - low)
    rows.sort(key=lambda row: ends[row])
    at = [ends[row] for row in rows]
    for _ in range(60):
        for lower, upper in zip(range(len(at) - 1), range(1, len(at)), strict=True):
            overlap = gap - (at[upper] - at[lower])
            if overlap > 0:
                at[lower] -= overlap / 2
                at[upper] += overlap / 2
    for row, y in zip(rows, at, strict=True):
        axes.annotate(
            names[row],
            (x, ends[row]),
            xytext=(1.035, (y - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=colours[row],
            arrowprops={
                "arrowstyle": "-",
                "color": colours[row],
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )
    top = max([(y - low) / (high - low) for y in at], default=1.0)
    axes.text(1.035, max(top, 0.9) + 0.075, title, transform=axes.transAxes, fontsize=7.5, color=CHANCE, va="center")
    axes.set_ylim(low, high)


def _points(axes: Axes, x: np.ndarray, rows: Sequence[tuple[float, ...]], *, marker: str, filled: bool) -> None:
    value, low, high = np.array(rows, dtype=np.float64).T
    span = np.abs(np.array([value - low, high - value]))
    colour = "#0072B2" if filled else "#555555"
    face = colour if filled else "white"
    axes.errorbar(x, value, span, fmt=marker, color=colour, markerfacecolor=face, elinewidth=1.2, markersize=4.5)


def _measure(finding: Finding) -> str:
    return finding.scope.metric.replace("_", " ")


def _named(level: Level) -> str:
    return shown(level.name, LONGEST_NAME).replace("_", " ")


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3g}"


def _denser_than_chance(finding: Finding, level: Level) -> bool:
    null = finding.null
    if null is None:
        return False
    return level.high < null.value if null.sparser == "higher" else level.low > null.value
