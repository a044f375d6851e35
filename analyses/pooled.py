"""The pre-stated answers of several suites together: is it so in general, with a suite as one draw?

Items of different suites are not exchangeable and their axes have different units, so suites are not thrown together:
each gives one rank correlation, and the interval is Student's over suites. Below six suites the mean is described and
nothing is claimed beyond the suites at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from analyses.finding import FEWEST_TO_GENERALISE, LENGTH, Control, Finding, Mark, Plot, Scope, Significance, decide
from analyses.sentences import shown, signed, with_interval
from analyses.statistics.means import average

CLAIMS: Final = {
    "supported": "Over suites, sparser where {far}",
    "contradicted": "Over suites, denser where {far}",
    "undecided": "Undecided over suites whether sparser where {far}",
    "described": "Described, not decided ({n} suites are too few for a general claim)",
}


def pooled(findings: Sequence[Finding], far: str) -> list[Finding]:
    """One finding per model whose pre-stated answers come from two suites or more."""
    by_model: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.primary and finding.answered:
            by_model.setdefault(finding.scope.model, []).append(finding)
    return [_over_suites(own, far) for own in by_model.values() if len(own) > 1]


def _over_suites(own: list[Finding], far: str) -> Finding:
    values = np.array([finding.estimate for finding in own])
    n = len(values)
    mean, (low, high), p = average(values)
    interval = (max(low, -1.0), min(high, 1.0))
    few = n < FEWEST_TO_GENERALISE
    verdict = "described" if few else decide(mean, interval, p)
    twin = _twin(own)
    first = own[0]
    places = ", ".join(dict.fromkeys(f"{finding.scope.metric} at {finding.scope.place}" for finding in own))
    listed = "; ".join(f"{shown(finding.scope.suite)} {signed(finding.estimate)}" for finding in own)
    return Finding(
        analysis=first.analysis,
        question=first.question,
        scope=Scope(model=first.scope.model, suite=f"{n} suites", metric=first.scope.metric),
        estimate=mean,
        unit=f"mean rank correlation over suites, positive = sparser where {far}",
        interval=interval,
        n=sum(finding.n for finding in own),
        n_clusters=n,
        test=None if few else Significance("Student's t over suites", p, p),
        generalises_over="domains",
        controls=(twin,) if twin else (),
        verdict=verdict,
        text=(
            f"{CLAIMS[verdict].format(far=far, n=n)}: the mean rank correlation of {places} is "
            f"{with_interval(mean, interval)} ({listed}){_beside(twin)}."
        ),
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


def _beside(twin: Control | None) -> str:
    if twin is None:
        return ""
    if not math.isfinite(twin.estimate):
        return f", not separable from {LENGTH}, which follows the axis in some of them"
    return f", {with_interval(twin.estimate, twin.interval)} with {LENGTH} held fixed"


def _twin(own: Sequence[Finding]) -> Control | None:
    """The same mean with the number of tokens held fixed in every suite where it varies."""
    twins = [next((c.estimate for c in f.controls if c.name == LENGTH), f.estimate) for f in own]
    if twins == [finding.estimate for finding in own]:
        return None
    found = average(np.array(twins))
    return Control(LENGTH, "pre_treatment", found.mean, found.interval, float("nan"))
