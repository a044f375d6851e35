"""Replication: verdicts on the claims of the seed paper.

arXiv:2603.03415 claims that language models answer harder and less familiar inputs with sparser states. Each claim
is written here as a predicate on answers that other questions give, with the direction stated in advance, and so is
what the paper left out: whether the claim survives adjusting for length and for what is read off the output. A claim
is listed as not asked where no suite of the sweep is about it, and as without an answer where one is. The paper's
numbers are correlations of five means, after the final norm at the last token; here every claim is judged over items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from analyses.data.runs import Run
from analyses.findings.formatting import shown, with_interval
from analyses.findings.record import LENGTH, Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis, answers
from analyses.findings.sentences import length_adjusted

QUESTION: Final = "Which claims of the seed paper hold in this sweep?"
SOURCE: Final = "arXiv:2603.03415"
NAN: Final = float("nan")


class Claim(NamedTuple):
    """One claim as a predicate.

    Attributes:
        name: in a few words.
        analyses: whose pre-stated answers speak to it.
        wants: whether one of their findings does.
    """

    name: str
    analyses: tuple[str, ...]
    wants: Callable[[Finding], bool]


def _is_primary(finding: Finding) -> bool:
    return finding.primary and finding.answered


def _is_about(*words: str) -> Callable[[Finding], bool]:
    def wants(finding: Finding) -> bool:
        named = f"{finding.scope.suite} {finding.scope.axis}".lower()
        return _is_primary(finding) and any(word in named for word in words)

    return wants


CLAIMS: Final = (
    Claim("harder tasks have sparser states", ("difficulty",), _is_primary),
    Claim("less familiar inputs have sparser states", ("familiarity",), _is_primary),
    Claim("shifted texts have sparser states", ("domains",), _is_primary),
    Claim("longer contexts have sparser states", ("length",), _is_primary),
    Claim(
        "conflicting knowledge gives sparser states", ("domains", "difficulty", "familiarity"), _is_about("conflict")
    ),
    Claim("more answer options give sparser states", ("difficulty",), _is_about("choice", "option")),
    Claim("the difference arises during training", ("dynamics",), _is_primary),
    Claim(
        "adjusted for length and other pre-treatment covariates, states are still sparser", ("covariates",), _is_primary
    ),
)


@analysis(QUESTION, order=18)
def replication(run: Run) -> list[Finding]:
    """One verdict per claim, model and suite; the claims themselves are never changed by what was found."""
    findings: list[Finding] = []
    silent: list[str] = []
    without: list[str] = []
    for claim in CLAIMS:
        found = [finding for name in claim.analyses for finding in answers(run, name) if claim.wants(finding)]
        if not found:
            asked = any(finding.primary for name in claim.analyses for finding in answers(run, name))
            (without if asked and claim.wants is _is_primary else silent).append(claim.name)
        findings += [_judged(claim, finding) for finding in found]
    if not findings:
        return []
    return [_summary(findings, silent, without), *findings]


def _judged(claim: Claim, finding: Finding) -> Finding:
    scope = finding.scope
    word = "is descriptive only"
    if finding.verdict != "described":
        word = {1: "holds", -1: "does not hold: the opposite does", 0: "is undecided"}[finding.side]
    effect = with_interval(finding.estimate, finding.interval)
    adjusted = length_adjusted(finding)
    entropy = next((control for control in finding.controls if "entropy" in control.name), None)
    beyond = ""
    if entropy is not None:
        beyond = f"; adjusted for {entropy.name} {with_interval(entropy.estimate, entropy.interval)}"
    return Finding(
        analysis="replication",
        question=QUESTION,
        scope=Scope(
            model=scope.model,
            suite=scope.suite,
            axis=scope.axis,
            site=scope.site,
            layer=scope.layer,
            position=scope.position,
            metric=scope.metric,
            group=claim.name,
        ),
        estimate=finding.estimate,
        unit=finding.unit,
        interval=finding.interval,
        n=finding.n,
        n_clusters=finding.n_clusters,
        test=finding.test,
        generalises_over=finding.generalises_over,
        effects=()
        if entropy is None
        else (Effect(f"adjusted for {entropy.name}", entropy.estimate, entropy.interval),),
        bound=finding.bound,
        verdict=finding.verdict,
        controls=tuple(control for control in finding.controls if control.name == LENGTH),
        text=f"'{claim.name}' {word} on {shown(scope.suite)}: {effect}{adjusted}{beyond}.",
    )


def _summary(findings: list[Finding], silent: list[str], without: list[str]) -> Finding:
    described = sum(finding.verdict == "described" for finding in findings)
    sides = [sum(finding.side == side for finding in findings) for side in (1, -1)]
    counts = {
        "hold": sides[0],
        "hold the other way round": sides[1],
        "undecided": len(findings) - sum(sides) - described,
        "descriptive only": described,
    }
    said = ", ".join(
        f"{count} {verdict.replace('hold', 'holds') if count == 1 else verdict}"
        for verdict, count in counts.items()
        if count
    )
    asked = dict.fromkeys(finding.scope.group for finding in findings)
    models = " + ".join(dict.fromkeys(finding.scope.model for finding in findings))
    marks = tuple(Mark(f.scope.group, shown(f.scope.suite), NAN, f.estimate, *f.interval) for f in findings)
    unasked = f"; asked without an answer: {', '.join(without)}" if without else ""
    unasked += f"; not asked: {', '.join(silent)}" if silent else ""
    return Finding(
        analysis="replication",
        question=QUESTION,
        scope=Scope(model=models),
        primary=True,
        estimate=float(counts["hold"]),
        unit=f"claims of {SOURCE} that hold, of {len(findings)} judged",
        n=len(findings),
        n_clusters=0,  # judgements are no sample
        verdict="described",
        text=f"Of {len(findings)} judgements on {len(asked)} claims of {SOURCE}: {said}{unasked}.",
        plot=Plot("forest", "effect, + = sparser as claimed", "", marks, 0.0),
    )
