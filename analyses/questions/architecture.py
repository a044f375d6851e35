"""Architecture: do models differ in how sparse they get on the same items?

The same suites put to several models: architectures, a base model and its tuned copy, a trained model and an untrained
one, two optimizers. Models are compared on the very items that both measured, which are resampled together, so that
what an item is about cancels. One model of a kind is one draw: a difference between two models is a difference between
these two, and says nothing of their kinds. For kinds, models of the laboratory were trained seed by seed; what came of
it is shipped and cited beside a sweep over laboratory facts (:mod:`analyses.findings.trained_families`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from analyses.data.panels import Column, Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import (
    associate_with,
    at,
    comparisons,
    effect,
    effect_lost,
    judge,
    length_control,
    overall,
)
from analyses.findings.formatting import short_model, shown, signed, with_interval
from analyses.findings.panel import primary_column
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from analyses.findings.trained_families import family_findings, shipped_families
from analyses.findings.training_pairs import cited, is_laboratory
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Do models differ in how sparse they get on the same items?"
NOTHING: Final = (float("nan"), float("nan"))
Numbers = tuple[float, tuple[float, float]]


@analysis(QUESTION, order=14)
def architecture(run: Run) -> list[Finding]:
    """Answer for every suite that two models or more were asked, and of laboratory facts for trained architectures."""
    by_suite: dict[str, list[Panel]] = {}
    for panel in read_panels(run, AXIS_KINDS):
        by_suite.setdefault(panel.suite, []).append(panel)
    found = [finding for panels in by_suite.values() if len(panels) > 1 for finding in _suite_findings(panels)]
    facts = [suite for suite in by_suite if is_laboratory(suite)]
    trained = shipped_families() if facts else []
    return [*found, *family_findings(trained, analysis="architecture", question=QUESTION, suite="".join(facts[:1]))]


def _suite_findings(panels: list[Panel]) -> list[Finding]:
    usable = [panel for panel in panels if primary_column(panel) is not None and comparisons(panel)]
    if len(usable) < 2:
        return []
    first, *others = usable
    single = {panel.model: _own(panel) for panel in (first, *others)}
    findings = [found for other in others if (found := _difference(first, other)) is not None]
    return [cited(_summary(first, single, findings)), *findings] if findings else []


def _own(panel: Panel) -> Numbers:
    one, column = overall(panel), primary_column(panel)
    if one is None or column is None:
        return float("nan"), NOTHING
    return at(effect(associate_with(panel, one, [column], resamples=RESAMPLES), one), 0)


def _difference(first: Panel, other: Panel) -> Finding | None:
    """Test how much smaller the effect is in the second model than in the first, on the items they share."""
    columns = primary_column(first), primary_column(other)
    shared = first.items.index.intersection(other.items.index)
    if columns[0] is None or columns[1] is None or len(shared) < 2:
        return None
    one, two = first.of_items(shared), other.of_items(shared)
    both = _beside(one, two, columns[0], columns[1])
    compared = overall(both)
    if compared is None or len(both.items) < 2:
        return None
    association = associate_with(both, compared, [0, 1], resamples=RESAMPLES)
    effects = effect(association, compared)
    own, theirs = at(effects, 0), at(effects, 1)
    lost, bounds = at(effect_lost(association, compared, before=0, after=1), 0)
    turn = -1.0 if own[0] >= 0 else 1.0  # what is lost is counted along the first one's effect
    gained = Effect("difference", turn * lost, _turned(bounds, turn))
    adjusted = length_control(both, compared, [0, 1])
    if adjusted is not None:
        adjusted = adjusted._replace(estimate=turn * adjusted.estimate, interval=_turned(adjusted.interval, turn))
    verdict = judge((gained.interval[0], gained.interval[1]))
    names = shown(short_model(other.model)), shown(short_model(first.model))
    where = other.columns[columns[1]]
    beside = f" (adjusted for length {with_interval(adjusted.estimate, adjusted.interval)})" if adjusted else ""
    claim = "do not differ significantly" if verdict == "undecided" else "differ"
    return Finding(
        analysis="architecture",
        question=QUESTION,
        scope=Scope(
            model=first.model,
            suite=first.suite,
            axis=first.axis.name,
            site=where.site,
            layer=where.layer,
            position=where.position,
            metric=where.metric,
            group=other.model,
        ),
        estimate=gained.estimate,
        unit=f"difference of the {compared.quantity} on the same items, of the second model less the first",
        interval=gained.interval,
        n=len(both.items),
        n_clusters=len(np.unique(both.clusters)),
        controls=(adjusted,) if adjusted else (),
        effects=(
            Effect(f"{compared.quantity} of the first", *own),
            Effect(f"{compared.quantity} of the second", *theirs),
        ),
        verdict=verdict,
        text=(
            f"{names[0]} and {names[1]} {claim} on {shown(first.suite)}: {where.metric}'s {compared.quantity} is "
            f"{with_interval(*theirs)} and {with_interval(*own)} on the same {len(both.items):,} items, "
            f"a difference of {with_interval(gained.estimate, gained.interval)}{beside}."
        ),
    )


def _turned(bounds: tuple[float, float], turn: float) -> tuple[float, float]:
    return bounds if turn > 0 else (-bounds[1], -bounds[0])


def _beside(one: Panel, two: Panel, first: int, second: int) -> Panel:
    """Both models' measures of the same items as two columns of one panel; undefined in either is left out."""
    values = np.column_stack([one.values[:, first], two.values[:, second]])
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    a, b = one.columns[first], two.columns[second]
    return Panel(
        model=one.model,
        suites=one.suites,
        axis=one.axis,
        items=one.items.iloc[known],
        columns=(a, Column(b.site, b.layer, b.position, b.metric, "of the other model")),
        values=values[known],
        widths=np.array([one.widths[first], two.widths[second]]),
    )


def _summary(first: Panel, single: dict[str, Numbers], findings: list[Finding]) -> Finding:
    known = {model: found for model, found in single.items() if np.isfinite(found[0])}
    largest = max(known, key=lambda model: abs(known[model][0]))
    differing = sum(finding.side != 0 for finding in findings)
    marks = tuple(Mark("models", shown(short_model(model)), float("nan"), v, *i) for model, (v, i) in known.items())
    one = overall(first)
    unit = one.quantity if one else ""
    listed = "; ".join(f"{shown(short_model(model))} {signed(value)}" for model, (value, _) in known.items())
    value, interval = known[largest]
    column = primary_column(first) or 0
    return Finding(
        analysis="architecture",
        question=QUESTION,
        scope=Scope(
            model=" + ".join(single),
            suite=first.suite,
            axis=first.axis.name,
            position=first.columns[column].position,
            metric=first.columns[column].metric,
        ),
        primary=True,
        estimate=value,
        unit=f"{unit} of the model with the largest",
        interval=interval,
        n=len(first.items),
        n_clusters=len(known),
        generalises_over="models",
        verdict="described",
        text=(
            f"Of {len(known)} models on {shown(first.suite)}, {differing} of {len(findings)} differ from "
            f"{shown(short_model(first.model))} on the same items; {first.columns[column].metric}'s {unit} is {listed}."
        ),
        plot=Plot("forest", f"{unit}, + = sparser", "", marks, 0.0),
    )
