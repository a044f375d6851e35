"""The answer in up to three sentences: first screen of the page and last line of the terminal.

The first says what happens at the pre-stated site, the next at which layers it goes which way, then what the output
accounts for, by which mechanism or, where none was asked for, when in training or what tests over items or length say.
Several questions get a sentence each; one question put to several suites or models gets one sentence that counts them
by verdict. Nothing is averaged over suites: they ask different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analyses.findings.formatting import short_model, shown, signed, with_interval
from analyses.findings.record import Control, Finding
from analyses.findings.registry import ANALYSES
from analyses.findings.sentences import where_words
from analyses.reporting.sections.answers import contrasts, counted
from analyses.reporting.sections.depth import FAR, by_depth, depth_sentence

MOST_SENTENCES: Final = 5
MOST_NAMED: Final = 4  # suites or models of one verdict
MOST_MECHANISMS: Final = 2
OUTPUT: Final = "covariates"
MECHANISM: Final = "mechanism"
TRAINING: Final = "dynamics"
SEVERAL: Final = "several"  # basis of a finding that sets one effect beside itself in other bases
CITED: Final = "paired_training"  # what was found on other models, beside answers about this one
ENTROPIES: Final = ("next_token_entropy", "mean_next_token_entropy")
LAST: Final = ("last", "answer")
COUNTED: Final = (
    ("supported", "sparser"),
    ("contradicted", "denser"),
    ("undecided", "not significantly sparser or denser"),
    ("described", "described only, too few domains for a claim,"),
)
JUDGED: Final = tuple((verdict, verdict) for verdict, _ in COUNTED)  # of questions that are not about sparsity alone


def opens(finding: Finding) -> bool:
    """True where its analysis is what the page is about; all others say more about one of these."""
    return finding.analysis in ANALYSES and ANALYSES[finding.analysis].headline


def headline(findings: Sequence[Finding]) -> str:
    """The sentences as one line."""
    return " ".join(sentences(findings))


def sentences(findings: Sequence[Finding]) -> list[str]:
    """Up to three sentences with the numbers of the pre-stated findings; without any, what could not be answered."""
    if not findings:
        return ["Nothing was asked that these tables could answer: the sweep holds no measured items of any suite."]
    asked = leads(findings)
    if not asked:
        return _reasons(findings)
    by_question: dict[str, list[Finding]] = {}
    for finding in asked:
        by_question.setdefault(finding.analysis, []).append(finding)
    suites = {finding.scope.suite for finding in asked}
    opening = [_opening(own, findings, by_suite=len(suites) > 1) for own in by_question.values()]
    beyond = [
        _depth(asked, findings),
        _bases(asked, findings),
        _output(asked, findings),
        _mechanism(asked, findings),
        _training(findings),
        _items(asked, findings),
    ]
    more = [sentence for sentence in beyond if sentence]
    return [*opening[: MOST_SENTENCES - min(1, len(more))], *more][:MOST_SENTENCES]


def leads(findings: Sequence[Finding]) -> list[Finding]:
    """The pre-stated findings that the first screen is about: those of the main questions."""
    primary = [finding for finding in findings if finding.primary and finding.answered]
    return sorted(
        (finding for finding in primary if opens(finding)), key=lambda finding: ANALYSES[finding.analysis].order
    )


def _reasons(findings: Sequence[Finding]) -> list[str]:
    """Explain why the main questions have no answer, then what else was answered, then why the rest was not."""
    findings = [finding for finding in findings if finding.analysis != CITED]
    silent = [finding for finding in findings if not finding.answered and finding.plot is None]
    said = [finding.text for finding in silent if opens(finding)]
    said += [finding.text for finding in findings if finding.primary and finding.answered]
    said += [finding.text for finding in silent]
    return list(dict.fromkeys(said))[:MOST_SENTENCES]


def _opening(own: Sequence[Finding], findings: Sequence[Finding], *, by_suite: bool) -> str:
    """The only answer's own sentence, named by its suite where there are others; or one that counts several answers."""
    first = own[0]
    if len(own) == 1:
        single = contrasts(first, findings) if by_suite else []
        answer = _verdicts(single) if single else first.text
        return f"{shown(first.scope.suite)}: {answer}" if by_suite else answer
    models = len({finding.scope.model for finding in own})
    suites = len({finding.scope.suite for finding in own})
    what = "suites" if models == 1 else "models" if suites == 1 else "pairs of model and suite"
    said: list[str] = []
    who = FAR.get(first.analysis)
    for verdict, word in COUNTED if who else JUDGED:
        named = [_named(finding, models, suites) for finding in own if finding.verdict == verdict]
        if verdict == "undecided" and who and len(named) == len(own):
            said.append(f"significantly sparser or denser in none of {len(own)} {what} ({_first_of(named)})")
        elif named:
            said.append(f"{word} in {len(named)} of {len(own)} {what} ({_first_of(named)})")
    claim = f"States of {who} are " if who else f"{first.question} "
    places = ", ".join(dict.fromkeys(where_words(finding) for finding in own))
    places = places if who else first.unit
    return f"{claim}{'; '.join(said)}{_conditions(own)}. Measure: {places}.{_unadjusted(own, models, suites)}"


def _conditions(own: Sequence[Finding]) -> str:
    """Conditions that the counted verdicts take into account."""
    corrected = any(finding.test is not None and finding.test.correction for finding in own)
    words = ["adjusted for length"] * any(finding.length for finding in own) + [
        "corrected over these suites"
    ] * corrected
    return f", {' and '.join(words)}" if words else ""


def _unadjusted(own: Sequence[Finding], models: int, suites: int) -> str:
    """Those in which a trend is seen that length may make; empty where there is none."""
    lost = [finding for finding in own if not finding.side and not _crosses(finding) and not finding.survives_length]
    if not lost:
        return ""
    named = ", ".join(_named(finding, models, suites) for finding in lost[:MOST_NAMED])
    more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
    return f" A trend without adjusting for length does not survive it in {named}{more}."


def _crosses(finding: Finding) -> bool:
    low, high = finding.interval
    return not (low > 0 or high < 0)


def _named(finding: Finding, models: int, suites: int) -> str:
    """Name that tells an answer from the others."""
    model, suite = shown(short_model(finding.scope.model)), shown(finding.scope.suite)
    return suite if models == 1 else model if suites == 1 else f"{model} on {suite}"


def _first_of(names: Sequence[str]) -> str:
    """The first names and how many more; a single one more is named instead.

    >>> _first_of(["a", "b", "c", "d", "e"]), _first_of(["a", "b", "c", "d", "e", "f"])
    ('a, b, c, d, e', 'a, b, c, d, 2 more')
    """
    if len(names) <= MOST_NAMED + 1:
        return ", ".join(names)
    return ", ".join([*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"])


def _depth(asked: Sequence[Finding], findings: Sequence[Finding]) -> str:
    """The signs through the layers of the only answer; of several, those in which some layers go the other way."""
    found = [(lead, depth) for lead in asked if (depth := by_depth(lead, findings)) is not None]
    if len(asked) == 1:
        return depth_sentence(*found[0]) if found else ""
    models = len({finding.scope.model for finding in asked})
    suites = len({finding.scope.suite for finding in asked})
    turning = [_named(lead, models, suites) for lead, depth in found if depth.turns and depth.tested]
    if not turning:
        return ""
    return (
        f"The sign depends on the layer in {len(turning)} of {len(found)} ({_first_of(turning)}): "
        "some layers are significantly sparser, others significantly denser."
    )


def _bases(asked: Sequence[Finding], findings: Sequence[Finding]) -> str:
    """Answers whose sign is the opposite in another basis, with that basis; empty where there is none."""
    models, suites = (len({getattr(lead.scope, name) for lead in asked}) for name in ("model", "suite"))
    told = [
        f"{_named(lead, models, suites) + ', ' if len(asked) > 1 else ''}{control.name}: "
        f"{with_interval(control.estimate, control.interval)}"
        for lead in asked
        for found in findings
        if found.scope.basis == SEVERAL and _same_place(found, lead)
        for control in found.controls
        if control.role == "basis" and control.estimate * found.estimate < 0
        if not _crosses(found) and (control.interval[0] > 0 or control.interval[1] < 0)
    ]
    return f"The sign is the opposite in another basis ({_first_of(told)})." if told else ""


def _same_place(found: Finding, lead: Finding) -> bool:
    one, other = found.scope, lead.scope
    return (one.model, one.suite, one.place, one.position, one.metric, one.group) == (
        *(other.model, other.suite, other.place, other.position, other.metric, other.group),
    )


def _training(findings: Sequence[Finding]) -> str:
    """Describe when in training the change appears; empty where no checkpoints were asked."""
    found = [finding.text for finding in findings if finding.analysis == TRAINING and finding.primary]
    return found[0] if len(found) == 1 else ""


def _output(asked: Sequence[Finding], findings: Sequence[Finding]) -> str:
    """Describe what the output accounts for: the covariates' sentence, else what adjusting for its entropy leaves."""
    if len(asked) > 1:
        return ""
    ledger = _about(asked[0], findings, OUTPUT)
    if ledger:
        return ledger[0].text
    return _beyond(contrasts(asked[0], findings) or [asked[0]])


def _mechanism(asked: Sequence[Finding], findings: Sequence[Finding]) -> str:
    """The mechanisms of what was found, two suites may have two; of one lead also that none was told.

    A change that is undecided has none on the first screen: its section says what carries it.
    """
    found = [
        mechanism for lead in asked if lead.verdict != "undecided" for mechanism in _about(lead, findings, MECHANISM)
    ]
    told = found if len(asked) == 1 else [mechanism for mechanism in found if mechanism.verdict != "undecided"]
    texts = list(dict.fromkeys(mechanism.text.rstrip(".") for mechanism in told))[:MOST_MECHANISMS]
    if found and not told:
        suites = list(dict.fromkeys(shown(mechanism.scope.suite) for mechanism in found))
        return f"The mechanism is undecided on {_first_of(suites)}."
    if len(told) < len(found):
        texts.append(f"undecided in {len(found) - len(told)} more")
    return f"{'; '.join(texts)}." if texts else ""


def _about(lead: Finding, findings: Sequence[Finding], analysis: str) -> list[Finding]:
    scope = lead.scope
    return [
        found
        for found in findings
        if found.analysis == analysis
        and found.primary
        and found.answered
        and (found.scope.model, found.scope.suite) == (scope.model, scope.suite)
    ]


def _items(asked: Sequence[Finding], findings: Sequence[Finding]) -> str:
    """Describe tests over items for each shifted corpus, else the estimate adjusted for length."""
    if len(asked) > 1:
        return ""
    single = contrasts(asked[0], findings)
    return _verdicts(single) if single else _adjusted(asked[0])


def _verdicts(single: Sequence[Finding]) -> str:
    reference = shown(single[0].levels[0].name) if single[0].levels else "in-distribution text"
    return f"Against {reference}, over items and adjusted for length, {counted(single)}."


def _adjusted(finding: Finding) -> str:
    adjusted = finding.length
    return f"Adjusted for length it is {with_interval(adjusted.estimate, adjusted.interval)}." if adjusted else ""


def _beyond(findings: Sequence[Finding]) -> str:
    """Association left after adjusting for the output's entropy, at the positions of the measure where possible."""
    names = ENTROPIES if findings[0].scope.position in LAST else ENTROPIES[::-1]
    for name in names:
        found = [control for finding in findings for control in finding.controls if control.name == name]
        if len(found) == len(findings):
            return f"Adjusted for {name}, {_listed(found)}."
    return ""


def _listed(controls: Sequence[Control]) -> str:
    if len(controls) == 1:
        (control,) = controls
        correlation = f" (its own correlation with it is {signed(control.correlation)})"
        return f"it is {with_interval(control.estimate, control.interval)}{correlation}"
    estimates = [control.estimate for control in controls]
    above = sum(control.interval[0] > 0 for control in controls)
    below = sum(control.interval[1] < 0 for control in controls)
    return (
        f"the {len(controls)} contrasts run from {signed(min(estimates))} to {signed(max(estimates))}: "
        f"{above} above zero by their intervals, {below} below, {len(controls) - above - below} undecided"
    )
