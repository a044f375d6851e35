"""The verdict on a claim for a model: what its pre-stated answers say together, or the reason why there are none.

The rule is one for all claims: supported where every answer supports it, contradicted where at least one contradicts it
and none supports it, else undecided. No claim is ever more certain than the questions that decide it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from analyses.findings.formatting import with_interval
from analyses.findings.record import Finding, Mark, Plot
from analyses.retest.claims import Claim
from analyses.retest.running import Done
from analyses.retest.trials import TRIALS, Model

Outcome = Literal["supported", "contradicted", "undecided", "not run"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("supported", "contradicted", "undecided", "not run")
NAN: Final = float("nan")
Named = tuple[str, Finding]
"""The label of the model that a finding is about, empty where it is none of the user's, and the finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One claim and one model.

    Attributes:
        claim: which claim.
        model: label of the model.
        verdict: what may be said.
        reason: why it was not run, or why it is undecided; empty where there is nothing to explain.
        findings: the pre-stated answers that decide.
        command: what repeats this row.
        others: what was asked instead of this model, or beside it; empty where all answers are the model's own.
        made: commands of the trials behind it.
        seconds: what these took.
    """

    claim: Claim
    model: str
    verdict: Outcome
    reason: str
    findings: tuple[Finding, ...]
    command: str
    others: str
    made: tuple[str, ...]
    seconds: float

    @property
    def numbers(self) -> str:
        """The only estimate with its interval, or how many answers say what."""
        if len(self.findings) == 1:
            (one,) = self.findings
            return with_interval(one.estimate, one.interval)
        return f"{len(self.findings)} answers: {counted(self.findings)}" if self.findings else ""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "claim": self.claim.name,
            "sentence": self.claim.sentence,
            "source": self.claim.source,
            "model": self.model,
            "verdict": self.verdict,
            "reason": self.reason,
            "command": self.command,
            "others": self.others,
            "trials": list(self.made),
            "seconds": round(self.seconds, 1),
            "findings": [finding.to_json() for finding in self.findings],
        }


def judge_all(
    claims: Sequence[Claim],
    models: Sequence[Model],
    done: Sequence[Done],
    findings: Sequence[Finding],
    called: Mapping[str, str],
    options: Sequence[str],
) -> list[Judgement]:
    """A judgement for every claim and model, in their order.

    Args:
        claims: the claims asked about.
        models: the models.
        done: what became of the trials.
        findings: everything that the questions answered.
        called: the label of the model that each name in a finding stands for.
        options: of the command, which the command that repeats a row has too.
    """
    named = [(called.get(finding.scope.model, ""), finding) for finding in findings]
    return [_judged(claim, model, done, named, options) for claim in claims for model in models]


def combined(findings: Sequence[Finding]) -> tuple[Outcome, str]:
    """The verdict that several answers give together, and why it is undecided where it is."""
    sides = Counter(finding.side for finding in findings)
    n, up, down = len(findings), sides[1], sides[-1]
    if up == n:
        return "supported", ""
    if down and not up:
        return "contradicted", "" if down == n else counted(findings)
    if all(finding.verdict == "described" for finding in findings):
        return "undecided", "described only, too little for a decision"
    return "undecided", counted(findings) if n > 1 else ""


def counted(findings: Sequence[Finding]) -> str:
    """The number of answers of each verdict, in words.

    >>> counted([])
    ''
    """
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())


def _judged(
    claim: Claim, model: Model, done: Sequence[Done], findings: Sequence[Named], options: Sequence[str]
) -> Judgement:
    own = [one for one in done if one.trial.name in claim.trials and one.model in (None, model)]
    about = _about(claim, own, model, findings)
    answered = tuple(finding for finding in about if finding.answered)
    command = shlex.join(["sparsity", "retest", model.name, "--claim", claim.name, *options])
    if answered:
        verdict, reason = combined(answered)
        missing = [one for one in own if not one.ran and not one.trial.refused(model)]
        if missing and verdict == "supported":  # a part that is still to come may say otherwise
            verdict, reason = "undecided", f"{counted(answered)}, and not run: {missing[0].reason}"
    else:
        verdict, reason = "not run", _why(claim, model, own, about)
    ran = [one for one in own if one.ran]
    return Judgement(
        claim=claim,
        model=model.label,
        verdict=verdict,
        reason=reason,
        findings=answered,
        command=command,
        others=_others(ran),
        made=tuple(one.command for one in ran),
        seconds=sum((one.seconds for one in ran), 0.0),
    )


def _others(ran: Sequence[Done]) -> str:
    """Words for what else was asked: in the model's column its answers would be taken for the model's."""
    about = [one.trial.about for one in ran if one.model is None]
    if not about:
        return ""
    return f"asked {'' if len(about) == len(ran) else 'in part '}of {' and '.join(about)}"


def _about(claim: Claim, own: Sequence[Done], model: Model, findings: Sequence[Named]) -> list[Finding]:
    """Pre-stated answers to the claim's questions, of this model or of trials that ask none of the user's."""
    independent = any(one.ran and one.model is None for one in own)
    its_own = any(one.ran and one.model is not None for one in own)
    return [
        finding
        for label, finding in findings
        if finding.analysis in claim.questions
        and (not finding.answered or (finding.scope.metric in claim.metrics if claim.metrics else finding.primary))
        and (not claim.axes or finding.scope.axis in claim.axes)
        and ((its_own and label == model.label) or (independent and not label))
    ]


def _why(claim: Claim, model: Model, own: Sequence[Done], about: Sequence[Finding]) -> str:
    """The reason why there is no answer: what was said where it was asked, else why it was not run."""
    said = [finding.text for finding in about]
    silent = [one.reason for one in own if not one.ran and not one.trial.refused(model)]
    refused = [TRIALS[name].refused(model) for name in claim.trials]
    ran = any(one.ran for one in own)
    none = [f"it was run, and {' and '.join(claim.questions)} had nothing to say of it"] if ran else []
    reasons = [reason for reason in (*said, *silent, *none, *refused) if reason]
    return reasons[0] if reasons else "nothing was asked"


def forest(rows: Sequence[Judgement]) -> Plot | None:
    """Every answer behind a claim, model by model; None where there is none."""
    marks = [
        Mark(row.model, finding.scope.suite or finding.analysis, NAN, finding.estimate, *finding.interval)
        for row in rows
        for finding in row.findings
    ]
    units = list(dict.fromkeys(finding.quantity or finding.unit for row in rows for finding in row.findings))
    return Plot("forest", " or ".join(units) + ", + = as claimed", "", tuple(marks), 0.0) if marks else None
