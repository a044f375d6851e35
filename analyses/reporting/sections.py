"""Findings arranged for reading: a section per question, model and suite, a part per measure, a row per place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from analyses import figures
from analyses.evidence import PRIMARY_METRIC
from analyses.finding import Finding, Plot
from analyses.reporting.caveats import caveats_of
from analyses.reporting.inventory import short_model
from analyses.reporting.items import item_values
from analyses.reporting.pictures import Picture, Studio
from analyses.runs import Run
from analyses.tables import UNLAYERED

RESIDUAL: Final = "resid_post"
# Questions as a reader would ask them: what happens, by which mechanism, where, and what else could be behind it.
ORDER: Final = (
    "difficulty",
    "familiarity",
    "domains",
    "length",
    "mechanism",
    "localization",
    "readout",
    "intervention",
    "covariates",
    "outcome",
    "dynamics",
    "architecture",
    "probes",
    "measures",
    "replication",
)
MOST_PLOTS: Final = 8  # of single findings in one part; the rest stay in findings.json
CHANCE_BAND: Final = (
    "Dashed: what i.i.d. Gaussian vectors of this width give; grey: where 95 of 100 means of as many of them would lie"
)
DRAWINGS: Final[dict[str, Callable[[Plot], Figure]]] = {
    "curve": figures.curve,
    "forest": figures.forest,
    "matrix": figures.matrix,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One measure in a section.

    Attributes:
        metric: the measure; empty where the findings are about no single one.
        pictures: its figures.
        single: figures of single comparisons, folded away with them.
        trends: findings about all levels or domains, one per place.
        contrasts: findings about single groups, at all places.
        open: whether the part is unfolded on the page.
    """

    metric: str
    pictures: list[Picture]
    single: list[Picture]
    trends: list[Finding]
    contrasts: list[Finding]
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question asked of one model and suite at one position.

    Attributes:
        analysis: which analysis answered.
        title: heading on the page.
        question: what was asked.
        model: of which model.
        position: which tokens.
        lead: the pre-stated finding, where there is one.
        parts: by measure.
        caveats: what a skeptic must know of this answer.
        unanswered: what could not be answered, and why.
    """

    analysis: str
    title: str
    question: str
    model: str
    position: str
    lead: Finding | None
    parts: list[Part]
    caveats: list[str]
    unanswered: list[str]


class Layout(NamedTuple):
    """What the drawing of a part needs beside its findings."""

    run: Run
    studio: Studio


def arrange(findings: Sequence[Finding], run: Run, studio: Studio) -> list[Section]:
    """Sections in the order of :data:`ORDER`, their figures written as files."""
    layout = Layout(run, studio)
    groups: dict[tuple[str, ...], list[Finding]] = {}
    silent: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        scope = finding.scope
        if finding.answered or finding.plot is not None:
            groups.setdefault((finding.analysis, scope.model, scope.suite, scope.position), []).append(finding)
        else:
            silent.setdefault((finding.analysis, scope.model, scope.suite), []).append(finding)
    sections = [
        _section(number, own, silent.pop(key[:3], []), layout) for number, (key, own) in enumerate(groups.items(), 1)
    ]
    sections += [_silent_section(own) for own in silent.values()]
    return sorted(sections, key=_place)


def answer_picture(sections: Sequence[Section], lead: Finding | None) -> Picture | None:
    """The one figure that carries the answer, shown there only: the first of what the headline opens with."""
    for section in sections:
        if section.lead is not None and section.lead is lead and section.parts and section.parts[0].pictures:
            return section.parts[0].pictures[0]
    return None


def _place(section: Section) -> tuple[int, bool]:
    """Its question's place on the page; positions that were not pre-stated come after the one that was."""
    return ORDER.index(section.analysis) if section.analysis in ORDER else len(ORDER), section.lead is None


def _silent_section(findings: Sequence[Finding]) -> Section:
    first = findings[0]
    return Section(
        analysis=first.analysis,
        title=_title(first),
        question=first.question,
        model=short_model(first.scope.model),
        position="",
        lead=None,
        parts=[],
        caveats=[],
        unanswered=list(dict.fromkeys(finding.text for finding in findings)),
    )


def _section(number: int, findings: list[Finding], unanswered: list[Finding], layout: Layout) -> Section:
    first = findings[0]
    lead = next((finding for finding in findings if finding.primary and finding.answered), None)
    by_metric: dict[str, list[Finding]] = {}
    for finding in findings:
        by_metric.setdefault(finding.scope.metric, []).append(finding)
    main = lead.scope.metric if lead else (PRIMARY_METRIC if PRIMARY_METRIC in by_metric else next(iter(by_metric)))
    ordered = [main, *(metric for metric in by_metric if metric != main)]
    parts = [
        _part(f"s{number}-{place}", metric, by_metric[metric], layout, lead=lead if metric == main else None)
        for place, metric in enumerate(ordered)
    ]
    parts[0] = replace(parts[0], open=True)
    return Section(
        analysis=first.analysis,
        title=_title(first),
        question=first.question,
        model=short_model(first.scope.model),
        position=first.scope.position,
        lead=lead,
        parts=parts,
        caveats=caveats_of(findings, lead),
        unanswered=list(dict.fromkeys(finding.text for finding in unanswered)),
    )


def _title(finding: Finding) -> str:
    suite = finding.scope.suite
    return f"{finding.analysis.capitalize()}: {suite}" if suite else finding.analysis.capitalize()


def _part(key: str, metric: str, findings: list[Finding], layout: Layout, *, lead: Finding | None) -> Part:
    trends = [finding for finding in findings if not finding.scope.group]
    contrasts = [finding for finding in findings if finding.scope.group]
    pictures: list[Picture] = []
    for name, own in _families([finding for finding in trends if finding.levels]).items():
        pictures += _levels_pictures(f"{key}-{name}", own, layout, lead=lead, alone=not contrasts)
    others = [finding for finding in trends if finding is not lead]
    pictures += _plots(f"{key}-plot", others if lead is None else [lead, *others], layout)
    single = _plots(f"{key}-single", [finding for finding in contrasts if finding is not lead], layout)
    return Part(metric, pictures, single, trends, contrasts, open=lead is not None)


def _plots(key: str, findings: Sequence[Finding], layout: Layout) -> list[Picture]:
    plotted = [finding for finding in findings if finding.plot is not None][:MOST_PLOTS]
    return [_plot_picture(f"{key}{number}", finding, layout) for number, finding in enumerate(plotted, 1)]


def _levels_pictures(
    key: str, own: list[Finding], layout: Layout, *, lead: Finding | None, alone: bool
) -> list[Picture]:
    """Profile, levels and heatmap of one family; what is folded away gets the heatmap alone."""
    shown = lead if lead is not None and lead in own else own[-1]
    with_chance = any(finding.null is not None for finding in own)
    chance = f" {CHANCE_BAND}." if with_chance else ""
    drawings: list[tuple[str, Callable[[], Figure], str]] = []
    if lead is not None:
        through = f"Mean per level through the layers, with 95 % intervals over items.{chance}"
        drawings.append(("profile", partial(figures.profile, own), through))
        items = f"Items, means and 95 % intervals at {shown.scope.place}.{chance}"
        drawings.append(("levels", partial(figures.levels, shown, item_values(layout.run, shown)), items))
    heat = "Means by layer and level."
    if with_chance:
        heat += " A dot marks a mean that is denser than chance by its interval."
    drawings.append(("heatmap", partial(figures.heatmap, own), heat))
    if lead is not None and alone:
        drawings.append(("effects", partial(figures.effects, own), f"{own[0].unit.capitalize()}, per layer."))
    return [
        layout.studio.draw(f"{key}-{name}", drawing, label=shown.text, caption=caption)
        for name, drawing, caption in drawings
    ]


def _plot_picture(key: str, finding: Finding, layout: Layout) -> Picture:
    plot = finding.plot
    if plot is None:
        raise ValueError(f"{finding.text!r} has no plot")
    kind = {"curve": "Bands are 95 % intervals.", "forest": "Bars are 95 % intervals.", "matrix": ""}[plot.kind]
    of = " at ".join(part for part in (finding.scope.group, finding.scope.place) if part)
    caption = " ".join(part for part in (f"{of or finding.analysis}: {plot.y or plot.x}.", kind) if part)
    return layout.studio.draw(key, partial(DRAWINGS[plot.kind], plot), label=finding.text, caption=caption)


def _families(trends: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings that share a depth axis: the residual stream with embedding and final norm, other sites alone."""
    families: dict[str, list[Finding]] = {}
    for finding in trends:
        site = finding.scope.site
        stack, _, kind = site.rpartition(".")
        name = f"{stack}.{RESIDUAL}" if stack else RESIDUAL
        families.setdefault(name if kind in UNLAYERED else site, []).append(finding)
    return families
