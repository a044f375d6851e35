"""The axis through a network: where a place lies, what its tick says, and which places stand apart.

The final norm is another vector than the last residual stream and the embedding another than the first: they are drawn
at the ends with a gap and never connected to the blocks between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from analyses.finding import Finding, Scope
from analyses.tables import UNLAYERED

GAP: Final = 0.5
MOST_TICKS: Final = 14


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings from the embedding to the final norm."""
    return sorted(findings, key=_depth)


def positions(ordered: Sequence[Finding]) -> np.ndarray:
    """Where each of these places is drawn."""
    x = np.arange(len(ordered), dtype=np.float64)
    for index, finding in enumerate(ordered):
        if stands_apart(finding, ordered):
            x[index] += GAP if finding.scope.site.endswith("norm") else -GAP
    return x


def stands_apart(finding: Finding, among: Sequence[Finding]) -> bool:
    """Whether a place is drawn apart from its neighbours."""
    return is_unlayered(finding.scope) and len(among) > 1


def is_unlayered(scope: Scope) -> bool:
    """Whether a place is outside the blocks."""
    return scope.site.rpartition(".")[2] in UNLAYERED


def layer_ticks(axes: Axes, ordered: Sequence[Finding], x: np.ndarray) -> None:
    """Layers below the axis, at most :data:`MOST_TICKS` of them."""
    every = max(1, math.ceil(len(ordered) / MOST_TICKS))
    ticks: list[float] = []
    labels: list[str] = []
    for index, finding in enumerate(ordered):
        if is_unlayered(finding.scope):
            ticks.append(float(x[index]))
            labels.append(finding.scope.site.replace("final_", "final\n"))
        elif index % every == 0:
            ticks.append(float(x[index]))
            labels.append(str(finding.scope.layer))
    axes.set_xticks(ticks, labels)
    sites = dict.fromkeys(finding.scope.site for finding in ordered if not is_unlayered(finding.scope))
    axes.set_xlabel(f"layer of {' and '.join(sites)}" if sites else "")


def _depth(finding: Finding) -> tuple[int, int]:
    layer = finding.scope.layer
    return (-1 if layer is None else layer, int(is_unlayered(finding.scope)))
