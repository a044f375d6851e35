"""The body of a section: its figures and tables.

The pre-stated measure at the pre-stated position is shown whole: means through the layers, items at the pre-stated
place, the effect at every layer, single domains. All other measures, sites and positions are one picture and the rows
of one table at the pre-stated place; their single cells are in ``findings.csv``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from analyses import figures
from analyses.data.runs import Run
from analyses.findings.formatting import level_name
from analyses.findings.null import sparser
from analyses.findings.record import Finding, Mark, Plot
from analyses.reporting.grids import Grid, contrast_grids, measures_grid, trend_grid
from analyses.reporting.pictures import Picture, Studio
from analyses.reporting.sections.items import item_values
from probes.vocabulary.sites import UNLAYERED

RESIDUAL: Final = "resid_post"
MOST_PLOTS: Final = 4  # of single findings in one section; the data of the rest stay in findings.json
MOST_ROWS: Final = 40  # of the picture of all measures
MOST_WORDS: Final = 12  # sentences below the tables, which hold the same numbers
NULL_BAND: Final = (
    "Gaussian null: the mean expected for i.i.d. Gaussian vectors of this width, dashed where it lies within the "
    "picture; grey: 95 % range of the mean of as many such vectors"
)
SPANS: Final = {"curve": "Bands", "forest": "Bars"}
DRAWINGS: Final[dict[str, Callable[[Plot], Figure]]] = {
    "curve": figures.curve,
    "forest": figures.forest,
    "matrix": figures.matrix,
}


@dataclass(frozen=True, slots=True)
class Part:
    """The body of a section.

    Attributes:
        pictures: its figures.
        single: figures of single comparisons, folded away with them.
        grids: its tables, that over all levels or domains first.
        words: the first sentences of findings that have no figure of their own levels; folded away.
        n_cells: findings that are drawn in the picture of all measures only.
    """

    pictures: list[Picture]
    single: list[Picture]
    grids: list[Grid]
    words: list[str]
    n_cells: int


class Layout(NamedTuple):
    """Input of the drawing of a part besides its findings."""

    run: Run
    studio: Studio


class Apart(NamedTuple):
    """True where the figures of a section differ by place, and where they differ by position."""

    places: bool
    positions: bool


def body(key: str, told: Sequence[Finding], cells: Sequence[Finding], layout: Layout, lead: Finding | None) -> Part:
    """Figures and tables of one section.

    Args:
        key: of the section; its figures are named after it.
        told: findings that stand in tables.
        cells: findings that are only drawn, see :func:`analyses.reporting.selection.select`.
        layout: the tables and the folder of figures.
        lead: the pre-stated finding, where there is one.
    """
    first = lead or told[0]
    suite = first.scope.suite
    own = [finding for finding in told if (finding.scope.metric, finding.scope.position) == _read(first)]
    others = [finding for finding in told if (finding.scope.metric, finding.scope.position) != _read(first)]
    beside = [finding for finding in others if finding.levels and not finding.scope.group]
    own += [finding for finding in others if finding not in beside]
    trends = [finding for finding in own if not finding.scope.group]
    contrasts = [finding for finding in own if finding.scope.group]
    pictures: list[Picture] = []
    levelled = [finding for finding in trends if finding.levels]
    if levelled:
        pictures += _levels_pictures(key, levelled, layout, lead=lead, alone=not contrasts)
        pictures += _overviews(key, [*told, *cells], layout, first)
    rest = [finding for finding in trends if finding is not lead]
    pictures += _plots(f"{key}-plot", rest if lead is None else [lead, *rest], layout)
    single = _plots(f"{key}-single", [finding for finding in contrasts if finding is not lead], layout)
    rows = [finding for finding in trends if finding.answered or finding.plot is None]  # others are their figure
    grids = [trend_grid(rows, suite)] if any(finding is not lead for finding in rows) else []
    grids += contrast_grids(contrasts, first.scope.place, suite)
    if beside:
        grids.append(measures_grid(beside, first.scope.place, suite))
    words = [finding.text for finding in own if not (finding.levels or finding is lead) and finding.answered]
    return Part(pictures, single, grids, words[:MOST_WORDS], len(cells))


def _read(finding: Finding) -> tuple[str, str]:
    return finding.scope.metric, finding.scope.position


def _plots(key: str, findings: Sequence[Finding], layout: Layout) -> list[Picture]:
    plotted = _overlaid([finding for finding in findings if finding.plot is not None])[:MOST_PLOTS]
    scopes = [finding.scope for finding in plotted]
    apart = Apart(len({scope.place for scope in scopes}) > 1, len({scope.position for scope in scopes}) > 1)
    return [_plot_picture(f"{key}{number}", finding, layout, apart) for number, finding in enumerate(plotted, 1)]


def _overlaid(findings: Sequence[Finding]) -> list[Finding]:
    """Curves of single groups over the same points as the lines of one picture."""
    sheets: dict[tuple[object, ...], list[Finding]] = {}
    for number, finding in enumerate(findings):
        plot = finding.plot
        alone = plot is None or plot.kind != "curve" or not finding.scope.group
        points = None if alone or plot is None else (plot.x, plot.y, tuple(dict.fromkeys(m.name for m in plot.marks)))
        sheets.setdefault((number,) if points is None else (points, finding.scope.position), []).append(finding)
    return [own[0] if len(own) == 1 else _one_sheet(own) for own in sheets.values()]


def _one_sheet(own: Sequence[Finding]) -> Finding:
    groups = [finding.scope.group for finding in own]
    marks: list[Mark] = []
    for finding in own:
        group = finding.scope.group
        name = level_name(group, finding.scope.axis)
        name = name if groups.count(group) == 1 else f"{name}, {finding.scope.place}"
        own_marks = finding.plot.marks if finding.plot else ()
        several = len({mark.series for mark in own_marks}) > 1
        marks += [mark._replace(series=f"{name}, {mark.series}" if several else name) for mark in own_marks]
    first = own[0]
    plot = None if first.plot is None else first.plot._replace(marks=tuple(marks))
    return replace(first, scope=replace(first.scope, group=""), plot=plot, text=" ".join(f.text for f in own))


def _levels_pictures(
    key: str, trends: list[Finding], layout: Layout, *, lead: Finding | None, alone: bool
) -> list[Picture]:
    """Means through the layers, items at one place and, where no domains are drawn apart, the effect at every layer."""
    families = _families(trends)
    shown = lead if lead is not None else trends[-1]
    name, own = next(((name, own) for name, own in families.items() if shown in own), next(iter(families.items())))
    null = f" {NULL_BAND}." if any(finding.null is not None for finding in own) else ""
    through = f"Mean of {shown.scope.metric} per level through the layers, with 95 % intervals over items.{null}"
    drawings: list[tuple[str, Callable[[], Figure], str]] = [("profile", partial(figures.profile, own), through)]
    if lead is not None:
        items = f"Items, means and 95 % intervals at {shown.scope.place}.{null}"
        drawings.append(("levels", partial(figures.levels, shown, item_values(layout.run, shown)), items))
    if alone:
        drawings.append(("effects", partial(figures.effects, own), f"{own[0].unit.capitalize()}, at every layer."))
    return [
        layout.studio.draw(f"{key}-{name}-{kind}", drawing, label=shown.text, caption=caption)
        for kind, drawing, caption in drawings
    ]


def _overviews(key: str, findings: Sequence[Finding], layout: Layout, first: Finding) -> list[Picture]:
    """Draw the sign of the effect: domains x layers for the pre-stated measure, then measures x layers."""
    drawn: list[Picture] = []
    found = [finding for finding in findings if finding.levels and sparser(finding.scope.metric) is not None]
    same = [f for f in found if f.scope.group and _read(f) == _read(first) and f.scope.site in {RESIDUAL, *UNLAYERED}]
    domains: dict[str, list[Finding]] = {}
    for finding in same:
        domains.setdefault(finding.scope.group, []).append(finding)
    if domains:
        caption = f"{first.scope.metric} of each domain against the reference, at every layer: {same[0].unit}."
        drawing = partial(figures.overview, domains)
        drawn.append(layout.studio.draw(f"{key}-domains", drawing, label=caption, caption=caption))
    rows = _measure_rows([finding for finding in found if not finding.scope.group], first)
    if len(rows) > 1:
        kinds = [what for what, n in (("sites", _sites(found)), ("positions", _positions(found))) if n > 1]
        caption = f"{' and '.join(['All measures', *kinds])} at every layer: {first.unit}."
        drawing = partial(figures.overview, rows)
        drawn.append(layout.studio.draw(f"{key}-measures", drawing, label=caption, caption=caption))
    return drawn


def _sites(findings: Sequence[Finding]) -> int:
    return len({RESIDUAL if finding.scope.site in UNLAYERED else finding.scope.site for finding in findings})


def _positions(findings: Sequence[Finding]) -> int:
    return len({finding.scope.position for finding in findings})


def _measure_rows(findings: Sequence[Finding], first: Finding) -> dict[str, list[Finding]]:
    """Findings by measure, position and site, named by what differs; those read as the pre-stated one first."""
    keyed: dict[tuple[str, str, str], list[Finding]] = {}
    ordered = sorted(
        findings, key=lambda f: (f.scope.position != first.scope.position, f.scope.metric != first.scope.metric)
    )
    for finding in ordered:
        site = RESIDUAL if finding.scope.site in UNLAYERED else finding.scope.site
        keyed.setdefault((finding.scope.metric, finding.scope.position, site), []).append(finding)
    varies = [len({key[part] for key in keyed}) > 1 for part in range(3)]
    return {
        ", ".join(word for word, differs in zip(key, (True, *varies[1:]), strict=True) if differs): own
        for key, own in list(keyed.items())[:MOST_ROWS]
    }


def _plot_picture(key: str, finding: Finding, layout: Layout, apart: Apart) -> Picture:
    """Draw the plot of one finding; its caption says by what it differs from the others of the section."""
    plot, scope = finding.plot, finding.scope
    if plot is None:
        raise ValueError(f"{finding.text!r} has no plot")
    shows = {"curve": f"{plot.y}, against {plot.x}.", "forest": f"{plot.x}.", "matrix": f"{plot.y or plot.x}."}[
        plot.kind
    ]
    if plot.kind in SPANS and any(math.isfinite(mark.low) for mark in plot.marks):
        shows += f" {SPANS[plot.kind]} are 95 % intervals."
    shows = shows[:1].upper() + shows[1:]
    about = [level_name(scope.group, scope.axis)] if scope.group else []
    about += [scope.place] if apart.places and plot.kind == "forest" and scope.site else []
    about += [f"position {scope.position}"] if apart.positions and scope.position else []
    caption = f"{', '.join(about)}: {shows}" if about else shows
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
