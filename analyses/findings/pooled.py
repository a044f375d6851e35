"""The pre-stated answers of several suites on one axis together, with a suite as one draw.

Items of different suites are not exchangeable, so they are not thrown together: each suite gives one rank correlation,
and the interval is Student's over suites. Suites of different kinds (another axis) are never averaged. Below six suites
the mean is described and nothing is claimed beyond the suites at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.record import (
    FEWEST_TO_GENERALISE,
    LENGTH,
    Control,
    Finding,
    Mark,
    Plot,
    Scope,
    Significance,
    decide,
    secondary,
)
from analyses.findings.sentences import claim_of, length_adjusted
from analyses.statistics.groups import average

CLAIMS: Final = (
    "Over suites, sparser where {far}",
    "Over suites, denser where {far}",
    "Undecided over suites whether sparser where {far}",
)
FEW: Final = "Descriptive only ({n} suites are too few to generalise)"


def pooled(findings: Sequence[Finding], far: str) -> list[Finding]:
    """One finding per model and axis whose pre-stated answers come from two suites or more."""
    by_axis: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.primary and finding.answered:
            by_axis.setdefault((finding.scope.model, finding.scope.axis), []).append(finding)
    return [_over_suites(own, far) for own in by_axis.values() if len(own) > 1]


def _over_suites(own: list[Finding], far: str) -> Finding:
    values = np.array([finding.estimate for finding in own])
    n = len(values)
    mean, (low, high), p = average(values)
    interval = (max(low, -1.0), min(high, 1.0))
    few = n < FEWEST_TO_GENERALISE
    verdict = "described" if few else secondary(decide(mean, interval, p))
    adjusted = _adjusted(own)
    first = own[0]
    places = ", ".join(dict.fromkeys(f"{finding.scope.metric} at {finding.scope.place}" for finding in own))
    listed = "; ".join(f"{shown(finding.scope.suite)} {signed(finding.estimate)}" for finding in own)
    found = Finding(
        analysis=first.analysis,
        question=first.question,
        scope=Scope(model=first.scope.model, suite=f"{n} suites", axis=first.scope.axis, metric=first.scope.metric),
        estimate=mean,
        quantity="mean rank correlation",
        unit=f"mean rank correlation over suites, positive = sparser where {far}",
        interval=interval,
        n=sum(finding.n for finding in own),
        n_clusters=n,
        test=None if few else Significance("Student's t over suites", p, p),
        generalises_over="domains",
        controls=(adjusted,) if adjusted else (),
        verdict=verdict,
        text="",
        plot=Plot(
            "forest",
            f"rank correlation, + = sparser where {far}",
            "",
            (
                *(Mark("suites", shown(f.scope.suite), float("nan"), f.estimate, *f.interval) for f in own),
                Mark("over suites", "mean", float("nan"), mean, *interval),
            ),
            0.0,
        ),
    )
    claim = claim_of(found, CLAIMS, FEW).format(far=far, n=n)
    text = (
        f"{claim}: the mean rank correlation of {places} is {with_interval(mean, interval)} "
        f"({listed}){length_adjusted(found)}."
    )
    return replace(found, text=text)


def _adjusted(own: Sequence[Finding]) -> Control | None:
    """The same mean, adjusted for length in every suite where it varies."""
    adjusted = [next((c.estimate for c in f.controls if c.name == LENGTH), f.estimate) for f in own]
    if adjusted == [finding.estimate for finding in own]:
        return None
    found = average(np.array(adjusted))
    return Control(LENGTH, "pre_treatment", found.mean, found.interval, float("nan"))
