"""Localization: the layers at which a change sets in, the coordinates that account for it, and the bases that keep it.

Three parts. *Where*: the effect at every layer of the residual stream, its onset with the set of layers that resamples
choose, and the largest effect measured on items that did not choose it (primary; Hoyer, sparser towards the far end).
*Which coordinates*: shares by substitution, from the controls of the sweep. *Which bases*: the same effect on the same
items read in other coordinates. What carries a share by substitution is not yet what the model uses: that takes an
intervention.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.data.substitution import Substitution, read_substitutions
from analyses.findings.contrast import (
    Comparison,
    associate_with,
    at,
    comparisons,
    effect,
    fresh,
    judge,
    length_control,
    overall,
    signs,
)
from analyses.findings.formatting import level_name, shown, signed, with_interval
from analyses.findings.panel import primary_column, scope_of, unanswered
from analyses.findings.record import Control, Effect, Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.findings.sentences import SLOPE, length_adjusted, lost_to_length
from analyses.findings.verdicts import surviving
from analyses.questions.mechanisms.substituted import Unit, substituted
from analyses.statistics.onset import Onset, Sums, contrast_sums, find_onset, slope_sums
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary import names
from probes.vocabulary.axes import AXIS_KINDS
from probes.vocabulary.sites import UNLAYERED

QUESTION: Final = "At which layers, in which coordinates and in which bases do activations change?"
STREAM: Final = "resid_post"
NO_INTERVAL: Final = (float("nan"), float("nan"))
COORDINATE: Final = Unit("coordinate", "coordinates")
MOST_LISTED: Final = 4  # layers of an onset set; of more the first and last are given


@analysis(QUESTION, order=8)
def localization(run: Run) -> list[Finding]:
    """Answer from every suite with a comparison; coordinates and bases where the sweep has controls."""
    findings: list[Finding] = []
    for panel in read_panels(run, AXIS_KINDS):
        findings += _where(panel)
        findings += _bases(run, panel)
    substitutions = read_substitutions(run)
    last: dict[str, int] = {}
    for found in substitutions:
        if found.site == STREAM:
            last[found.model] = max(found.layer, last.get(found.model, -1))
    carried = [
        _carried(found) for found in substitutions if found.site in UNLAYERED or found.layer == last.get(found.model)
    ]
    return findings + carried


def stream_columns(panel: Panel, column: int) -> list[int]:
    """Columns with the measure and position of one, along the residual stream, in the order of a forward pass."""
    asked = panel.columns[column]
    found = [
        index
        for index, own in enumerate(panel.columns)
        if (own.metric, own.position) == (asked.metric, asked.position)
        and (own.site == STREAM or own.site in UNLAYERED)
        and np.isfinite(panel.values[:, index]).any()
    ]
    return sorted(found, key=lambda index: (panel.columns[index].layer, panel.columns[index].site in UNLAYERED))


def _where(panel: Panel) -> list[Finding]:
    primary = primary_column(panel)
    found = comparisons(panel)
    if primary is None or not found:
        reason = "there is nothing to compare" if primary is not None else "no measure of sparsity was recorded"
        return [unanswered(panel, "localization", QUESTION, reason)]
    same_measure = [i for i, own in enumerate(panel.columns) if own.metric == panel.columns[primary].metric]
    columns_of = {
        position: stream_columns(panel, next(i for i in same_measure if panel.columns[i].position == position))
        for position in dict.fromkeys(panel.columns[i].position for i in same_measure)
    }
    findings: list[Finding] = []
    for position, columns in columns_of.items():
        if len(columns) < 2:
            continue
        is_first = position == panel.columns[primary].position
        findings.append(_onset_finding(panel, found, columns, "", primary=is_first))
        if len(found) > 1:
            findings += [_onset_finding(panel, [one], columns, one.group, primary=False) for one in found]
    if not any(finding.primary for finding in findings):
        reason = "fewer than two layers of the residual stream were measured"
        return [unanswered(panel, "localization", QUESTION, reason), *findings]
    return findings


def _onset_finding(panel: Panel, found: list[Comparison], columns: list[int], group: str, *, primary: bool) -> Finding:
    rows = np.logical_or.reduce([one.rows for one in found])
    onset = _onset(panel, found, columns, rows)
    places = [panel.columns[column].place for column in columns]
    peak, unit = columns[onset.peak], _unit(found)
    chosen = [places[index] for index in onset.onset_set]
    own = panel.values[rows][:, peak]
    adjusted = length_control(panel, overall_of(panel, found), [peak])
    points = _points(panel, found, columns, onset)
    finding = Finding(
        analysis="localization",
        question=QUESTION,
        scope=scope_of(panel, peak, group),
        primary=primary,
        selected=True,
        estimate=onset.cross_fitted,
        unit=f"{unit} at the layer where it is largest, on items that did not choose it",
        quantity=unit,
        interval=onset.interval,
        n=int(np.isfinite(own).sum()),
        n_clusters=len(np.unique(panel.clusters[rows])),
        controls=(adjusted,) if adjusted else (),
        effects=(Effect(f"{unit} from all items", points[onset.peak][0], points[onset.peak][1:]),),
        verdict=judge(onset.interval),
        text="",
        plot=Plot(
            "curve",
            "site and layer, in the order of a forward pass",
            f"{unit}, + = sparser",
            (
                tuple(
                    Mark(shown(group or found[0].farther), place, float(index), *points[index])
                    for index, place in enumerate(places)
                )
            ),
            0.0,
        ),
    )
    finding = replace(finding, verdict=surviving(finding)) if primary else finding
    return replace(finding, text=_onset_sentence(finding, places[onset.onset], chosen, found, unit))


def spread_of(places: list[str]) -> str:
    """Sites in a row, of many only the first and the last.

    >>> spread_of(["embed", "resid_post.0"]), spread_of([f"resid_post.{i}" for i in range(9)])
    ('embed, resid_post.0', 'resid_post.0 to resid_post.8 (9)')
    """
    if len(places) <= MOST_LISTED:
        return ", ".join(places)
    return f"{places[0]} to {places[-1]} ({len(places)})"


def overall_of(panel: Panel, found: list[Comparison]) -> Comparison:
    """The one comparison, or all shifted items together where several are averaged."""
    return found[0] if len(found) == 1 else overall(panel) or found[0]


def _unit(found: list[Comparison]) -> str:
    if not found[0].is_contrast:
        return "rank correlation"
    return "Cohen's d" if len(found) == 1 else "mean Cohen's d over domains"


def _onset(panel: Panel, found: list[Comparison], columns: list[int], rows: np.ndarray) -> Onset:
    values = (panel.values * signs(panel))[rows][:, columns]
    clusters = np.unique(panel.clusters[rows], return_inverse=True)[1].reshape(-1)
    first = np.unique(clusters, return_index=True)[1]
    strata = np.zeros(len(first), dtype=np.int64)
    sums: Sums
    if found[0].is_contrast:
        pairs = [((one.rows & (one.score == 0))[rows], (one.rows & (one.score == 1))[rows]) for one in found]
        sums = contrast_sums(values, pairs, clusters)
        strata = np.unique(panel.labels[rows].astype(str), return_inverse=True)[1].reshape(-1)[first]
    else:
        sums = slope_sums(values, found[0].score[rows], clusters, within=found[0].design == "paired")
    return find_onset(sums, strata, rng=fresh())


def _points(
    panel: Panel, found: list[Comparison], columns: list[int], onset: Onset
) -> list[tuple[float, float, float]]:
    """The effect at every place with its interval; of a rank correlation the one that every other question gives."""
    if found[0].is_contrast:
        return [
            (float(v), float(low), float(high))
            for v, low, high in zip(onset.effects, onset.low, onset.high, strict=True)
        ]
    effects = effect(associate_with(panel, found[0], columns, resamples=RESAMPLES), found[0])
    return [(value, *interval) for value, interval in (at(effects, index) for index in range(len(columns)))]


def _onset_sentence(finding: Finding, onset: str, chosen: list[str], found: list[Comparison], unit: str) -> str:
    far = shown(finding.scope.group) or ("shifted domains" if found[0].is_contrast else _far_end(finding, found[0]))
    effect = f"{with_interval(finding.estimate, finding.interval)} on items that did not choose the layer"
    where = f"{unit} {effect}{length_adjusted(finding, SLOPE if found[0].is_contrast else '')}"
    if not finding.side:
        verb = "differ" if far == "shifted domains" else "differs"
        return (
            f"Undecided at which layers {far} {verb}: the largest effect is at {finding.scope.place}, {where}; "
            f"resamples put the onset at {spread_of(chosen)}.{lost_to_length(finding)}"
        )
    claim = "sparser" if finding.side > 0 else "denser"
    sure = "in at least 95 % of resamples" if len(chosen) == 1 else f"95 % set: {spread_of(chosen)}"
    verb = "are" if far == "shifted domains" else "is"
    opening = far if finding.scope.group else far[0].upper() + far[1:]
    return f"{opening} {verb} {claim} from {onset} on ({sure}), most at {finding.scope.place}: {where}."


def _far_end(finding: Finding, one: Comparison) -> str:
    return f"the {one.farther} end ({level_name(one.far, finding.scope.axis)})"


def _carried(found: Substitution) -> Finding:
    """Finding on the share of a change that the top coordinate accounts for, and the number that accounts for half."""
    marks = tuple(Mark(shown(found.group), str(m), float(m), *share) for m, share in found.curve.items())
    plot = Plot("curve", "coordinates replaced together", "share of the change of mean Hoyer", marks, 0.5)
    return substituted(found, COORDINATE, analysis="localization", question=QUESTION, plot=plot if marks else None)


def _bases(run: Run, panel: Panel) -> list[Finding]:
    """The effect of each comparison in the bases of the controls, on the very items of the controls.

    At the two places stated before looking: the end of the residual stream and the final norm.
    """
    others = {basis: _same_panel(run, panel, basis) for basis in (*names.BASES, names.UNTRAINED)}
    others = {basis: other for basis, other in others.items() if other is not None}
    if not others:
        return []
    largest = max(others.values(), key=lambda other: len(other.items))
    raw = panel.of_items(largest.items.index)
    primary = primary_column(raw)
    if primary is None:
        return []
    stream = stream_columns(raw, primary)
    layers = [raw.columns[index].layer for index in stream if raw.columns[index].site == STREAM]
    columns = [
        index
        for index in stream
        if (raw.columns[index].site in UNLAYERED or raw.columns[index].layer == max(layers))
        and any(other.find(raw.columns[index]) is not None for other in others.values())
    ]
    findings: list[Finding] = []
    for one in comparisons(raw):
        for column in columns:
            findings += _basis_finding(raw, one, column, others)
    return findings


def _same_panel(run: Run, panel: Panel, basis: str) -> Panel | None:
    found = (
        other
        for other in read_panels(run, [panel.axis.kind], basis)
        if (other.model, other.suites) == (panel.model, panel.suites)
    )
    return next(found, None)


def _basis_finding(raw: Panel, one: Comparison, column: int, others: dict[str, Panel]) -> list[Finding]:
    value, interval = at(effect(associate_with(raw, one, [column], resamples=RESAMPLES), one), 0)
    controls: list[Control] = []
    for basis, other in others.items():
        index = other.find(raw.columns[column])
        again = [compared for compared in comparisons(other) if compared.group == one.group]
        if index is None or not again:
            continue
        found = effect(associate_with(other, again[0], [index], resamples=RESAMPLES), again[0])
        controls.append(Control(basis, "basis", *at(found, 0), float("nan")))
    adjusted = length_control(raw, one, [column])
    if not controls or not np.isfinite(value):
        return []
    marks = [Mark("as measured", "raw", float("nan"), value, *interval)]
    marks += [Mark("another basis", c.name, float("nan"), c.estimate, *c.interval) for c in controls]
    scope = scope_of(raw, column, one.group)
    beside = f" ({signed(adjusted.estimate)} adjusted for length)" if adjusted else ""
    listed = ", ".join(f"{signed(control.estimate)} in {control.name}" for control in controls)
    # axes fitted to the reference serve it better than what they were not fitted to
    axis = "" if one.is_contrast else raw.axis.name
    favoured = "; axes fitted to the reference (pca) favour it" if "pca" in {c.name for c in controls} else ""
    text = (
        f"At {scope.place}, {level_name(one.far, axis)} beside {level_name(one.near, axis)}: {scope.metric}'s "
        f"{one.quantity} is "
        f"{with_interval(value, interval)} "
        f"in the model's own coordinates{beside}, {listed} (the same {int(one.rows.sum())} items){favoured}."
    )
    return [
        Finding(
            analysis="localization",
            question=QUESTION,
            scope=replace(scope, basis="several"),
            estimate=value,
            unit=one.unit,
            interval=interval,
            n=int(one.rows.sum()),
            n_clusters=len(np.unique(raw.clusters[one.rows])),
            controls=(*([adjusted] if adjusted else []), *controls),
            verdict="described",
            text=text,
            plot=Plot("forest", one.unit, "", tuple(marks), 0.0),
        )
    ]
