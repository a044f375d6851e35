"""Trends along an ordered axis, which is what difficulty, familiarity and length ask for.

Every column of a panel gets one finding: the rank correlation over items of the measure with the axis, both turned so
that positive means *sparser where harder* (less familiar, longer), its interval, its test, the same adjusted for length
and for what is read off the output. One column was stated in advance
(:func:`analyses.findings.panel.primary_column`); its claim must survive the adjustment for length and is corrected over
suites, the others are corrected together (:func:`analyses.findings.verdicts.settle`). The axis says which end is
harder; where it does not, nothing is oriented.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from analyses.data.panels import Panel
from analyses.findings.null import sparser
from analyses.findings.panel import (
    FEWEST_ITEMS,
    Controlled,
    LevelMeans,
    bounded,
    controlled,
    covariates_of,
    detectable,
    family_of,
    fresh,
    left_out,
    level_means,
    null_of,
    primary_column,
    scope_of,
    split_by_completeness,
    unanswered,
    undefined_columns,
)
from analyses.findings.pooled import pooled
from analyses.findings.record import FEWEST_TO_GENERALISE, Effect, Finding, Generality, Significance, Verdict
from analyses.findings.sentences import trend_sentence
from analyses.findings.verdicts import Family, settle
from analyses.statistics.association import associate_items
from analyses.statistics.equivalence import noise_floor
from analyses.statistics.mixed import MOST_ITEMS, slopes
from analyses.statistics.permutation import TEST_NAMES
from analyses.statistics.trend import RESAMPLES, Trend, concordance, trend


class Wording(NamedTuple):
    """Name of the harder end of an axis and of what is asked of it."""

    analysis: str
    question: str
    far: str


NO_INTERVAL: Final = (math.nan, math.nan)
TAU: Final = "Kendall's tau-b"
SIZE_UNIT: Final = "rank correlation, positive = larger where {far}"
QUANTITY: Final = "rank correlation"
UNIT: Final = "rank correlation, positive = sparser where {far}"


def ordered_findings(panels: Sequence[Panel], wording: Wording) -> list[Finding]:
    """Findings of all panels, secondary ones adjusted together."""
    findings: list[Finding] = []
    families: list[Family] = []
    for panel in panels:
        reason = _why_not(panel, wording.far)
        if reason:
            findings.append(unanswered(panel, wording.analysis, wording.question, reason))
        else:
            found = _trends(panel)
            findings += _panel_findings(panel, wording, found)
            families.append(found.family)
    settled = [
        replace(finding, text=trend_sentence(finding, wording.far)) if finding.levels else finding
        for finding in settle(findings, families)
    ]
    return settled + pooled(settled, wording.far)


def _why_not(panel: Panel, far: str) -> str:
    levels = panel.levels[np.isfinite(panel.levels)]
    if panel.axis.harder is None:
        return (
            f"the axis {panel.axis.name} does not say which end is {far}; "
            "add `harder: higher` or `harder: lower` to the suite"
        )
    if len(np.unique(levels)) < 2:
        return f"all its items lie at one level of {panel.axis.name}" if len(levels) else "no item has a level"
    if len(levels) < FEWEST_ITEMS:
        return f"{len(levels)} items with a level are too few for any interval; {FEWEST_ITEMS} are the least"
    if primary_column(panel) is None:
        return "no measure of sparsity was recorded, only sizes"
    return ""


def _panel_findings(panel: Panel, wording: Wording, found: _Trends) -> list[Finding]:
    means = level_means(panel, resamples=RESAMPLES)
    primary = primary_column(panel)
    findings = [
        unanswered(
            panel, wording.analysis, wording.question, f"{metric} is undefined for every item at {', '.join(at)}"
        )
        for metric, at in undefined_columns(panel)
    ]
    generality = _generality(panel)
    return findings + [
        _column_finding(panel, wording, found, means, column, generality, primary=column == primary)
        for column in range(len(panel.columns))
        if np.isfinite(found.trend.correlation.value[column])
    ]


class _Trends(NamedTuple):
    """Everything computed for a panel at once.

    Attributes:
        trend: of every column.
        controls: the same with covariates held fixed.
        floor: noise floor of every column.
        family: all measures of sparsity permuted together.
        more: of the pre-stated column, other effect sizes: Kendall's tau-b and Somers' D with intervals, and in a
            design with sources the mixed and the within-source slope.
    """

    trend: Trend
    controls: list[Controlled]
    floor: Float[np.ndarray, " columns"]
    family: Family
    more: dict[int, tuple[Effect, ...]]


def _trends(panel: Panel) -> _Trends:
    far = 1.0 if panel.axis.harder == "higher" else -1.0
    values = panel.values * np.array([_sign(column.metric) for column in panel.columns])
    levels = far * panel.levels
    usable = np.isfinite(levels)
    complete, partial = split_by_completeness(covariates_of(panel), usable)
    covariates = np.column_stack([c.values for c in complete]) if complete else None
    found = trend(values, levels, panel.clusters, covariates=covariates, resamples=RESAMPLES, rng=fresh())
    controls = controlled(found.association, complete, slope=False)
    for covariate in partial:
        scores = np.column_stack([levels, covariate.values])
        within = found.design == "paired"
        own = associate_items(values, scores, panel.clusters, within=within, resamples=RESAMPLES, rng=fresh())
        controls += controlled(own, [covariate], slope=False)
    floor = noise_floor(values[usable], panel.clusters[usable], currency="correlation", rng=fresh())
    family = family_of(panel, values[usable], levels[usable], panel.clusters[usable], design=found.design)
    return _Trends(found, controls, floor, family, _more(panel, found, values, levels))


def _more(
    panel: Panel, found: Trend, values: Float[np.ndarray, "items columns"], levels: Float[np.ndarray, " items"]
) -> dict[int, tuple[Effect, ...]]:
    """Other effect sizes of the pre-stated column; with sources also a mixed model, and the slope within sources."""
    column = primary_column(panel)
    usable = np.isfinite(levels) & np.isfinite(values[:, column or 0])
    if column is None or usable.sum() > MOST_ITEMS or found.association.n_clusters[column] < 2:
        return {}
    pairs = concordance(values[usable][:, [column]], levels[usable], panel.clusters[usable])
    chances = tuple(
        Effect(name, float(own.value[0]), (float(own.low[0]), float(own.high[0])))
        for name, own in ((TAU, pairs.tau_b), ("Somers' D", pairs.somers_d))
    )
    if found.design == "items":
        return {column: chances}
    fitted = slopes(values[usable, column], levels[usable], panel.clusters[usable])
    mixed = "mixed-effects slope, standardised" + ("" if fitted.status == "converged" else f" ({fitted.status})")
    return {
        column: (
            *chances,
            Effect(mixed, fitted.mixed.value, (fitted.mixed.low, fitted.mixed.high)),
            Effect("slope within sources, standardised", fitted.within.value, (fitted.within.low, fitted.within.high)),
        )
    }


def _sign(metric: str) -> float:
    return -1.0 if sparser(metric) == "lower" else 1.0


def _column_finding(
    panel: Panel,
    wording: Wording,
    found: _Trends,
    means: LevelMeans,
    column: int,
    generality: tuple[Generality, Verdict],
    *,
    primary: bool,
) -> Finding:
    metric = panel.columns[column].metric
    is_size = sparser(metric) is None
    correlation = found.trend.correlation
    estimate = float(correlation.value[column])
    interval = (float(correlation.low[column]), float(correlation.high[column]))
    n = int(found.trend.association.n[column])
    n_clusters = int(found.trend.association.n_clusters[column])
    levels = means.of_column(column)
    null = null_of(panel, means.overall, column)
    over, settled = generality
    p = float(found.trend.p[column])
    return Finding(
        analysis=wording.analysis,
        question=wording.question,
        scope=scope_of(panel, column),
        primary=primary,
        estimate=estimate,
        unit=(SIZE_UNIT if is_size else UNIT).format(far=wording.far),
        quantity=QUANTITY,
        interval=interval,
        n=n,
        n_clusters=n_clusters,
        left_out=left_out(panel, np.isfinite(panel.levels) & np.isfinite(panel.values[:, column])),
        null=null,
        test=Significance(TEST_NAMES[found.trend.design], p, float("nan")),
        generalises_over=over,
        controls=tuple(control.of_column(column) for control in found.controls),
        effects=(
            *found.more.get(column, (Effect(TAU, float(found.trend.tau_b[column]), NO_INTERVAL),)),
            detectable(interval),
        ),
        bound=None if is_size else bounded(estimate, interval, float(found.floor[column]), n_clusters),
        verdict="described" if is_size else settled,
        text="",  # said once the verdict is known
        levels=levels if panel.axis.harder == "higher" else levels[::-1],
    )


def _generality(panel: Panel) -> tuple[Generality, Verdict]:
    """Levels that are whole corpora compare corpora; fewer than six of them support no general claim."""
    levels_per_suite = panel.items.groupby("suite")["level"].nunique()
    if len(panel.suites) == 1 or (levels_per_suite > 1).any():
        return "items", "undecided"
    return "domains", "undecided" if len(panel.suites) >= FEWEST_TO_GENERALISE else "described"
