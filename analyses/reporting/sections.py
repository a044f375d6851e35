"""Findings arranged for reading: a section per question, model and suite, a part per measure, a row per place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from analyses import figures
from analyses.drawing import standalone, to_svg
from analyses.evidence import PRIMARY_METRIC
from analyses.finding import Finding
from analyses.reporting.inventory import short_model
from analyses.tables import UNLAYERED

RESIDUAL = "resid_post"


class Picture(NamedTuple):
    """One figure of the page.

    Attributes:
        key: unique name, also that of its file.
        svg: the drawing.
        caption: what it shows, in words.
    """

    key: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Part:
    """One measure in a section.

    Attributes:
        metric: the measure.
        pictures: its figures.
        trends: findings about all levels or domains, one per place.
        contrasts: findings about single groups, at all places.
        open: whether the part is unfolded on the page.
    """

    metric: str
    pictures: list[Picture]
    trends: list[Finding]
    contrasts: list[Finding]
    open: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One question asked of one model and suite at one position."""

    title: str
    question: str
    model: str
    position: str
    lead: Finding | None
    parts: list[Part]
    unanswered: list[str]


def arrange(findings: Sequence[Finding], folder: Path) -> list[Section]:
    """Sections in the order of the findings, their figures written to ``folder`` as SVG."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        scope = finding.scope
        if finding.answered:
            groups.setdefault((finding.analysis, scope.model, scope.suite, scope.position), []).append(finding)
    silent: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        if not finding.answered:
            silent.setdefault((finding.analysis, finding.scope.model, finding.scope.suite), []).append(finding)
    sections = [
        _section(number, own, silent.pop(key[:3], []), folder) for number, (key, own) in enumerate(groups.items(), 1)
    ]
    for own in silent.values():
        first = own[0]
        texts = [finding.text for finding in own]
        sections.append(Section(_title(first), first.question, short_model(first.scope.model), "", None, [], texts))
    return sections


def answer_picture(sections: Sequence[Section]) -> Picture | None:
    """The one figure that carries the answer, shown there only: the profile of the first pre-stated finding."""
    for section in sections:
        if section.lead is not None and section.parts:
            return section.parts[0].pictures[0]
    return None


def _section(number: int, findings: list[Finding], unanswered: list[Finding], folder: Path) -> Section:
    first = findings[0]
    lead = next((finding for finding in findings if finding.primary), None)
    by_metric: dict[str, list[Finding]] = {}
    for finding in findings:
        by_metric.setdefault(finding.scope.metric, []).append(finding)
    main = lead.scope.metric if lead else (PRIMARY_METRIC if PRIMARY_METRIC in by_metric else next(iter(by_metric)))
    ordered = [main, *(metric for metric in by_metric if metric != main)]
    parts = [
        _part(f"s{number}-{place}", metric, by_metric[metric], folder, is_main=metric == main, lead=lead)
        for place, metric in enumerate(ordered)
    ]
    texts = [finding.text for finding in unanswered]
    return Section(
        _title(first), first.question, short_model(first.scope.model), first.scope.position, lead, parts, texts
    )


def _title(finding: Finding) -> str:
    return f"{finding.analysis.capitalize()}: {finding.scope.suite}"


def _part(key: str, metric: str, findings: list[Finding], folder: Path, *, is_main: bool, lead: Finding | None) -> Part:
    trends = [finding for finding in findings if not finding.scope.group]
    contrasts = [finding for finding in findings if finding.scope.group]
    drawings: list[tuple[str, Callable[[], Figure], Finding, str]] = []
    for name, own in _families(trends).items():
        heat = "Means by layer and level."
        if any(finding.null is not None for finding in own):
            heat += " A dot marks a mean that is denser than chance by its interval."
        if is_main:
            through = "Mean per level through the layers; bands are 95 % intervals over items"
            drawings.append((f"{name}-profile", partial(figures.profile, own), own[-1], f"{through}."))
            shown = lead if lead is not None and lead in own else own[-1]
            drawings.append(
                (
                    f"{name}-levels",
                    partial(figures.levels, shown),
                    shown,
                    f"The same at {shown.scope.place}.",
                )
            )
        drawings.append((f"{name}-heatmap", partial(figures.heatmap, own), own[-1], heat))
        if is_main and not contrasts:
            caption = f"{own[0].unit.capitalize()}, per layer."
            drawings.append((f"{name}-effects", partial(figures.effects, own), own[-1], caption))
    pictures = [_draw(f"{key}-{name}", draw, finding, caption, folder) for name, draw, finding, caption in drawings]
    return Part(metric, pictures, trends, contrasts, is_main)


def _families(trends: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings that share a depth axis: the residual stream with embedding and final norm, other sites alone."""
    families: dict[str, list[Finding]] = {}
    for finding in trends:
        site = finding.scope.site
        stack, _, kind = site.rpartition(".")
        name = f"{stack}.{RESIDUAL}" if stack else RESIDUAL
        families.setdefault(name if kind in UNLAYERED else site, []).append(finding)
    return families


def _draw(key: str, draw: Callable[[], Figure], finding: Finding, caption: str, folder: Path) -> Picture:
    svg = to_svg(draw(), label=finding.text, key=key)
    (folder / f"{key}.svg").write_text(standalone(svg), encoding="utf-8")
    return Picture(key, svg, caption)
