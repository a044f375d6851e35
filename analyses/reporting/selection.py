"""Choice of the findings that a person reads, of thousands; the rest stay cells of a table for programs.

A sweep over thirty layers gives each question a finding per measure, site, layer, position and domain: thousands. The
page and ``findings.json`` hold those that somebody reads; ``findings.csv`` has a row for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from analyses.findings.panel import PRIMARY_METRIC
from analyses.findings.record import Finding


class Selection(NamedTuple):
    """Findings that are told one by one, and cells that are drawn and counted only."""

    told: list[Finding]
    cells: list[Finding]


def select(findings: Sequence[Finding]) -> Selection:
    """Part findings into told ones and cells.

    Told is what has no level means (it was asked once and not of every place), what was pre-stated, and per question,
    model and suite what reads the pre-stated measure at the pre-stated position, at every layer; of single domains, and
    of other measures and positions, those at the pre-stated place.
    """
    reference: dict[tuple[str, ...], Finding] = {}
    for finding in sorted(findings, key=lambda f: (not f.primary, f.scope.metric != PRIMARY_METRIC)):
        if finding.answered and finding.levels:
            reference.setdefault(_question(finding), finding)
    told: list[Finding] = []
    cells: list[Finding] = []
    for finding in findings:
        first = reference.get(_question(finding))
        (cells if first is not None and _is_cell(finding, first) else told).append(finding)
    return Selection(told, cells)


def _question(finding: Finding) -> tuple[str, ...]:
    return finding.analysis, finding.scope.model, finding.scope.suite


def _is_cell(finding: Finding, first: Finding) -> bool:
    if finding.primary or not finding.levels:
        return False
    scope, stated = finding.scope, first.scope
    here = scope.place == stated.place
    alike = (scope.metric, scope.position, scope.basis) == (stated.metric, stated.position, stated.basis)
    return not (alike and (here or not scope.group)) and not (here and not scope.group)
