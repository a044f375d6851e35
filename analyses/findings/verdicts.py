"""The verdict of every finding: corrected for how much was asked, and only where it survives adjusting for length.

One place, so that ``supported`` means the same in every question: interval and test of a pre-stated claim agree,
with and without adjusting for length, after correcting over the suites of its model. Secondary findings are significant
or not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from analyses.findings.formatting import p_value
from analyses.findings.null import sparser
from analyses.findings.record import ALPHA, Finding, Scope, Significance, Verdict, decide, p_of, secondary
from analyses.statistics.multiplicity import MaxT, family_p, holm, weighted_benjamini_hochberg

FROM_INTERVAL: Final = "from the interval"  # name of a test that is none of its own
LENGTH_QUESTION: Final = "length"  # the analysis that asks about length itself
DIRECTED: Final[frozenset[str]] = frozenset({"supported", "contradicted", "undecided"})


class Family(NamedTuple):
    """Tests of one set of items that were permuted together, by what each is about."""

    scopes: list[Scope]
    tests: MaxT


def settle(findings: Sequence[Finding], families: Sequence[Family] = ()) -> list[Finding]:
    """Correct the p-values and give every tested finding its verdict.

    *Pre-stated findings.* The p-value of a claim is the larger of its test's and of the length-adjusted estimate's, by
    Holm over the suites on which its model was asked this question. It is supported or contradicted where that is
    below 5 %, and both intervals, with and without adjusting for length, lie on one side of zero.

    *Secondary findings* are corrected by Benjamini and Hochberg and called significant or not, never supported; they
    too must survive adjusting for length. All measures of sparsity at one site, in one group, are one construct and
    count as one test together. Measures of size are tested for nothing and stay described, and so do findings whose
    verdict the analysis has settled itself.
    """
    stated, p_stated = _stated([finding for finding in findings if finding.test is not None])
    open_ones = [f for f in findings if f.test is not None and not f.primary]
    constructs = [(replace(f.scope, metric=""), sparser(f.scope.metric) is None) for f in open_ones]
    members = Counter(constructs)
    adjusted = weighted_benjamini_hochberg(
        np.array([f.test.p for f in open_ones if f.test is not None], dtype=np.float64),
        np.array([1 / members[construct] for construct in constructs], dtype=np.float64),
    )
    value_of = {id(finding): float(p) for finding, p in zip(open_ones, adjusted, strict=True)} | p_stated
    rate = f"Benjamini-Hochberg over {len(open_ones):,} secondary findings"
    words = dict.fromkeys((id(finding) for finding in open_ones), rate) | stated
    joined = family_p([family.tests for family in families])
    p_family = {
        scope: float(p)
        for family, own in zip(families, joined, strict=True)
        for scope, p in zip(family.scopes, own, strict=True)
    }
    return [
        _settled(finding, value_of.get(id(finding), math.nan), words.get(id(finding), ""), p_family.get(finding.scope))
        if finding.test is not None
        else finding
        for finding in findings
    ]


def _settled(finding: Finding, p: float, correction: str, family: float | None) -> Finding:
    assert finding.test is not None  # noqa: S101  only tested findings are settled
    test = finding.test._replace(
        p_adjusted=p, correction=correction, p_family=finding.test.p_family if family is None else family
    )
    verdict = finding.verdict
    if verdict != "described":
        verdict = decide(finding.estimate, finding.interval, p)
        if adjustable(finding) and not finding.survives_length:
            verdict = "undecided"
        verdict = verdict if finding.primary else secondary(verdict)
    return replace(finding, test=test, verdict=verdict)


def surviving(finding: Finding) -> Verdict:
    """The verdict of a finding, undecided where its claim does not survive adjusting for length."""
    directed = finding.verdict in {"supported", "contradicted"}
    return "undecided" if directed and adjustable(finding) and not finding.survives_length else finding.verdict


def adjustable(finding: Finding) -> bool:
    """True where length may be adjusted for: not where length is what is asked about."""
    return finding.analysis != LENGTH_QUESTION


def _stated(findings: Sequence[Finding]) -> tuple[dict[int, str], dict[int, float]]:
    """By identity of each pre-stated finding: what corrects it, and the corrected p-value of its claim."""
    by_model: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.primary and finding.verdict in DIRECTED:
            by_model.setdefault((finding.analysis, finding.scope.model), []).append(finding)
    words: dict[int, str] = {}
    values: dict[int, float] = {}
    for own in by_model.values():
        p = holm(np.array([_claim_p(finding) for finding in own]))
        said = f"Holm over the {len(own)} suites asked" if len(own) > 1 else ""
        for finding, value in zip(own, p, strict=True):
            words[id(finding)], values[id(finding)] = said, float(value)
    return words, values


def _claim_p(finding: Finding) -> float:
    """The larger p-value of the test, of the interval where there is no test, and of the length-adjusted estimate."""
    own = finding.test.p if finding.test is not None else p_of(finding.estimate, finding.interval)
    if finding.length is None or not adjustable(finding):
        return own
    return float(np.maximum(own, finding.length.p))


def graded(findings: Sequence[Finding]) -> list[Finding]:
    """Apply the rules that hold for the findings of every analysis, whichever way it came to its verdicts.

    A pre-stated claim that does not survive adjusting for length, or correcting over the suites on which its model was
    asked this question, is undecided; a secondary finding is significant or not, by Benjamini and Hochberg over those
    of its analysis that have an interval and no test yet.
    """
    words, corrected = _stated(
        [f for f in findings if (f.test is None or not f.test.correction) and math.isfinite(_claim_p(f))]
    )
    untested = [f for f in findings if not f.primary and f.test is None and f.verdict in DIRECTED]
    p = np.array([p_of(f.estimate, f.interval) for f in untested], dtype=np.float64)
    adjusted = weighted_benjamini_hochberg(p, np.ones(len(p)))
    rate = f"Benjamini-Hochberg over {len(untested):,} secondary findings"
    tests = {
        id(f): Significance(FROM_INTERVAL, float(own), float(own_adjusted), correction=rate)
        for f, own, own_adjusted in zip(untested, p, adjusted, strict=True)
        if math.isfinite(own)
    }
    found: list[Finding] = []
    for finding in findings:
        verdict = finding.verdict
        if finding.primary:
            found.append(_corrected(finding, corrected.get(id(finding), math.nan), words.get(id(finding), "")))
            continue
        test = tests.get(id(finding), finding.test)
        lost = ""
        if id(finding) in tests and test is not None and not test.p_adjusted < ALPHA:
            verdict, lost = "undecided", _lost(test) if verdict in {"supported", "contradicted"} else ""
        verdict = surviving(replace(finding, verdict=verdict))
        found.append(replace(finding, verdict=secondary(verdict), test=test, text=finding.text + lost))
    return found


def _corrected(finding: Finding, p: float, correction: str) -> Finding:
    """A pre-stated finding with its correction over suites; one that does not survive it is undecided and says so."""
    verdict = surviving(finding)
    if not correction:
        return replace(finding, verdict=verdict)
    test = finding.test or Significance(FROM_INTERVAL, p_of(finding.estimate, finding.interval), p)
    test = test._replace(p_adjusted=p, correction=correction)
    if verdict not in {"supported", "contradicted"} or p < ALPHA:
        return replace(finding, verdict=verdict, test=test)
    return replace(finding, verdict="undecided", test=test, text=finding.text + _lost(test))


def _lost(test: Significance) -> str:
    return f" It is not significant after correction: p {p_value(test.p_adjusted)} ({test.correction})."
