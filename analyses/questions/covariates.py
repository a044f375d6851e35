"""Covariates: the change adjusted for what could explain it, and how much goes with what is read off the output.

Every covariate declares its role (:mod:`analyses.findings.covariates`). Primary: the effect of the pre-stated measure
adjusted for all numeric pre-treatment covariates together, tested by Freedman and Lane. It survives only if there is a
change of the same sign as measured, and if length can be told from it. What has kinds instead of numbers (the last
token, the template) is adjusted for by comparing within its kinds. What is read off the output, or computed from the
state itself, is adjusted for one at a time and removes no confounder; colliders are named and never conditioned on.
Where the axis is a set of domains, every partial also has the interval over independent domains and its range when one
of them is left out: with few domains a covariate that differs between them can hardly be separated from the domain.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import Comparison, associate_with, at, effect, fresh, judge, overall
from analyses.findings.covariates import (
    KINDS_OF_ITEM,
    Entry,
    Numbers,
    Together,
    by_domain,
    enter,
    ledger,
    same_kind,
    together,
    without_one,
)
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.panel import Covariate, primary_column, scope_of, unanswered
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Role, Significance, Verdict, decide
from analyses.findings.registry import analysis
from analyses.statistics.groups import average
from analyses.statistics.permutation import freedman_lane_p
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Does the change survive adjusting for length and the like, and how much goes with the output?"
HELD: Final = "adjusted for, pre-treatment"
OUTPUT: Final = "adjusted for, read off the output"
STATE: Final = "adjusted for, computed from the state itself"
TEST: Final = "Freedman-Lane, ranks"
PERMUTATIONS: Final = 999
ROLES: Final[dict[Role, str]] = {
    "pre_treatment": "known before the model ran",
    "mediator": "read off the output",
    "state": "computed from the state itself",
}
NOTHING: Final = (float("nan"), (float("nan"), float("nan")))


@analysis(QUESTION, order=11)
def covariates(run: Run) -> list[Finding]:
    """Answer from every suite with a comparison."""
    return [finding for panel in read_panels(run, AXIS_KINDS) for finding in _panel_findings(panel)]


def _panel_findings(panel: Panel) -> list[Finding]:
    column, one = primary_column(panel), overall(panel)
    if column is None or one is None:
        return [unanswered(panel, "covariates", QUESTION, "there is nothing to compare")]
    book = ledger(panel, column)
    held = together(panel, column, one, [covariate for covariate in book if covariate.role != "collider"])
    entries = [
        enter(panel, column, one, group, number) for group in held for number in range(1, len(group.covariates) + 1)
    ]
    entries = [entry for entry in entries if np.isfinite(entry.given[0])]
    if not entries:
        return [unanswered(panel, "covariates", QUESTION, "no covariate varies beside what is compared")]
    return [
        _summary(panel, column, one, entries, book, held),
        *(_entry_finding(panel, column, one, e) for e in entries),
    ]


def _summary(
    panel: Panel, column: int, one: Comparison, entries: list[Entry], book: list[Covariate], held: list[Together]
) -> Finding:
    plain = at(effect(held[0].association, one), 0)
    before = [entry for entry in entries if entry.covariate.role == "pre_treatment"]
    jointly, p = _jointly(panel, column, one, [entry.covariate for entry in before], held)
    kinds = {name: found for name in KINDS_OF_ITEM if (found := same_kind(panel, column, one, name)) is not None}
    jointly_held = [entry.covariate for entry in before]
    over = by_domain(panel, column, one, jointly_held)
    rows = [Mark("as measured", "as measured", float("nan"), plain[0], *plain[1])]
    rows += [Mark(HELD, e.covariate.name, float("nan"), e.given[0], *e.given[1]) for e in before]
    if len(before) > 1:
        rows.append(Mark(HELD, "all of them", float("nan"), jointly[0], *jointly[1]))
    rows += [Mark(HELD, f"same {KINDS_OF_ITEM[name]}", float("nan"), v, *i) for name, (v, i) in kinds.items()]
    after = [entry for entry in entries if entry.covariate.role == "mediator"]
    states = [entry for entry in entries if entry.covariate.role == "state"]
    rows += [Mark(OUTPUT, e.covariate.name, float("nan"), e.given[0], *e.given[1]) for e in after]
    rows += [Mark(STATE, e.covariate.name, float("nan"), e.given[0], *e.given[1]) for e in states]
    value, interval = jointly if before else plain
    without = _without_claim(plain, interval, before, book)
    own = one.rows & np.isfinite(panel.values[:, column])
    return Finding(
        analysis="covariates",
        question=QUESTION,
        scope=scope_of(panel, column),
        primary=True,
        estimate=value,
        unit=one.unit_given if before else one.unit,
        quantity=one.quantity_given if before else one.quantity,
        adjusted_for=tuple(entry.covariate.name for entry in before),
        interval=interval,
        n=int(own.sum()),
        n_clusters=len(np.unique(panel.clusters[own])),
        test=Significance(TEST, p, p) if np.isfinite(p) else None,
        controls=tuple(
            Control(e.covariate.name, e.covariate.role, *e.given, e.correlation) for e in (*before, *after, *states)
        ),
        effects=(
            Effect("as measured", *plain),
            *(Effect(f"among items with the same {KINDS_OF_ITEM[name]}", *found) for name, found in kinds.items()),
            *_domains(over),
        ),
        verdict=("undecided" if without else _verdict(value, interval, p)) if before else "described",
        text=_sentence(one, plain, jointly if before else None, before, after, _colliders(book))
        + _spread(over)
        + without,
        plot=Plot("forest", one.unit, "", tuple(rows), 0.0),
    )


def _without_claim(plain: Numbers, given: tuple[float, float], before: list[Entry], book: list[Covariate]) -> str:
    """Reason that nothing can have survived; empty where there is a change, told from what it could be."""
    told = {entry.covariate.name for entry in before}
    if any(covariate.name == LENGTH and LENGTH not in told for covariate in book):
        return " Length follows what is compared and cannot be separated from it, so nothing is claimed."
    measured = judge(plain[1])
    if measured == "undecided":
        return (
            f" Without any adjustment there is no significant change ({with_interval(*plain)}), so nothing is claimed."
        )
    if judge(given) not in {measured, "undecided"}:
        return f" As measured the change has the other sign ({with_interval(*plain)}), so it does not survive."
    return ""


def _domains(effects: Float[np.ndarray, " domains"]) -> list[Effect]:
    """The mean over domains with Student's interval, and its range when one of them is left out."""
    if len(effects) < 2:
        return []
    found, (low, high) = average(effects), without_one(effects)
    return [
        Effect(f"mean over {len(effects)} independent domains", found.mean, found.interval),
        Effect("one domain left out, lowest", low, NOTHING[1]),
        Effect("one domain left out, highest", high, NOTHING[1]),
    ]


def _spread(effects: Float[np.ndarray, " domains"]) -> str:
    if len(effects) < 2:
        return ""
    found, (low, high) = average(effects), without_one(effects)
    return (
        f" Over {len(effects)} independent domains the mean is {with_interval(found.mean, found.interval)}, "
        f"with one of them left out {signed(low)} to {signed(high)}."
    )


def _verdict(value: float, interval: tuple[float, float], p: float) -> Verdict:
    """By interval and test; by the interval alone where the design allows no test."""
    return decide(value, interval, p) if np.isfinite(p) else judge(interval)


def _colliders(book: list[Covariate]) -> list[str]:
    return [covariate.name for covariate in book if covariate.role == "collider"]


def _jointly(
    panel: Panel, column: int, one: Comparison, covariates: list[Covariate], held: list[Together]
) -> tuple[Numbers, float]:
    """The effect given all these covariates, and the p-value of Freedman and Lane's test."""
    if not covariates:
        return NOTHING, float("nan")
    names = [covariate.name for covariate in covariates]
    scores = np.column_stack([covariate.values for covariate in covariates])
    own = next((group for group in held if set(names) <= {covariate.name for covariate in group.covariates}), None)
    if own is None:  # known for different items
        own = Together(covariates, associate_with(panel, one, [column], scores, resamples=RESAMPLES))
    numbers = [number for number, covariate in enumerate(own.covariates, 1) if covariate.name in names]
    value = at(own.association.partial_all(numbers, slope=one.is_contrast), 0)
    rows = one.rows & np.isfinite(scores).all(axis=1) & np.isfinite(panel.values[:, column])
    clusters = np.unique(panel.clusters[rows], return_inverse=True)[1].reshape(-1)
    if one.design == "clusters" and np.ptp(np.bincount(clusters)):
        return value, float("nan")  # clusters of different sizes cannot change places
    p = freedman_lane_p(
        panel.values[rows][:, [column]],
        one.score[rows],
        scores[rows],
        clusters,
        design=one.design,
        permutations=PERMUTATIONS,
        rng=fresh(),
    )
    return value, float(p[0])


def _entry_finding(panel: Panel, column: int, one: Comparison, entry: Entry) -> Finding:
    by_domain = entry.n_domains > 1
    value, interval = entry.over_domains if by_domain else entry.given
    role = ROLES[entry.covariate.role]
    nothing = (float("nan"), float("nan"))
    effects = [Effect(f"rank correlation of the measure with {entry.covariate.name}", entry.correlation, nothing)]
    if np.isfinite(entry.adjusted):
        effects.append(Effect("the same adjusted for length", entry.adjusted, nothing))
    sets = "domains" if one.is_contrast else "levels"
    if entry.within:
        effects += [
            Effect(f"the same within {sets}, lowest", min(entry.within), nothing),
            Effect(f"the same within {sets}, highest", max(entry.within), nothing),
        ]
    if by_domain:
        effects += [
            Effect("over items", *entry.given),
            Effect("one domain left out, lowest", entry.without_one[0], nothing),
            Effect("one domain left out, highest", entry.without_one[1], nothing),
        ]
    beside = f" ({signed(entry.adjusted)} adjusted for length)" if np.isfinite(entry.adjusted) else ""
    spread = f" ({_range(entry, sets)})" if entry.within else ""
    left = (
        f"; one domain left out {signed(entry.without_one[0])} to {signed(entry.without_one[1])}" if by_domain else ""
    )
    over = f"over {entry.n_domains} independent domains" if by_domain else "over items"
    own = one.rows & np.isfinite(panel.values[:, column]) & np.isfinite(entry.covariate.values)
    measure = f"{panel.columns[column].metric} at {panel.columns[column].place}"
    return Finding(
        analysis="covariates",
        question=QUESTION,
        scope=scope_of(panel, column, entry.covariate.name),
        estimate=value,
        unit=one.unit_given,
        quantity=one.quantity_given,
        adjusted_for=(entry.covariate.name,),
        interval=interval,
        n=int(own.sum()),
        n_clusters=entry.n_domains if by_domain else len(np.unique(panel.clusters[own])),
        generalises_over="domains" if by_domain else "items",
        controls=(Control(entry.covariate.name, entry.covariate.role, *entry.given, entry.correlation),),
        effects=tuple(effects),
        verdict="described",
        text=(
            f"Adjusting for {entry.covariate.name} ({role}) leaves a {one.quantity_given} of "
            f"{with_interval(value, interval)} {over}{left}. Its rank correlation with {measure} is "
            f"{signed(entry.correlation)}{beside}{spread}."
        ),
    )


def _range(entry: Entry, sets: str) -> str:
    """The rank correlations inside levels or domains; of a few items each, and so without intervals."""
    low, high = signed(min(entry.within)), signed(max(entry.within))
    if len(entry.within) == 1:
        return f"{low} within one of the {sets}"
    return f"{low} to {high} within {len(entry.within)} {sets}"


def _sentence(
    one: Comparison,
    plain: Numbers,
    together: Numbers | None,
    before: list[Entry],
    after: list[Entry],
    colliders: list[str],
) -> str:
    said = ""
    if together is not None:
        names = " and ".join(shown(entry.covariate.name) for entry in before)
        most = max(before, key=lambda entry: abs(entry.correlation))
        said = (
            f"Adjusting for {names}, the {one.quantity} of {signed(plain[0])} becomes a {one.quantity_given} of "
            f"{with_interval(*together)} "
            f"({'of these ' if len(before) > 1 else ''}{shown(most.covariate.name)} has "
            f"{'the strongest' if len(before) > 1 else 'a'} rank correlation with the measure: "
            f"{signed(most.correlation)})"
        )
    else:
        said = f"No pre-treatment covariate varies, so the {one.quantity} stays {with_interval(*plain)}"
    entropies = [e for e in after if "entropy" in e.covariate.name] or after
    if entropies:
        most = max(entropies, key=lambda entry: abs(entry.correlation))
        spread = f" ({signed(most.adjusted)} adjusted for length)" if np.isfinite(most.adjusted) else ""
        said += (
            f". Adjusting for the output's {most.covariate.name} leaves a {one.quantity_given} of "
            f"{with_interval(*most.given)}; its rank correlation with the measure is {signed(most.correlation)}{spread}"
        )
    if colliders:
        said += f". {' and '.join(colliders)} is a collider and not conditioned on"
    return said + "."
