"""Estimates per layer: beside their length-adjusted estimates, or one line per model over relative depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figures.depth import in_order, is_unlayered, layer_ticks, positions
from analyses.figures.drawing import OKABE_ITO, new_figure, styled, width_of
from analyses.figures.marks import CHANCE, DASHES, LONGEST_NAME, SIZE, grid, label_lines, points, spans
from analyses.findings.formatting import shown
from analyses.findings.null import sparser
from analyses.findings.record import LENGTH, Finding

DIRECTION = "\N{LEFTWARDS ARROW} denser     sparser \N{RIGHTWARDS ARROW}"
LEFT = 0.92  # inches for numbers such as -0.75 and two lines of label


@styled
def effects(findings: Sequence[Finding], *, covariate: str = LENGTH) -> Figure:
    """Estimate and 95 % interval per layer, and beside it the same adjusted for a covariate (hollow)."""
    ordered = in_order(findings)
    figure, axes = new_figure((SIZE[0], 2.7), left=LEFT, top=0.34)
    x = positions(ordered)
    _from_zero(axes, ordered[0])
    adjusted = [
        next(((c.estimate, *c.interval) for c in finding.controls if c.name == covariate), (math.nan,) * 3)
        for finding in ordered
    ]
    beside = bool(np.isfinite(np.array(adjusted)[:, 0]).any())
    own = [(finding.estimate, *finding.interval) for finding in ordered]
    points(axes, x - 0.09 * beside, own, marker="o", filled=True)
    if beside:
        points(axes, x + 0.09, adjusted, marker="s", filled=False)
        given = "length" if covariate == LENGTH else covariate.replace("_", " ")
        axes.set_title(f"filled: as measured; hollow: adjusted for {given}", fontsize=8, color=CHANCE, loc="left")
    layer_ticks(axes, [finding.scope.place for finding in ordered], x)
    return figure


@styled
def across_models(families: Mapping[str, Sequence[Finding]]) -> Figure:
    """Estimate per relative depth, one line per model; the final norm stands apart at the right.

    Values of two models are not compared, because chance differs with their widths; estimates are.

    Args:
        families: the findings of one question and measure by model.
    """
    names = [shown(model, LONGEST_NAME) for model in families]
    figure, axes = new_figure(SIZE, left=LEFT, right=0.15 + width_of([*names, "model"]))
    _from_zero(axes, next(iter(families.values()))[0])
    ends: list[float] = []
    colours: list[str] = []
    for number, findings in enumerate(families.values()):
        colour = ("#000000", *OKABE_ITO)[number % (len(OKABE_ITO) + 1)]
        ordered = in_order(findings)
        blocks = [finding for finding in ordered if not is_unlayered(finding.scope)]
        depth = (np.arange(len(blocks)) + 1) / max(len(blocks), 1)
        shift = (number - (len(families) - 1) / 2) * 0.012
        _line(axes, depth + shift, blocks, colour, connected=True)
        norms = [finding for finding in ordered if finding.scope.site.endswith("norm")]
        _line(axes, np.full(len(norms), 1.15) + shift, norms, colour, connected=False)
        ends.append(ordered[-1].estimate)
        colours.append(colour)
    axes.axvline(1.075, color="#cccccc", linewidth=0.7)
    axes.set_xticks(
        [0, 0.25, 0.5, 0.75, 1, 1.15],
        [
            "0",
            "\N{VULGAR FRACTION ONE QUARTER}",
            "\N{VULGAR FRACTION ONE HALF}",
            "\N{VULGAR FRACTION THREE QUARTERS}",
            "1",
            "final\nnorm",
        ],
    )
    axes.set_xlabel("depth, as a share of the blocks")
    label_lines(axes, names, ends, colours, 1.15, "model")
    return figure


def _from_zero(axes: Axes, finding: Finding) -> None:
    axes.axhline(0, color=CHANCE, linewidth=1, linestyle=DASHES)
    unit = shown(finding.quantity or finding.unit)
    axes.set_ylabel(f"{unit}\n{DIRECTION}" if sparser(finding.scope.metric) else unit)
    grid(axes, "y")


def _line(axes: Axes, x: np.ndarray, findings: Sequence[Finding], colour: str, *, connected: bool) -> None:
    if not findings:
        return
    value, low, high = np.array([(f.estimate, *f.interval) for f in findings], dtype=np.float64).T
    style = "-o" if connected else "D"
    axes.errorbar(x, value, spans(value, low, high), fmt=style, color=colour, elinewidth=1, markersize=3.5)
