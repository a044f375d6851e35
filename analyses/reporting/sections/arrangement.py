"""Findings arranged for reading: a section per question, model and suite."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analyses.data.runs import Run
from analyses.findings.formatting import short_model
from analyses.findings.record import Finding
from analyses.findings.registry import ANALYSES, LAST
from analyses.reporting.grids import facts
from analyses.reporting.pictures import Picture, Progress, Studio, quiet
from analyses.reporting.sections.body import Layout, Part, body
from analyses.reporting.sections.caveats import caveats_of
from analyses.reporting.selection import select


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question asked of one model and suite.

    Attributes:
        analysis: which analysis answered.
        title: what it is about, as a heading.
        suite: on which suite.
        question: what was asked.
        model: of which model.
        position: which tokens the pre-stated answer reads.
        lead: the pre-stated finding, where there is one.
        beside: names and values that stand beside the lead, where it has no row in a table.
        body: figures and tables.
        caveats: what a skeptic must know of this answer.
        counted: what the numbers behind the answer count.
    """

    analysis: str
    title: str
    suite: str
    question: str
    model: str
    position: str
    lead: Finding | None
    beside: list[tuple[str, str]]
    body: Part
    caveats: list[str]
    counted: str

    @property
    def anchor(self) -> str:
        """The name that other pages link to."""
        return _anchor(self.analysis, self.model, self.suite)


def anchor(finding: Finding) -> str:
    """The name of the section that carries a finding, for links from other pages.

    >>> from analyses.findings.record import Scope
    >>> anchor(Finding(analysis="limits", question="", scope=Scope(model="/data/my model", suite="physics"), text=""))
    'limits-my-model-physics'
    """
    return _anchor(finding.analysis, short_model(finding.scope.model), finding.scope.suite)


def _anchor(*words: str) -> str:
    return "-".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in words if word)


class Silence(NamedTuple):
    """A question without an answer: of what it was asked, and why there is none."""

    title: str
    question: str
    reasons: list[str]


class Arranged(NamedTuple):
    """The page's body: what was answered, and what was not."""

    sections: list[Section]
    silences: list[Silence]


def arrange(findings: Sequence[Finding], run: Run, studio: Studio, progress: Progress = quiet) -> Arranged:
    """Sections in the order that their analyses ask for, their figures written as files.

    Args:
        findings: all of them.
        run: the tables, for pictures that show items.
        studio: where figures go.
        progress: told of every section.
    """
    layout = Layout(run, studio)
    selection = select(findings)
    groups = _hosted(_grouped([finding for finding in selection.told if _speaks(finding)]))
    cells = _grouped(selection.cells)
    counts: Counter[str] = Counter()
    sections: list[Section] = []
    for number, (asked, own) in enumerate(groups.items(), 1):
        analysis = asked[0]
        counts[analysis] += 1
        progress(f"figures and tables {number} of {len(groups)}: {_title(own[0])}")
        sections.append(_section(f"{analysis}-{counts[analysis]}", own, cells.get(asked, []), layout))
    silent = [finding for finding in findings if not _speaks(finding)]
    return Arranged(sorted(sections, key=_place), _silences(silent))


def _speaks(finding: Finding) -> bool:
    return finding.answered or finding.plot is not None


Asked = tuple[str, str, str]


def _grouped(findings: Sequence[Finding]) -> dict[Asked, list[Finding]]:
    groups: dict[Asked, list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.analysis, finding.scope.model, finding.scope.suite), []).append(finding)
    return groups


def _lead(findings: Sequence[Finding]) -> Finding | None:
    answered = [finding for finding in findings if finding.answered]
    stated = [finding for finding in answered if finding.primary or _sums_up(finding)]
    return stated[0] if stated else None


def _hosted(groups: dict[Asked, list[Finding]]) -> dict[Asked, list[Finding]]:
    """A group without a pre-stated answer goes to the only section of its analysis that has one, where there is one."""
    hosts = {asked: list(own) for asked, own in groups.items() if _lead(own) is not None}
    left: dict[Asked, list[Finding]] = {}
    for asked, own in groups.items():
        if asked in hosts:
            continue
        same = [host for host in hosts if host[0] == asked[0]]
        if len(same) == 1:
            hosts[same[0]].extend(own)
        else:
            left[asked] = own
    return hosts | left


def _silences(findings: Sequence[Finding]) -> list[Silence]:
    by_title: dict[str, list[Finding]] = {}
    for finding in findings:
        by_title.setdefault(_title(finding), []).append(finding)
    return [
        Silence(title, own[0].question, list(dict.fromkeys(finding.text for finding in own)))
        for title, own in sorted(by_title.items(), key=lambda entry: _order(entry[1][0].analysis))
    ]


def answer_picture(sections: Sequence[Section], leads: Sequence[Finding]) -> Picture | None:
    """The one figure that carries the answer, shown on the first screen only: the first of what it opens with."""
    for section in sections:
        if leads and section.lead is leads[0] and section.body.pictures:
            return section.body.pictures[0]
    return None


def _sums_up(finding: Finding | None) -> bool:
    """True where a finding is about the pre-stated answers of several suites together and about no place of its own."""
    return finding is not None and not finding.primary and not finding.scope.site and finding.plot is not None


def contents(sections: Sequence[Section]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Questions and where their sections are, each named by what tells it from the others of its question."""
    numbered: dict[str, list[tuple[int, Section]]] = {}
    for number, section in enumerate(sections, 1):
        numbered.setdefault(_name(section.analysis), []).append((number, section))
    listed: list[tuple[str, list[tuple[int, str]]]] = []
    for name, own in numbered.items():
        told = _telling([section for _, section in own])
        listed.append((name, [(number, label) for (number, _), label in zip(own, told, strict=True)]))
    return listed


def _telling(sections: Sequence[Section]) -> list[str]:
    """The fewest words that tell these sections apart: suites, else with models, else with positions."""
    labels = [section.suite for section in sections]
    for trait in ("model", "position"):
        if len(set(labels)) < len(labels):
            words = [str(getattr(section, trait)) for section in sections]
            labels = [", ".join(part for part in pair if part) for pair in zip(labels, words, strict=True)]
    return labels


def _place(section: Section) -> tuple[int, bool, bool]:
    """Its question's place on the page: first what sums up several answers, last what was not pre-stated."""
    return _order(section.analysis), section.lead is None, not _sums_up(section.lead)


def _order(analysis: str) -> int:
    return ANALYSES[analysis].order if analysis in ANALYSES else LAST


def _section(key: str, told: list[Finding], cells: Sequence[Finding], layout: Layout) -> Section:
    lead = _lead(told)
    first = lead or told[0]
    part = body(key, told, cells, layout, lead)
    return Section(
        analysis=first.analysis,
        title=_title(first),
        suite=first.scope.suite,
        question=first.question,
        model=short_model(first.scope.model),
        position=first.scope.position,
        lead=lead,
        beside=[] if lead is None or _has_row(part) else facts(lead),
        body=part,
        caveats=caveats_of(told, lead),
        counted=ANALYSES[first.analysis].counted if first.analysis in ANALYSES else "items",
    )


def _has_row(part: Part) -> bool:
    return any(row.primary for grid in part.grids for row in grid.rows)


def _title(finding: Finding) -> str:
    suite, name = finding.scope.suite, _name(finding.analysis)
    return f"{name}: {suite}" if suite else name


def _name(analysis: str) -> str:
    return ANALYSES[analysis].title if analysis in ANALYSES else analysis.capitalize()
