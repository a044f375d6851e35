"""The answer in up to three sentences: first screen of the page and last line of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analyses.finding import Control, Finding
from analyses.sentences import with_interval

MOST_SENTENCES: Final = 3


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
    sentences: list[str] = []
    for role, opening in (("pre_treatment", "With {name} held fixed"), ("mediator", "Beyond what {name} accounts for")):
        found = [(finding, control) for finding in findings for control in finding.controls if control.role == role]
        if found:
            name = found[0][1].name
            own = [(finding, control) for finding, control in found if control.name == name]
            sentences.append(f"{opening.format(name=name)} it is {_listed(own)}.")
    return sentences


def _listed(controls: Sequence[tuple[Finding, Control]]) -> str:
    parts = [
        with_interval(control.estimate, control.interval)
        + (f" for {finding.scope.group}" if finding.scope.group else "")
        for finding, control in controls
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
