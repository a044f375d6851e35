"""Every level through the layers: one line per level, its interval as a band, chance for means of as many vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analyses.figures.depth import in_order, layer_ticks, positions, stands_apart
from analyses.figures.drawing import level_colours, new_figure, styled, width_of
from analyses.figures.marks import CHANCE, LONGEST_NAME, SIZE, draw_null, label_lines, measure, named, spans
from analyses.findings.formatting import number, shown
from analyses.findings.record import Finding

FEWEST_WITHOUT_MARKERS = 9


@styled
def profile(findings: Sequence[Finding]) -> Figure:
    """Mean per level through the layers with 95 % intervals.

    Args:
        findings: of one measure, model and suite, one per place of a residual stream (or of one other site).
    """
    ordered = in_order(findings)
    first = ordered[0]
    x = positions(ordered)
    names = [named(level) for level in first.levels]
    title = shown(first.scope.axis, LONGEST_NAME)
    figure, axes = new_figure(SIZE, right=0.15 + width_of([*names, title, "Gaussian"]))
    colours = level_colours(first.levels)
    apart = [index for index, finding in enumerate(ordered) if stands_apart(finding, ordered)]
    connected = [index for index in range(len(ordered)) if index not in apart]
    ends: list[float] = []
    for row, colour in enumerate(colours):
        levels = [finding.levels[row] for finding in ordered]
        mean, low, high = (np.array([getattr(level, name) for level in levels]) for name in ("mean", "low", "high"))
        marker = "o" if len(connected) < FEWEST_WITHOUT_MARKERS else None
        axes.fill_between(x[connected], low[connected], high[connected], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x[connected], mean[connected], color=colour, marker=marker, markersize=3)
        if apart:
            span = spans(mean[apart], low[apart], high[apart])
            axes.errorbar(x[apart], mean[apart], span, color=colour, fmt="D", markersize=4, elinewidth=1.2, capsize=0)
        ends.append(float(mean[-1]))
    drawn = draw_null(axes, first.null, first.levels, label=False)
    layer_ticks(axes, [finding.scope.place for finding in ordered], x)
    for index in apart:
        neighbour = index - 1 if index else 1
        axes.axvline((x[index] + x[neighbour]) / 2, color="#cccccc", linewidth=0.7)
    axes.set_ylabel(measure(first))
    if first.null is not None and drawn:
        names.append(f"Gaussian\nnull {number(first.null.value)}")
        colours.append(CHANCE)
        ends.append(first.null.value)
    label_lines(axes, names, ends, colours, float(x[-1]), title)
    return figure
