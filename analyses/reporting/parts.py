"""One measure in a section: its figures and tables.

The pre-stated measure is shown whole: means through the layers, items at the pre-stated place, all places at once.
Every other measure is folded away with its heatmap and its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from analyses import figures
from analyses.evidence import PRIMARY_METRIC
from analyses.finding import Finding, Plot
from analyses.reporting.grids import Grid, contrast_grids, trend_grid
from analyses.reporting.items import item_values
from analyses.reporting.pictures import Picture, Studio
from analyses.runs import Run
from analyses.tables import UNLAYERED

RESIDUAL: Final = "resid_post"
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
        grids: its tables, that over all levels or domains first.
        words: sentences of findings that have no figure of their own levels; folded away.
        open: whether the part is unfolded on the page.
    """

    metric: str
    pictures: list[Picture]
    single: list[Picture]
    grids: list[Grid]
    words: list[str]
    open: bool


class Layout(NamedTuple):
    """What the drawing of a part needs beside its findings."""

    run: Run
    studio: Studio


def measure_parts(
    key: str, findings: Sequence[Finding], layout: Layout, *, lead: Finding | None, suite: str
) -> list[Part]:
    """A part per measure, that of the lead first and unfolded; one part for all where the lead is about none."""
    by_metric: dict[str, list[Finding]] = {}
    for finding in findings:
        metric = finding.scope.metric if lead is None or lead.scope.metric else ""
        by_metric.setdefault(metric, []).append(finding)
    main = lead.scope.metric if lead else (PRIMARY_METRIC if PRIMARY_METRIC in by_metric else next(iter(by_metric)))
    ordered = [main, *(metric for metric in by_metric if metric != main)]
    parts = [
        _part(f"{key}-{place}", by_metric[metric], layout, lead=lead if metric == main else None, suite=suite)
        for place, metric in enumerate(ordered)
    ]
    return [replace(parts[0], open=True), *parts[1:]]


def _part(key: str, findings: list[Finding], layout: Layout, *, lead: Finding | None, suite: str) -> Part:
    trends = [finding for finding in findings if not finding.scope.group]
    contrasts = [finding for finding in findings if finding.scope.group]
    pictures: list[Picture] = []
    for name, own in _families([finding for finding in trends if finding.levels]).items():
        pictures += _levels_pictures(f"{key}-{name}", own, layout, lead=lead, alone=not contrasts)
    others = [finding for finding in trends if finding is not lead]
    pictures += _plots(f"{key}-plot", others if lead is None else [lead, *others], layout)
    single = _plots(f"{key}-single", [finding for finding in contrasts if finding is not lead], layout)
    first = lead or findings[0]
    grids = [trend_grid(trends, suite)] if trends and (others or lead is None) else []
    grids += contrast_grids(contrasts, first.scope.place, suite)
    words = [finding.text for finding in findings if not (finding.levels or finding is lead) and finding.answered]
    return Part(first.scope.metric, pictures, single, grids, words, open=lead is not None)


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
    shows = {
        "curve": f"{plot.y}, against {plot.x}. Bands are 95 % intervals.",
        "forest": f"{plot.x}. Bars are 95 % intervals.",
        "matrix": f"{plot.y or plot.x}.",
    }[plot.kind]
    caption = f"{finding.scope.group}: {shows}" if finding.scope.group else shows[:1].upper() + shows[1:]
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
