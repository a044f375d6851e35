"""Mechanism: known explanations of a change, each with what it must show, and a verdict for each model and suite.

Three explanations are examined, from the least to the most that is shown:

*One coordinate*. By substitution one coordinate of the last residual stream accounts for at least half of the change of
mean Hoyer, in every group that changes. The coordinate is named; what it does to the output is left open.

*One coordinate acting as an effective temperature*. The same, and pinning it moves entropy and loss in opposite
directions, the other way round when the norm is frozen, in excess of an equally large random perturbation.

*Alignment with readout rows*. Half of the change takes many coordinates, and at least half of it is removed by
projecting the answer's unembedding row out of the final norm.

The conditions are part of this module and each must hold by its interval. Where none holds, or two that exclude each
other, the mechanism is undecided: the list is of known mechanisms and not of all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from analyses.data.panels import Panel, read_panels
from analyses.data.pinning import ENTROPY, LOSS, Pinned, pinned, pinned_sites
from analyses.data.runs import Run
from analyses.data.substitution import Substitution, read_substitutions
from analyses.findings.contrast import Comparison, associate_with, at, effect, fresh, judge, overall, share_lost
from analyses.findings.formatting import percent, shown, signed
from analyses.findings.panel import primary_column, scope_of
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope, Verdict
from analyses.findings.registry import analysis
from analyses.questions.mechanisms.intervention import pinned_groups
from analyses.questions.mechanisms.readout import ROWS, projected
from analyses.statistics.resampling import Estimate
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "By which mechanism do activations change?"
TEMPERATURE: Final = "one coordinate acting as an effective temperature"
ONE: Final = "one coordinate"
ALIGNMENT: Final = "alignment with readout rows"
HALF: Final = 0.5
MANY: Final = 8  # coordinates needed for half of the change; with fewer it is not spread over many
STANDS: Final[dict[Verdict, str]] = {
    "supported": "meets its conditions",
    "contradicted": "does not meet its conditions",
    "undecided": "is undecided",
}
NOTHING: Final = (math.nan, math.nan)


class Evidence(NamedTuple):
    """Results for one model and suite from which the mechanism is inferred; None where the sweep measured nothing.

    Attributes:
        changes: verdict of the primary test: is there a change at all.
        carried: substitution at the end of the residual stream, one per group.
        pinned: effect of pinning the top coordinate, over all groups.
        lost: share of the effect at the final norm that projecting out an unembedding row removes.
        row: the token that this row belongs to.
    """

    changes: Verdict
    carried: list[Substitution]
    pinned: Pinned | None
    lost: Estimate | None
    row: str

    @property
    def top_share(self) -> Estimate | None:
        """Estimate that one coordinate accounts for: the median over groups, with the interval of that group."""
        known = sorted((found.curve[1] for found in self.carried if 1 in found.curve), key=lambda share: share.value)
        return known[(len(known) - 1) // 2] if known else None

    @property
    def k50(self) -> float:
        """Coordinates that account for half: the median over groups; more than were tried counts as infinite."""
        counts = [math.inf if math.isnan(found.k50.value) else found.k50.value for found in self.carried]
        return float(np.median(counts)) if counts else math.nan


@analysis(QUESTION, order=7)
def mechanism(run: Run) -> list[Finding]:
    """Answer for every model and suite with a comparison."""
    findings: list[Finding] = []
    substitutions = read_substitutions(run)
    for panel in read_panels(run, AXIS_KINDS):
        one, column = overall(panel), primary_column(panel)
        if one is None or column is None:
            continue
        evidence = _gather(run, panel, one, column, substitutions)
        if evidence.top_share is None and evidence.pinned is None and evidence.lost is None:
            findings.append(_not_answered(panel))
        else:
            findings += _findings(panel, column, evidence)
    return findings


def _not_answered(panel: Panel) -> Finding:
    text = (
        f"Not answered for {panel.suite}: a mechanism takes substitution, readout and pinning; "
        "sweep with `controls: default`."
    )
    scope = Scope(model=panel.model, suite=panel.suite, axis=panel.axis.name)
    return Finding(analysis="mechanism", question=QUESTION, scope=scope, primary=True, text=text)


def _gather(run: Run, panel: Panel, one: Comparison, column: int, substitutions: list[Substitution]) -> Evidence:
    position = panel.columns[column].position
    whole = at(effect(associate_with(panel, one, [column], resamples=RESAMPLES), one), 0)
    sites = pinned_sites(panel)
    found: Pinned | None = None
    groups = pinned_groups(panel)
    if sites and groups:
        found = pinned(panel, groups[0][1], *sites[0], fresh())
    own = [
        entry
        for entry in substitutions
        if (entry.model, entry.position) == (panel.model, position) and entry.suite in panel.suites and entry.has_change
    ]
    streams = [entry for entry in own if entry.site == "resid_post"]
    last = max((entry.layer for entry in streams), default=-1)
    lost, row = _lost(run, panel)
    return Evidence(judge(whole[1]), [entry for entry in streams if entry.layer == last], found, lost, row)


def _lost(run: Run, panel: Panel) -> tuple[Estimate | None, str]:
    """Share of the effect at the final norm that goes with the first row there is."""
    for basis in ROWS:
        for states in projected(run, panel, basis):
            one = overall(states.panel)
            if one is None:
                continue
            association = associate_with(states.panel, one, [0, 1], resamples=RESAMPLES)
            value, (low, high) = share_lost(association, one, before=0, after=1)
            return (Estimate(value, low, high) if math.isfinite(low) else None), ROWS[basis]
    return None, ""


def _temperature(evidence: Evidence) -> Verdict:
    share = evidence.top_share
    if share is None and evidence.pinned is None:
        return "undecided"
    carries = share is not None and share.low >= HALF
    acts = evidence.pinned is not None and evidence.pinned.pattern == "temperature"
    if carries and acts:
        return "supported"
    spread = share is not None and share.high < HALF
    inert = evidence.pinned is not None and evidence.pinned.pattern == "nothing told"
    return "contradicted" if spread or (inert and not carries) else "undecided"


def _one(evidence: Evidence) -> Verdict:
    shares = [found.curve[1] for found in evidence.carried if 1 in found.curve]
    if not shares:
        return "undecided"
    if all(share.low >= HALF for share in shares):
        return "supported"
    return "contradicted" if all(share.high < HALF for share in shares) else "undecided"


def _alignment(evidence: Evidence) -> Verdict:
    if evidence.lost is None:
        return "undecided"
    if evidence.lost.low >= HALF and evidence.k50 >= MANY:
        return "supported"
    return "contradicted" if evidence.lost.high < HALF or evidence.k50 < MANY else "undecided"


def _findings(panel: Panel, column: int, evidence: Evidence) -> list[Finding]:
    claims: dict[str, Verdict] = {
        TEMPERATURE: _temperature(evidence),
        ONE: _one(evidence),
        ALIGNMENT: _alignment(evidence),
    }
    if evidence.changes == "undecided" and not evidence.carried:
        claims = dict.fromkeys(claims, "undecided")
    name = _holding(claims)
    suite = shown(panel.suite)
    tells = f"Likely mechanism on {suite}: {named(name, evidence)}" if name else f"{suite}: mechanism undecided"
    primary = _about(panel, column, evidence, name or _first_known(evidence))
    numbers = _numbers(evidence, name, "it" if name in {ONE, TEMPERATURE} else "")
    text = f"{tells} ({'; '.join(numbers)})."
    verdict: Verdict = "undecided"
    if name:  # which coordinate it is says nothing yet of what it does
        verdict = "described" if name == ONE else "supported"
    whole = replace(primary, primary=True, verdict=verdict, text=text, plot=_plot(evidence))
    single = [
        replace(
            _about(panel, column, evidence, claim),
            verdict="described",
            text=f"{suite}: {claim} {STANDS[verdict]} ({'; '.join(_numbers(evidence, claim)) or 'not measured'}).",
        )
        for claim, verdict in claims.items()
    ]
    return [
        whole,
        *(
            replace(finding, scope=replace(finding.scope, group=claim))
            for finding, claim in zip(single, claims, strict=True)
        ),
    ]


def _holding(claims: dict[str, Verdict]) -> str:
    """The one explanation that holds; a temperature is one coordinate too and says more. Empty where none or two do."""
    supported = [name for name, verdict in claims.items() if verdict == "supported"]
    if TEMPERATURE in supported:
        supported = [name for name in supported if name != ONE]
    return supported[0] if len(supported) == 1 else ""


def named(name: str, evidence: Evidence) -> str:
    """An explanation with the coordinates it is about, where it is about single ones."""
    if name == ALIGNMENT:
        return name
    top = list(dict.fromkeys(found.top[0] for found in evidence.carried if found.top is not None))
    if not top:
        return name
    numbers = " and ".join(str(coordinate) for coordinate in top)
    one = f"one coordinate ({numbers})" if len(top) == 1 else f"one coordinate per group ({numbers})"
    return name.replace(ONE, one)


def _first_known(evidence: Evidence) -> str:
    return ALIGNMENT if evidence.top_share is None and evidence.lost is not None else TEMPERATURE


def _about(panel: Panel, column: int, evidence: Evidence, claim: str) -> Finding:
    """The number that speaks most directly to a claim."""
    share = evidence.lost if claim == ALIGNMENT else evidence.top_share
    unit = (
        f"share of the effect at final_norm that projecting out {evidence.row} removes"
        if claim == ALIGNMENT
        else "share of the change of mean Hoyer that one coordinate accounts for"
    )
    value, interval = (share.value, (share.low, share.high)) if share else (math.nan, NOTHING)
    if share is None and claim == TEMPERATURE and evidence.pinned is not None:
        beyond = evidence.pinned.cells[ENTROPY, "recomputed"].beyond
        value, interval, unit = beyond.value, beyond.interval, "change of entropy by pinning, beyond a push (nats)"
    return Finding(
        analysis="mechanism",
        question=QUESTION,
        scope=scope_of(panel, column),
        estimate=value,
        unit=unit,
        interval=interval,
        n=len(panel.items),
        n_clusters=len(np.unique(panel.clusters)),
        effects=_effects(evidence),
        text="",
    )


def _numbers(evidence: Evidence, claim: str = "", coordinate: str = "") -> list[str]:
    """Clauses with the evidence, in the order in which mechanisms need it; for one claim only what it rests on.

    Args:
        evidence: what was measured.
        claim: the explanation; empty for all evidence.
        coordinate: how the clauses call the coordinate; empty where they are the first to name it.
    """
    said: list[str] = []
    share, lost = evidence.top_share, evidence.lost
    if share is not None:
        many = "more than were tried are" if math.isinf(evidence.k50) else f"{evidence.k50:.0f} {_is(evidence.k50)}"
        where = evidence.carried[0].place
        of = f" (median of {len(evidence.carried)} comparisons)" if len(evidence.carried) > 1 else ""
        carried = f"{percent(share.value, share[1:])}{of}"
        said.append(
            f"at {where} {coordinate or named(ONE, evidence)} accounts for {carried} of the change by substitution, "
            f"and {many} needed for half of it"
        )
    if evidence.pinned is not None and claim not in {ALIGNMENT, ONE}:
        said.append(_pinned_words(evidence.pinned, "it" if share is not None else f"the {_top(evidence.pinned)}"))
    if lost is not None and claim not in {TEMPERATURE, ONE}:
        more = ", more than there is of it" if lost.low > 1 else ""
        said.append(
            f"projecting out {evidence.row} removes {percent(lost.value, lost[1:])} of the effect after the final "
            f"norm{more}"
        )
    if evidence.changes == "undecided":
        said.append("the change itself is not significant")
    return said


def _is(count: float) -> str:
    return "is" if count == 1 else "are"


def _top(found: Pinned) -> str:
    return "top coordinate" if found.m == 1 else f"{found.m} top coordinates"


def _pinned_words(found: Pinned, what: str) -> str:
    """Clause on the change of entropy and loss when coordinates are pinned.

    Args:
        found: the pinned coordinates.
        what: how the sentence calls them.
    """
    moves = " and ".join(
        f"{word} by {signed(found.cells[outcome, 'recomputed'].pin.value)}"
        for outcome, word in ((ENTROPY, "entropy"), (LOSS, "nll"))
        if (outcome, "recomputed") in found.cells
    )
    told = {
        "temperature": ", the other way round with the norm frozen",
        "something": ", in no known pattern",
        "nothing told": ", which does not differ significantly from an equally large random perturbation",
    }
    return f"pinning {what} moves {moves} nats{told[found.pattern]}"


def _effects(evidence: Evidence) -> tuple[Effect, ...]:
    found: list[Effect] = []
    if evidence.top_share is not None:
        share = evidence.top_share
        found.append(Effect("share that one coordinate accounts for", share.value, (share.low, share.high)))
        found.append(Effect("coordinates needed for half", evidence.k50, NOTHING))
    if evidence.pinned is not None:
        for (outcome, norm), cell in evidence.pinned.cells.items():
            found.append(Effect(f"{outcome} by pinning, norm {norm}", cell.pin.value, cell.pin.interval))
    if evidence.lost is not None:
        lost = evidence.lost
        found.append(Effect(f"share that projecting out {evidence.row} removes", lost.value, (lost.low, lost.high)))
    return tuple(found)


def _plot(evidence: Evidence) -> Plot | None:
    """The two shares that the mechanisms rest on; None where neither is defined."""
    rows = [
        Mark("one coordinate", shown(found.group), math.nan, *found.curve[1])
        for found in evidence.carried
        if 1 in found.curve and math.isfinite(found.curve[1].value)
    ]
    if evidence.lost is not None:
        rows.append(Mark("removed at final_norm", f"{evidence.row} projected out", math.nan, *evidence.lost))
    return Plot("forest", "share of the change", "", tuple(rows), HALF) if rows else None
