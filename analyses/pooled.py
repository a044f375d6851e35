"""The pre-stated answers of several suites together: is it so in general, with a suite as one draw?

Items of different suites are not exchangeable and their axes have different units, so suites are not thrown together:
each gives one rank correlation, and the interval is Student's over suites. Below six suites the mean is described and
nothing is claimed beyond the suites at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats

from analyses.finding import FEWEST_TO_GENERALISE, Finding, Mark, Plot, Scope, Significance, decide
from analyses.sentences import shown, signed, with_interval
from analyses.statistics.resampling import LEVEL

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
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    interval = (max(mean - half, -1.0), min(mean + half, 1.0))
    few = n < FEWEST_TO_GENERALISE
    p = float("nan") if few or not half else float(stats.ttest_1samp(values, 0.0).pvalue)
    verdict = "described" if few else decide(mean, interval, p)
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
        verdict=verdict,
        text=(
            f"{CLAIMS[verdict].format(far=far, n=n)}: the mean rank correlation of {places} is "
            f"{with_interval(mean, interval)} ({listed})."
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
