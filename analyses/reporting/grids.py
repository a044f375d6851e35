"""Findings as rows and columns: one table per thing that was estimated, with the columns that some row fills.

Problem: findings of one question share an estimate's unit and little else; a table of all their fields is mostly dashes
and wider than any screen, and their sentences below each other are a wall. Idea: findings of one unit are a table, one
sentence above it says what they come to, and a column that no row fills is not there. An effect that is named after its
row (``rank correlation with nll`` in the row of nll) shares the column of its likes.

Non-goals: choosing what is shown (``sections``) and markup (the templates).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from analyses.findings.formatting import (
    excess,
    level_name,
    number,
    p_value,
    short_model,
    shown,
    signed,
    whole_numbers,
    with_interval,
)
from analyses.findings.record import COUNT, Finding, Verdict

ABSENT: Final = "\N{EN DASH}"
# Headings of an estimate with a covariate.
ROLES: Final = {"pre_treatment": "adjusted for {}", "mediator": "adjusted for {}"}
CLAUSE: Final = re.compile(r", | \(")  # where the first words of a unit end
LONGEST: Final = 70
ELSEWHERE: Final = " at other sites and layers"
RAW: Final = frozenset({"", "raw"})
DELTA: Final = "Cliff's delta"
FEW_ROWS, MANY_COLUMNS = 4, 6  # a table of few rows and many columns is wider than a screen, and is turned


class Column(NamedTuple):
    """One heading: its words, the small print below them, and whether what stands under it is a number."""

    name: str
    note: str = ""
    numeric: bool = True


class Row(NamedTuple):
    """One finding.

    Attributes:
        label: what it is about.
        estimate: with its interval.
        verdict: what may be said.
        cells: under the grid's columns.
        primary: whether it is the pre-stated one.
    """

    label: str
    estimate: str
    verdict: Verdict
    cells: tuple[str, ...]
    primary: bool


class Grid(NamedTuple):
    """A table of the page.

    Attributes:
        title: its heading.
        about: what was estimated, and by which test.
        summed: its rows in one sentence; empty for a single row.
        first: heading of the labels.
        columns: what stands beside estimate and verdict.
        rows: one per finding.
    """

    title: str
    about: str
    summed: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def turned(self) -> bool:
        """True where the page writes each row as a column, because the table would not fit a screen."""
        return len(self.rows) <= FEW_ROWS and len(self.columns) >= MANY_COLUMNS


class _Filled(NamedTuple):
    column: Column
    cells: list[str]


def where(finding: Finding) -> str:
    """Place, and basis where it is not the raw one."""
    scope = finding.scope
    basis = "in several bases" if scope.basis == "several" else scope.basis
    return scope.place if scope.basis in RAW else f"{scope.place} ({basis})"


def trend_grid(findings: Sequence[Finding], suite: str) -> Grid:
    """Findings about all levels or domains, a row per place."""
    places = list(dict.fromkeys(finding.scope.place for finding in findings))
    title = f"At {places[0]}" if len(places) == 1 < len(findings) else "By layer"
    return _grid(title, findings, "site and layer", lambda finding: _of(where(finding), finding, suite))


def measures_grid(findings: Sequence[Finding], place: str, suite: str) -> Grid:
    """Other measures and positions at the pre-stated place, a row each."""
    several = len({finding.scope.position for finding in findings}) > 1

    def label(finding: Finding) -> str:
        scope = finding.scope
        words = [scope.metric, scope.position if several else ""]
        return _of(", ".join(word for word in words if word), finding, suite)

    return _grid(f"Other measures at {place}", findings, "measure", label)


def contrast_grids(findings: Sequence[Finding], place: str, suite: str) -> list[Grid]:
    """Findings about single groups: a table per unit, those at the section's place first and apart from other places.

    Units that one finding has alone (an estimate with its own covariate held fixed) share a table and stand in it.
    """
    here = [finding for finding in findings if place and finding.scope.place == place]
    elsewhere = [finding for finding in findings if not place or finding.scope.place != place]
    grids: list[Grid] = []
    for at, own in ((f" at {place}", here), (ELSEWHERE if place else "", elsewhere)):
        by_unit: dict[str, list[Finding]] = {}
        for finding in own:
            by_unit.setdefault(finding.unit, []).append(finding)
        alone = [group[0] for group in by_unit.values() if len(group) == 1]
        together = [group for group in by_unit.values() if len(group) > 1] + ([alone] if alone else [])
        grids += [_contrast_grid(group, at, suite, several=len(together) > 1) for group in together]
    return grids


def facts(finding: Finding) -> list[tuple[str, str]]:
    """Details beside an estimate that has no table of its own, as pairs of name and value.

    Covariates are left to the forest where there is one: it shows the same numbers.
    """
    found = list(_effects(finding).items())
    if finding.plot is None or finding.plot.kind != "forest":
        for control in finding.controls:
            heading = ROLES.get(control.role, "{}").format(control.name)
            heading += " (mediator)" if control.role == "mediator" else ""
            found.append((heading, with_interval(control.estimate, control.interval)))
    return found


def _contrast_grid(findings: Sequence[Finding], at: str, suite: str, *, several: bool) -> Grid:
    what = "domain" if findings[0].levels else "comparison"
    title = f"Single {what}s{at}"
    if several:
        title += f", {shown(CLAUSE.split(findings[0].unit)[0], LONGEST)}"
    return _grid(
        title,
        findings,
        what,
        lambda finding: _of(level_name(finding.scope.group, finding.scope.axis), finding, suite),
        places=at in {"", ELSEWHERE},
    )


def _grid(
    title: str, findings: Sequence[Finding], first: str, label: Callable[[Finding], str], *, places: bool = False
) -> Grid:
    estimates = [with_interval(finding.estimate, finding.interval) for finding in findings]
    filled = [
        entry
        for entry in _columns(findings, places=places)
        # where each finding is adjusted for something else, that covariate's column would only say the estimate again
        if any(cell not in (ABSENT, estimate) for cell, estimate in zip(entry.cells, estimates, strict=True))
    ]
    rows = tuple(
        Row(
            shown(label(finding), LONGEST),
            estimates[index],
            finding.verdict,
            tuple(entry.cells[index] for entry in filled),
            finding.primary,
        )
        for index, finding in enumerate(findings)
    )
    units = list(dict.fromkeys(finding.unit for finding in findings if finding.unit))
    unit = units[0] if len(units) == 1 else _shared(units).removesuffix(", ")
    tests = "; ".join(dict.fromkeys(finding.test.name for finding in findings if finding.test))
    about = f"Estimate: {unit}." if unit else ""
    if tests:
        about += f" Test: {tests}."
    return Grid(title, about.strip(), _summed(findings, rows), first, tuple(entry.column for entry in filled), rows)


def _columns(findings: Sequence[Finding], *, places: bool) -> list[_Filled]:
    """Every column that a table could have."""
    columns: list[_Filled] = []
    if places:
        columns.append(
            _Filled(Column("site and layer", numeric=False), [where(finding) or ABSENT for finding in findings])
        )
    if len({finding.unit for finding in findings}) > 1:
        shared = _shared([finding.unit for finding in findings])
        own = [finding.unit.removeprefix(shared) for finding in findings]
        columns.append(_Filled(Column("estimate is", numeric=False), own))
    named = [_effects(finding) for finding in findings]
    names = dict.fromkeys(name for own in named for name in own)
    columns += [_Filled(Column(_spaced(name)), [own.get(name, ABSENT) for own in named]) for name in names]
    slopes = any(finding.quantity == DELTA for finding in findings)
    columns += [
        _Filled(_covariate(name, role, contrast=slopes), [_control(finding, name) for finding in findings])
        for name, role in _covariates(findings)
    ]
    over_seeds = all(finding.generalises_over == "seeds" for finding in findings)
    columns.append(_Filled(Column("seeds" if over_seeds else "items"), [f"{finding.n:,}" for finding in findings]))
    if any(finding.n_clusters != finding.n for finding in findings):
        heading = "domains" if all(finding.generalises_over == "domains" for finding in findings) else "clusters"
        columns.append(_Filled(Column(heading), [f"{finding.n_clusters:,}" for finding in findings]))
    adjusted = [p_value(finding.test.p_adjusted) if finding.test else ABSENT for finding in findings]
    columns.append(_Filled(Column("p, adjusted"), adjusted))
    columns.append(_Filled(Column("family-wise p"), [_family_wise(finding) for finding in findings]))
    columns.append(_Filled(Column("mean against Gaussian null"), [against_chance(finding) for finding in findings]))
    return columns


def _family_wise(finding: Finding) -> str:
    return ABSENT if finding.test is None else p_value(finding.test.p_family)


def _shared(units: Sequence[str]) -> str:
    """The clauses that all units begin with, and the comma after them."""
    clauses = [unit.split(", ") for unit in units]
    common: list[str] = []
    for same in zip(*clauses, strict=False):
        if len(set(same)) > 1:
            break
        common.append(same[0])
    return ", ".join(common) + ", " if common else ""


def tested(finding: Finding) -> str:
    """The test of a finding with its own p-value, then the one that its verdict rests on where that is another."""
    test = finding.test
    if test is None:
        return "none; the verdict rests on the interval" if math.isfinite(finding.interval[0]) else "none"
    own = f"{test.name}, p {p_value(test.p)}"
    if not test.correction:
        return own
    length = "adjusted for length and corrected" if finding.primary and finding.length else "corrected"
    return f"{own}; {length} ({test.correction}), p {p_value(test.p_adjusted)}"


def against_chance(finding: Finding) -> str:
    """Distance of the mean of the items from the Gaussian null, with its side."""
    if finding.null is not None:
        return f"{excess(finding.null.excess)} {finding.null.sign}"
    return "no null: a size" if finding.levels else ABSENT


def _covariates(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Names and roles of the covariates that any of these findings holds fixed, pre-treatment ones first."""
    found = dict.fromkeys((control.name, control.role) for finding in findings for control in finding.controls)
    return sorted(found, key=lambda entry: (entry[1] != "pre_treatment", entry[0] != "n_tokens"))


def _covariate(name: str, role: str, *, contrast: bool) -> Column:
    """The heading of what is held fixed; an adjusted Cliff's delta is a slope of ranks and says so."""
    note = role.replace("_", "-")
    slope = "; slope of ranks, may exceed 1" if contrast and role in ROLES else ""
    return Column(ROLES.get(role, "{}").format(_spaced(name)), note + slope)


def _control(finding: Finding, name: str) -> str:
    found = next((control for control in finding.controls if control.name == name), None)
    return ABSENT if found is None else with_interval(found.estimate, found.interval)


def _effects(finding: Finding) -> dict[str, str]:
    """Other effect sizes by name; the finding's own group is written as "it", and why one is missing as its value."""
    found: dict[str, str] = {}
    for effect in finding.effects:
        written = (whole_numbers if effect.key == COUNT else _effect)(effect.estimate, effect.interval)
        found[_unnamed(effect.name, finding.scope.group)] = effect.reason or written
    return found


def _unnamed(name: str, group: str) -> str:
    if not group or not name.endswith(f" {group}"):
        return name
    return name.removesuffix(f", {group}") if name.endswith(f", {group}") else name.removesuffix(group) + "it"


def _effect(estimate: float, interval: tuple[float, float]) -> str:
    """With its sign where it has an interval, else as a plain number: it may be a count or a share."""
    if math.isfinite(interval[0]):
        return with_interval(estimate, interval)
    if estimate.is_integer() and abs(estimate) >= 1:
        return f"{estimate:,.0f}".replace("-", "\N{MINUS SIGN}")
    return number(estimate)


def _summed(findings: Sequence[Finding], rows: Sequence[Row]) -> str:
    """Sum up rows of one unit: the count of each verdict, and the range of the estimates."""
    single = [(finding, row) for finding, row in zip(findings, rows, strict=True) if math.isfinite(finding.estimate)]
    if len(single) < 2:
        return ""
    counts = Counter(finding.verdict for finding, _ in single)
    said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    if len({finding.unit for finding, _ in single}) > 1:
        return f"{said.capitalize()}."
    low, lowest = min(single, key=lambda pair: pair[0].estimate)
    high, highest = max(single, key=lambda pair: pair[0].estimate)
    return f"{said}: from {signed(low.estimate)} ({lowest.label}) to {signed(high.estimate)} ({highest.label})."


def _of(text: str, finding: Finding, suite: str) -> str:
    """A label, with the suite where the section is about several, and the model where nothing else is there."""
    parts = [text, finding.scope.suite if finding.scope.suite != suite else ""]
    return ", ".join(part for part in parts if part) or short_model(finding.scope.model)


def _spaced(name: str) -> str:
    """Words that a heading can break between."""
    return name.replace("_", " ")
