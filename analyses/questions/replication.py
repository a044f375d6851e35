"""Replication: which claims of the seed paper hold in this sweep?

arXiv:2603.03415 claims that language models answer harder and less familiar inputs with sparser states. Each claim
is written here as a predicate on answers that other questions give, with the direction stated before looking, and so
is what the paper left out: whether the claim survives length, and what the output accounts for. A claim that no suite
of the sweep speaks to is listed as not asked. The paper's numbers are correlations of five means, after the final norm
at the last token; here every claim is judged over items at the place stated in advance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from analyses.finding import LENGTH, Effect, Finding, Mark, Plot, Scope, Verdict, analysis, answers
from analyses.runs import Run
from analyses.sentences import length_twin, shown, with_interval

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


def _is_about(word: str) -> Callable[[Finding], bool]:
    def wants(finding: Finding) -> bool:
        named = f"{finding.scope.suite} {finding.scope.axis}".lower()
        return _is_primary(finding) and word in named

    return wants


CLAIMS: Final = (
    Claim("harder tasks have sparser states", ("difficulty",), _is_primary),
    Claim("less familiar inputs have sparser states", ("familiarity",), _is_primary),
    Claim("shifted texts have sparser states", ("domains",), _is_primary),
    Claim("longer contexts have sparser states", ("length",), _is_primary),
    Claim(
        "conflicting knowledge gives sparser states", ("domains", "difficulty", "familiarity"), _is_about("conflict")
    ),
    Claim("more answer options give sparser states", ("difficulty",), _is_about("choice")),
    Claim("the gap opens during training", ("dynamics",), _is_primary),
    Claim("what is left without length and the like is still sparser", ("covariates",), _is_primary),
)


@analysis(QUESTION)
def replication(run: Run) -> list[Finding]:
    """One verdict per claim, model and suite; the claims themselves are never changed by what was found."""
    findings: list[Finding] = []
    silent: list[str] = []
    for claim in CLAIMS:
        found = [finding for name in claim.analyses for finding in answers(run, name) if claim.wants(finding)]
        if not found:
            silent.append(claim.name)
        findings += [_judged(claim, finding) for finding in found]
    if not findings:
        return []
    return [_summary(findings, silent), *findings]


def _judged(claim: Claim, finding: Finding) -> Finding:
    scope = finding.scope
    words: dict[Verdict, str] = {
        "supported": "holds",
        "contradicted": "does not hold: the opposite does",
        "undecided": "is undecided",
        "described": "is described only",
    }
    effect = with_interval(finding.estimate, finding.interval)
    twin = length_twin(finding)
    entropy = next((control for control in finding.controls if "entropy" in control.name), None)
    beyond = ""
    if entropy is not None:
        beyond = f"; beyond what {entropy.name} accounts for {with_interval(entropy.estimate, entropy.interval)}"
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
        effects=() if entropy is None else (Effect(f"given {entropy.name}", entropy.estimate, entropy.interval),),
        bound=finding.bound,
        verdict=finding.verdict,
        controls=tuple(control for control in finding.controls if control.name == LENGTH),
        text=f"'{claim.name}' {words[finding.verdict]} on {shown(scope.suite)}: {effect}{twin}{beyond}.",
    )


def _summary(findings: list[Finding], silent: list[str]) -> Finding:
    verdicts: tuple[Verdict, ...] = ("supported", "contradicted", "undecided", "described")
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in verdicts}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    asked = dict.fromkeys(finding.scope.group for finding in findings)
    models = " + ".join(dict.fromkeys(finding.scope.model for finding in findings))
    marks = tuple(Mark(f.scope.group, shown(f.scope.suite), NAN, f.estimate, *f.interval) for f in findings)
    unasked = f"; not asked: {', '.join(silent)}" if silent else ""
    return Finding(
        analysis="replication",
        question=QUESTION,
        scope=Scope(model=models),
        primary=True,
        estimate=float(counts["supported"]),
        unit=f"claims of {SOURCE} supported, of {len(findings)} judged",
        n=len(findings),
        n_clusters=0,  # judgements are no sample
        verdict="described",
        text=f"Of {len(findings)} judgements on {len(asked)} claims of {SOURCE}: {said}{unasked}.",
        plot=Plot("forest", "effect, + = sparser as claimed", "", marks, 0.0),
    )
