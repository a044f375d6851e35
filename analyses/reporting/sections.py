"""Findings arranged for reading: a section per question, model and suite, a part per measure, a row per place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from analyses.finding import Finding
from analyses.reporting.caveats import caveats_of
from analyses.reporting.grids import facts
from analyses.reporting.parts import Layout, Part, measure_parts
from analyses.reporting.pictures import Picture, Studio
from analyses.runs import Run
from analyses.sentences import short_model

# Questions as a reader would ask them: what happens, by which mechanism, where, and what else could be behind it.
ORDER: Final = (
    "difficulty",
    "familiarity",
    "domains",
    "known",
    "tokens",
    "length",
    "mechanism",
    "localization",
    "readout",
    "intervention",
    "covariates",
    "outcome",
    "dynamics",
    "architecture",
    "twins",
    "probes",
    "measures",
    "replication",
)
# Names of analyses that are no heading by themselves.
TITLES: Final = {
    "known": "Measured familiarity",
    "tokens": "Single tokens",
    "outcome": "Prediction of errors",
    "measures": "Agreement of measures",
    "probes": "Probes beside sparsity",
}


class Appendix(NamedTuple):
    """What was measured beside a pre-stated answer: the same question at other positions."""

    title: str
    parts: list[Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question asked of one model and suite at one position.

    Attributes:
        analysis: which analysis answered.
        title: what it is about, as a heading.
        suite: on which suite.
        question: what was asked.
        model: of which model.
        position: which tokens.
        lead: the pre-stated finding, where there is one.
        beside: names and values that stand beside the lead, where it has no row in a table.
        parts: by measure.
        appendices: other positions.
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
    parts: list[Part]
    appendices: list[Appendix]
    caveats: list[str]
    counted: str


class Silence(NamedTuple):
    """A question without an answer: of what it was asked, and why there is none."""

    title: str
    question: str
    reasons: list[str]


class Arranged(NamedTuple):
    """The page's body: what was answered, and what was not."""

    sections: list[Section]
    silences: list[Silence]


def arrange(findings: Sequence[Finding], run: Run, studio: Studio) -> Arranged:
    """Sections in the order of :data:`ORDER`, their figures written as files."""
    layout = Layout(run, studio)
    told = [finding for finding in findings if finding.answered or finding.plot is not None]
    groups = _hosted(_grouped(told))
    counts: Counter[str] = Counter()
    sections: list[Section] = []
    for group in groups:
        analysis = group.findings[0].analysis
        counts[analysis] += 1
        sections.append(_section(f"{analysis}-{counts[analysis]}", group, layout))
    silent = [finding for finding in findings if not (finding.answered or finding.plot is not None)]
    return Arranged(sorted(sections, key=_place), _silences(silent))


class _Group(NamedTuple):
    """Findings of one section: the pre-stated ones with their kin, and those at other positions."""

    findings: list[Finding]
    elsewhere: dict[str, list[Finding]]

    @property
    def lead(self) -> Finding | None:
        answered = [finding for finding in self.findings if finding.answered]
        stated = [finding for finding in answered if finding.primary or _sums_up(finding)]
        return stated[0] if stated else None


def _grouped(findings: Sequence[Finding]) -> list[_Group]:
    groups: dict[tuple[str, ...], _Group] = {}
    for finding in findings:
        scope = finding.scope
        key = (finding.analysis, scope.model, scope.suite, scope.position)
        groups.setdefault(key, _Group([], {})).findings.append(finding)
    return list(groups.values())


def _hosted(groups: Sequence[_Group]) -> list[_Group]:
    """A group without a pre-stated answer goes to the section that it says more about, where there is one.

    That is the section of the same model and suite, for which it is another position; else the only one of its
    analysis, which then is about several suites.
    """
    hosts = [group for group in groups if group.lead is not None]
    left: list[_Group] = []
    for group in groups:
        if group.lead is not None:
            continue
        first = group.findings[0]
        same = [host for host in hosts if host.findings[0].analysis == first.analysis]
        own = [host for host in same if _asked(host.findings[0]) == _asked(first)]
        if own:
            own[0].elsewhere.setdefault(first.scope.position, []).extend(group.findings)
        elif len(same) == 1:
            same[0].findings.extend(group.findings)
        else:
            left.append(group)
    return [*hosts, *left]


def _asked(finding: Finding) -> tuple[str, str]:
    return finding.scope.model, finding.scope.suite


def _silences(findings: Sequence[Finding]) -> list[Silence]:
    by_title: dict[str, list[Finding]] = {}
    for finding in findings:
        by_title.setdefault(_title(finding), []).append(finding)
    return [
        Silence(title, own[0].question, list(dict.fromkeys(finding.text for finding in own)))
        for title, own in sorted(by_title.items(), key=lambda entry: _order(entry[1][0].analysis))
    ]


def answer_picture(sections: Sequence[Section], leads: Sequence[Finding]) -> Picture | None:
    """The one figure that carries the answer, shown there only: the first of what the headline opens with.

    Several suites have their estimates below each other, where a finding sums them up.
    """
    for lead in leads[:1]:
        over = [section.lead for section in sections if section.analysis == lead.analysis and _sums_up(section.lead)]
        wanted = over[0] if over else lead
        for section in sections:
            if section.lead is wanted and section.parts and section.parts[0].pictures:
                return section.parts[0].pictures[0]
    return None


def _sums_up(finding: Finding | None) -> bool:
    """Whether a finding is about the pre-stated answers of several suites together and about no place of its own."""
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
    return ORDER.index(analysis) if analysis in ORDER else len(ORDER)


def _section(key: str, group: _Group, layout: Layout) -> Section:
    lead = group.lead
    first = lead or group.findings[0]
    suite = first.scope.suite
    parts = measure_parts(key, group.findings, layout, lead=lead, suite=suite)
    return Section(
        analysis=first.analysis,
        title=_title(first),
        suite=suite,
        question=first.question,
        model=short_model(first.scope.model),
        position=first.scope.position,
        lead=lead,
        beside=[] if lead is None or _has_row(lead, parts[0]) else facts(lead),
        parts=parts,
        appendices=[
            Appendix(
                f"Position {position}",
                measure_parts(f"{key}-p{number}", own, layout, lead=None, suite=first.scope.suite),
            )
            for number, (position, own) in enumerate(group.elsewhere.items(), 1)
        ],
        caveats=caveats_of(group.findings, lead),
        counted="tokens" if first.analysis == "tokens" else "items",
    )


def _has_row(lead: Finding, part: Part) -> bool:
    return any(row.primary for grid in part.grids for row in grid.rows) or not lead.answered


def _title(finding: Finding) -> str:
    suite, name = finding.scope.suite, _name(finding.analysis)
    return f"{name}: {suite}" if suite else name


def _name(analysis: str) -> str:
    return TITLES.get(analysis, analysis.capitalize())
