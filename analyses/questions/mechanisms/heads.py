"""Heads: which attention heads, and which groups of experts, carry a change of sparsity?

From the substitutions over units that the controls of a sweep make at sites ``attn_z`` (units are heads) and at routers
that choose among groups of experts. A head's part is what the mean Hoyer of all heads side by side gains when it alone
is put into the reference, in units of Hoyer, so that layers where little changes weigh little. What one head accounts
for is measured on items that did not choose it. A head that carries a change by substitution is not yet one that the
model needs: that takes an intervention.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Final

from analyses.data.runs import Run
from analyses.data.substitution import Substitution, read_substitutions
from analyses.findings.record import Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.questions.mechanisms.substituted import Unit, substituted
from probes.vocabulary import names

QUESTION: Final = "Which heads and groups of experts carry the change?"
NO_INTERVAL: Final = (math.nan, math.nan)
UNITS: Final = {"attn_z": Unit("head", "heads")}
EXPERTS: Final = Unit("group of experts", "groups of experts")


@analysis(QUESTION, order=9, title="Heads")
def heads(run: Run) -> list[Finding]:
    """Answer for every group and position, at the layer whose units change most; all are described."""

    def key(found: Substitution) -> tuple[str, str, str, str, str]:
        return found.model, found.suite, found.site, found.position, found.group

    found = sorted(read_substitutions(run, names.UNIT), key=key)
    return [_carried([*own]) for _, own in groupby(found, key)]


def _carried(own: list[Substitution]) -> Finding:
    """Finding on the units of one site kind through the layers."""
    at = max(own, key=lambda found: (found.has_change, abs(_known(found.change.value))))
    unit = UNITS.get(at.site, EXPERTS)
    marks = tuple(
        Mark(f"{found.site}.{found.layer}", str(number), math.nan, share.value * found.change.value, *NO_INTERVAL)
        for found in sorted(own, key=lambda found: found.layer)
        for number, share in sorted(found.coordinates.items())
    )
    title = f"part of the change of mean Hoyer, by layer and {unit.one}"
    plot = Plot("matrix", unit.one, title, marks, 0.0) if marks else None  # without a change there are no shares
    among = f" (the largest change of {len(own)} layers)" if len(own) > 1 else ""
    return substituted(at, unit, analysis="heads", question=QUESTION, plot=plot, among=among)


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0
