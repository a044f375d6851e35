"""The axis through a network: where a place lies, what its tick says, and which places stand apart.

The final norm is another vector than the last residual stream and the embedding another than the first: they are drawn
at the ends with a gap and never connected to the blocks between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from analyses.findings.record import Finding, Scope
from probes.vocabulary.sites import UNLAYERED

GAP: Final = 0.5
MOST_TICKS, INCHES = 11, 0.34  # numbers on an axis of layers, and the width that each needs
ROOM: Final = 0.9  # of a tick's share of the axis, that a name beside a number needs


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings from the embedding to the final norm."""
    return sorted(findings, key=_depth)


def positions(ordered: Sequence[Finding]) -> np.ndarray:
    """Coordinates at which places are drawn: the number of the layer; what is outside the blocks beyond the ends."""
    return along([finding.scope.place for finding in ordered])


def along(places: Sequence[str]) -> np.ndarray:
    """The same for names of places; the axis of layers is linear whatever layers there are.

    >>> along(["embed", "resid_post.0", "resid_post.29", "final_norm"]).tolist()
    [-1.5, 0.0, 29.0, 30.5]
    """
    layers = [layer_of(place) for place in places]
    known = [layer for layer in layers if layer is not None] or [0]
    before, after = min(known) - 1 - GAP, max(known) + 1 + GAP
    if known == [0] and None in layers and len(layers) == 1:
        return np.zeros(1)
    ends = [after if place.endswith("norm") else before for place in places]
    return np.array([end if layer is None else layer for layer, end in zip(layers, ends, strict=True)], np.float64)


def layer_of(place: str) -> int | None:
    """The layer in the name of a place; None where it has none.

    >>> layer_of("resid_post.3"), layer_of("encoder.final_norm")
    (3, None)
    """
    layer = place.rpartition(".")[2]
    return int(layer) if layer.isdecimal() else None


def is_place(name: str) -> bool:
    """True where a name is that of a place in the network."""
    return name.rpartition(".")[2] in UNLAYERED or ("." in name and layer_of(name) is not None)


def stands_apart(finding: Finding, among: Sequence[Finding]) -> bool:
    """True where a place is drawn apart from its neighbours."""
    return is_unlayered(finding.scope) and len(among) > 1


def is_unlayered(scope: Scope) -> bool:
    """True where a place is outside the blocks."""
    return scope.site.rpartition(".")[2] in UNLAYERED


def layer_ticks(axes: Axes, places: Sequence[str], x: np.ndarray) -> None:
    """Whole layers below the axis in equal steps from the first on, and what is outside the blocks by name.

    There are as many numbers as the width of the axes has room for. Where only some layers were measured, each of them
    has its number if there is room.

    Args:
        axes: whose axis it is.
        places: names of the places.
        x: where each of them is drawn.
    """
    most = max(1, min(MOST_TICKS, int(axes.bbox.width / axes.figure.dpi / INCHES)))
    layers = [layer_of(place) for place in places]
    distinct = sorted({layer for layer in layers if layer is not None})
    span = distinct[-1] - distinct[0] + 1 if distinct else 1
    numbered = _numbered(distinct, span, most)
    outside = [at for at, layer in zip(x.tolist(), layers, strict=True) if layer is None]
    ticks: list[float] = []
    labels: list[str] = []
    for at, place, layer in zip(x.tolist(), places, layers, strict=True):
        if layer is None:
            ticks.append(at)
            labels.append(place.replace("final_", "final\n"))
        elif layer in numbered and all(abs(at - end) > ROOM * span / most for end in outside):
            ticks.append(at)
            labels.append(str(layer))
    axes.set_xticks(ticks, labels)
    named = [place for place, layer in zip(places, layers, strict=True) if layer is not None]
    sites = dict.fromkeys(place.rpartition(".")[0] for place in named)
    axes.set_xlabel(f"layer of {' and '.join(sites)}" if sites else "")


def _numbered(layers: Sequence[int], span: int, most: int) -> set[int]:
    """The layers with a number: in equal steps where none is left out between them, else those that stand apart."""
    if span == len(layers):
        step = next(step for step in (1, 2, 3, 4, 5, 8, 10, 20, 25, 50, 100, span) if span / step <= most)
        return set(layers[::step])
    kept = list(layers[:1])
    for layer in layers:
        if kept[-1] + span / most <= layer:
            kept.append(layer)
    return set(kept)


def _depth(finding: Finding) -> tuple[int, int]:
    layer = finding.scope.layer
    return (-1 if layer is None else layer, int(is_unlayered(finding.scope)))
