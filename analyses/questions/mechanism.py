"""Mechanism: two explanations of a change, each with what it must show, and a verdict for each model and suite.

Two mechanisms are known to make states sparser or denser, and a report that only sees the change cannot tell them
apart:

*One coordinate acting as an effective temperature*. Replacing the one top coordinate of the last residual stream
carries at least half of the change, and pinning it moves entropy and loss in opposite directions, the other way round
when the norm is frozen, beyond an equal push.

*Alignment with readout rows*. Half of the change takes many coordinates, and at least half of it goes when the answer's
unembedding row is projected out of the final norm.

Each condition was stated before looking and each must hold by its interval. Neither, or both, is undecided: the list
is of known mechanisms and not of all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from analyses.comparison import Comparison, associate_with, at, effect, fresh, judge, overall, share_lost
from analyses.evidence import primary_column, scope_of
from analyses.finding import Effect, Finding, Mark, Plot, Scope, Verdict, analysis
from analyses.pinning import ENTROPY, LOSS, Pinned, pinned, pinned_sites
from analyses.questions.intervention import pinned_groups
from analyses.questions.readout import ROWS, projected
from analyses.runs import Run
from analyses.sentences import percent, shown, signed
from analyses.statistics.trend import RESAMPLES
from analyses.substitution import Share, Substitution, read_substitutions
from analyses.tables import Panel, read_panels

QUESTION: Final = "By which mechanism do activations change?"
KINDS: Final = ("familiarity", "difficulty", "nominal", "length")
TEMPERATURE: Final = "one coordinate acting as an effective temperature"
ALIGNMENT: Final = "alignment with readout rows"
HALF: Final = 0.5
MANY: Final = 8  # coordinates; a change that half of them carry is no matter of one
NOTHING: Final = (math.nan, math.nan)


class Evidence(NamedTuple):
    """What the parts of the report found for one model and suite; None where the sweep holds nothing on it.

    Attributes:
        changes: whether there is a change at all, by the pre-stated measure.
        carried: substitution at the end of the residual stream, one per group.
        pinned: what pinning the one top coordinate does to all groups together.
        lost: share of the effect at the final norm that goes with the answer's row.
        row: which row that was.
    """

    changes: Verdict
    carried: list[Substitution]
    pinned: Pinned | None
    lost: Share | None
    row: str

    @property
    def top_share(self) -> Share | None:
        """Share that the one top coordinate carries: the median over groups, with the interval of that group."""
        known = sorted((found.curve[1] for found in self.carried if 1 in found.curve), key=lambda share: share.value)
        return known[(len(known) - 1) // 2] if known else None

    @property
    def k50(self) -> float:
        """Coordinates that carry half: the median over groups; more than were tried counts as infinite."""
        counts = [math.inf if math.isnan(found.k50.value) else found.k50.value for found in self.carried]
        return float(np.median(counts)) if counts else math.nan


@analysis(QUESTION)
def mechanism(run: Run) -> list[Finding]:
    """Answer for every model and suite with a comparison."""
    findings: list[Finding] = []
    substitutions = read_substitutions(run)
    for panel in read_panels(run, KINDS):
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
    rng = fresh()
    whole = at(effect(associate_with(panel, one, [column], resamples=RESAMPLES, rng=rng), one), 0)
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


def _lost(run: Run, panel: Panel) -> tuple[Share | None, str]:
    """Share of the effect at the final norm that goes with the first row there is."""
    for basis in ROWS:
        for states in projected(run, panel, basis):
            one = overall(states.panel)
            if one is None:
                continue
            association = associate_with(states.panel, one, [0, 1], resamples=RESAMPLES, rng=fresh())
            value, (low, high) = share_lost(association, one, before=0, after=1)
            return (Share(value, low, high) if math.isfinite(low) else None), ROWS[basis]
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


def _alignment(evidence: Evidence) -> Verdict:
    if evidence.lost is None:
        return "undecided"
    if evidence.lost.low >= HALF and evidence.k50 >= MANY:
        return "supported"
    return "contradicted" if evidence.lost.high < HALF or evidence.k50 < MANY else "undecided"


def _findings(panel: Panel, column: int, evidence: Evidence) -> list[Finding]:
    claims = {TEMPERATURE: _temperature(evidence), ALIGNMENT: _alignment(evidence)}
    if evidence.changes == "undecided" and not evidence.carried:
        claims = dict.fromkeys(claims, "undecided")
    supported = [name for name, verdict in claims.items() if verdict == "supported"]
    name = supported[0] if len(supported) == 1 else ""
    suite = shown(panel.suite)
    tells = f"{suite}: {name}" if name else f"{suite}: mechanism undecided"
    primary = _about(panel, column, evidence, name or _first_known(evidence))
    text = f"{tells} ({'; '.join(_numbers(evidence))})."
    whole = replace(
        primary, primary=True, verdict="supported" if name else "undecided", text=text, plot=_plot(evidence)
    )
    single = [
        replace(
            _about(panel, column, evidence, claim),
            verdict=verdict,
            text=f"{suite}: {claim} is {verdict} ({'; '.join(_numbers(evidence, claim)) or 'nothing known of it'}).",
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


def _first_known(evidence: Evidence) -> str:
    return ALIGNMENT if evidence.top_share is None and evidence.lost is not None else TEMPERATURE


def _about(panel: Panel, column: int, evidence: Evidence, claim: str) -> Finding:
    """The number that speaks most directly to a claim."""
    share = evidence.lost if claim == ALIGNMENT else evidence.top_share
    unit = (
        f"share of the effect at final_norm that goes with {evidence.row} projected out"
        if claim == ALIGNMENT
        else "share of the change of mean Hoyer carried by the one top coordinate"
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


def _numbers(evidence: Evidence, claim: str = "") -> list[str]:
    """What was found, in the order in which the mechanisms ask for it; of one claim only what it asks for."""
    said: list[str] = []
    share, lost = evidence.top_share, evidence.lost
    if share is not None:
        many = "more than were tried" if math.isinf(evidence.k50) else f"{evidence.k50:.0f}"
        where = evidence.carried[0].place
        carried = percent(share.value, share[1:])
        said.append(
            f"at {where} one coordinate carries {carried} of the change by substitution, half of it takes {many}"
        )
    if evidence.pinned is not None and claim != ALIGNMENT:
        said.append(_pinned_words(evidence.pinned))
    if lost is not None and claim != TEMPERATURE:
        said.append(
            f"{percent(lost.value, lost[1:])} of the effect at final_norm goes with {evidence.row} projected out"
        )
    if evidence.changes == "undecided":
        said.append("the change itself is undecided")
    return said


def _pinned_words(found: Pinned) -> str:
    moves = " and ".join(
        f"{word} by {signed(found.cells[outcome, 'recomputed'].pin.value)}"
        for outcome, word in ((ENTROPY, "entropy"), (LOSS, "nll"))
        if (outcome, "recomputed") in found.cells
    )
    told = {
        "temperature": ", the other way round with the norm frozen",
        "something": ", in no pattern that is known",
        "nothing told": ", not told from an equal random push",
    }
    return f"pinning it moves {moves} nats{told[found.pattern]}"


def _effects(evidence: Evidence) -> tuple[Effect, ...]:
    found: list[Effect] = []
    if evidence.top_share is not None:
        share = evidence.top_share
        found.append(Effect("share carried by one coordinate", share.value, (share.low, share.high)))
        found.append(Effect("coordinates that carry half", evidence.k50, NOTHING))
    if evidence.pinned is not None:
        for (outcome, norm), cell in evidence.pinned.cells.items():
            found.append(Effect(f"{outcome} by pinning, norm {norm}", cell.pin.value, cell.pin.interval))
    if evidence.lost is not None:
        lost = evidence.lost
        found.append(Effect(f"share lost with {evidence.row} projected out", lost.value, (lost.low, lost.high)))
    return tuple(found)


def _plot(evidence: Evidence) -> Plot:
    """The two shares that the mechanisms are told by."""
    rows = [
        Mark("carried by one coordinate", shown(found.group), math.nan, *found.curve[1])
        for found in evidence.carried
        if 1 in found.curve
    ]
    if evidence.lost is not None:
        rows.append(Mark("gone at final_norm", f"{evidence.row} projected out", math.nan, *evidence.lost))
    return Plot("forest", "share of the change", "", tuple(rows), HALF)
