"""Heads: which attention heads, and which groups of experts, carry a change of sparsity?

From the substitutions over units that the controls of a sweep make at sites ``attn_z`` (units are heads) and at routers
that choose among groups of experts. A head's part is what the mean Hoyer of all heads side by side gains when it alone
is put into the reference, in units of Hoyer, so that layers where little changes weigh little. What one head accounts
for is measured on items that did not choose it. A head that carries a change by substitution is not yet one that the
model needs: that takes an intervention.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import Final

from analyses.data.runs import Run
from analyses.data.substitution import Substitution, read_substitutions
from analyses.findings.formatting import percent, shown, with_interval
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from probes.vocabulary import names

QUESTION: Final = "Which heads and groups of experts carry the change?"
NO_INTERVAL: Final = (math.nan, math.nan)
WORDS: Final = {"attn_z": ("head", "heads")}
GROUPS: Final = ("group of experts", "groups of experts")


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
    one, many = WORDS.get(at.site, GROUPS)
    single = at.curve.get(1)
    effects = [
        Effect("change of mean hoyer", at.change.value, (at.change.low, at.change.high)),
        Effect(f"{many} that account for half", at.k50.value, (at.k50.low, at.k50.high)),
    ]
    if at.top is not None:
        effects.append(Effect(f"{one} {at.top[0]} alone, put into the reference", at.top[1].value, at.top[1][1:]))
    marks = tuple(
        Mark(f"{found.site}.{found.layer}", str(unit), math.nan, share.value * found.change.value, *NO_INTERVAL)
        for found in sorted(own, key=lambda found: found.layer)
        for unit, share in sorted(found.coordinates.items())
    )
    finding = Finding(
        analysis="heads",
        question=QUESTION,
        scope=Scope(
            model=at.model,
            suite=at.suite,
            site=at.site,
            layer=at.layer,
            position=at.position,
            metric="hoyer",
            group=at.group,
        ),
        selected=True,
        estimate=single.value if single else math.nan,
        unit=f"share of the change of mean Hoyer that one {one} accounts for (ranked on other items)",
        quantity="share of the change",
        interval=(single.low, single.high) if single else NO_INTERVAL,
        n=at.n,
        n_clusters=at.n,
        effects=tuple(effects),
        verdict="described" if at.has_change else "undecided",
        text="",
        plot=Plot("matrix", one, f"part of the change of mean Hoyer, by layer and {one}", marks, 0.0),
    )
    return replace(finding, text=_sentence(finding, at, len(own), one, many))


def _sentence(finding: Finding, at: Substitution, n_layers: int, one: str, many: str) -> str:
    change = with_interval(at.change.value, (at.change.low, at.change.high))
    group, among = shown(at.group), f", the largest change of {n_layers} layers" if n_layers > 1 else ""
    if not at.has_change:
        return f"No significant change of mean Hoyer to {group} at {at.place} ({change}{among}), so no {one} is named."
    n_units = max(at.curve, default=0)
    needed = "more than were tried" if math.isnan(at.k50.value) else f"{at.k50.value:.0f} of {n_units}"
    which = f"{one} {at.top[0]}" if at.top else f"one {one}"
    return (
        f"At {at.place}, position {at.position}, {which} accounts for {percent(finding.estimate, finding.interval)} of "
        f"the change of mean Hoyer to {group} ({change}{among}) by substitution; half of it needs {needed} {many}."
    )


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0
