"""The answer in up to three sentences: first screen of the page and last line of the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from analyses.finding import Control, Finding
from analyses.sentences import signed, with_interval

MOST_SENTENCES: Final = 3
ENTROPIES: Final = ("next_token_entropy", "mean_next_token_entropy")
LAST: Final = ("last", "answer")


def headline(findings: Sequence[Finding]) -> str:
    """Up to three sentences with the numbers of the pre-stated findings; what could not be answered if there is none.

    With one question answered, the other sentences say what length and the output account for; with several, each
    question gets one.
    """
    if not findings:
        return "Nothing was asked that these tables could answer: the sweep holds no suite with items."
    primary = [finding for finding in findings if finding.primary and finding.answered]
    if not primary:
        reasons = list(dict.fromkeys(finding.text for finding in findings if not finding.answered))
        return " ".join(reasons[:MOST_SENTENCES])
    sentences = [finding.text for finding in primary[:MOST_SENTENCES]]
    if len(sentences) == 1:
        beside = _contrasts(primary[0], findings) or [primary[0]]
        sentences += _beside(beside)
    return " ".join(sentences[:MOST_SENTENCES])


def _contrasts(primary: Finding, findings: Sequence[Finding]) -> list[Finding]:
    """The findings about single groups that a finding about all of them sums up."""
    scope = primary.scope
    return [
        finding
        for finding in findings
        if finding.scope.group
        and (finding.scope.model, finding.scope.suite, finding.scope.place) == (scope.model, scope.suite, scope.place)
        and (finding.scope.metric, finding.scope.position) == (scope.metric, scope.position)
    ]


def _beside(findings: Sequence[Finding]) -> list[str]:
    position = findings[0].scope.position
    entropies = ENTROPIES if position in LAST else ENTROPIES[::-1]
    recorded = {control.name for finding in findings for control in finding.controls}
    entropy = next((name for name in entropies if name in recorded), "")
    sentences: list[str] = []
    for name, opening in (("n_tokens", "With {name} held fixed"), (entropy, "Beyond what {name} accounts for")):
        found = [control for finding in findings for control in finding.controls if control.name == name]
        found = [control for control in found if math.isfinite(control.estimate)]
        if found:
            sentences.append(f"{opening.format(name=name)} {_listed(found)}.")
    return sentences


def _listed(controls: Sequence[Control]) -> str:
    if len(controls) == 1:
        return f"it is {with_interval(controls[0].estimate, controls[0].interval)}"
    estimates = [control.estimate for control in controls]
    above = sum(control.interval[0] > 0 for control in controls)
    below = sum(control.interval[1] < 0 for control in controls)
    return (
        f"the {len(controls)} single contrasts run from {signed(min(estimates))} to {signed(max(estimates))}: "
        f"{above} above zero by their intervals, {below} below, {len(controls) - above - below} undecided"
    )
