"""The answer in up to three sentences: first screen of the page and last line of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analyses.finding import Control, Finding
from analyses.sentences import shown, signed, with_interval

MOST_SENTENCES: Final = 3
ENTROPIES: Final = ("next_token_entropy", "mean_next_token_entropy")
LAST: Final = ("last", "answer")


def headline(findings: Sequence[Finding]) -> str:
    """Up to three sentences with the numbers of the pre-stated findings; what could not be answered if there is none.

    With one question answered, the other sentences say what tests over items or length and what the output's entropy
    account for; with several, each question gets one.
    """
    if not findings:
        return "Nothing was asked that these tables could answer: the sweep holds no suite with items."
    primary = [finding for finding in findings if finding.primary and finding.answered]
    if not primary:
        reasons = list(dict.fromkeys(finding.text for finding in findings if not finding.answered))
        return " ".join(reasons[:MOST_SENTENCES])
    sentences = [finding.text for finding in primary[:MOST_SENTENCES]]
    if len(sentences) == 1:
        single = _contrasts(primary[0], findings)
        sentences += [_verdicts(single), _beyond(single)] if single else [_twin(primary[0]), _beyond(primary)]
    return " ".join(sentence for sentence in sentences if sentence)


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


def _verdicts(single: Sequence[Finding]) -> str:
    """What tests over items say of each shifted corpus."""
    sparser = sum(finding.verdict == "supported" for finding in single)
    denser = sum(finding.verdict == "contradicted" for finding in single)
    reference = shown(single[0].levels[0].name)
    return (
        f"Over items, {sparser} of {len(single)} shifted corpora are sparser than {reference}, {denser} denser, "
        f"{len(single) - sparser - denser} undecided."
    )


def _twin(finding: Finding) -> str:
    """The estimate with length held fixed, where length varies."""
    twin = next((control for control in finding.controls if control.name == "n_tokens"), None)
    return f"With n_tokens held fixed it is {with_interval(twin.estimate, twin.interval)}." if twin else ""


def _beyond(findings: Sequence[Finding]) -> str:
    """What is left beyond the output's entropy, read at the positions that the measure is read at where possible."""
    names = ENTROPIES if findings[0].scope.position in LAST else ENTROPIES[::-1]
    for name in names:
        found = [control for finding in findings for control in finding.controls if control.name == name]
        if len(found) == len(findings):
            return f"Beyond what {name} accounts for, {_listed(found)}."
    return ""


def _listed(controls: Sequence[Control]) -> str:
    if len(controls) == 1:
        return f"it is {with_interval(controls[0].estimate, controls[0].interval)}"
    estimates = [control.estimate for control in controls]
    above = sum(control.interval[0] > 0 for control in controls)
    below = sum(control.interval[1] < 0 for control in controls)
    return (
        f"the {len(controls)} contrasts run from {signed(min(estimates))} to {signed(max(estimates))}: "
        f"{above} above zero by their intervals, {below} below, {len(controls) - above - below} undecided"
    )
