"""Measured familiarity: do activations get sparser as inputs are less familiar by what is measured of each?

The axis of a suite says how familiar its makers think an input is; the measures of familiarity say it of each item, by
what the model, a corpus or the laboratory knows. Each measure is turned so that larger is less familiar and
ranked against the pre-stated measure of sparsity, over all items and within levels, where the axis cannot stand behind
it. Primary: the laboratory's exposure where it is known, else bits per byte. A measure read off the model's own output
is the output, and no cause of it.

Where exposure is known there is one answer more: the dose-response above mastery, over the levels whose answers the
model gives with a probability of nine in ten. Levels are chosen, never items, because choosing right answers would
condition on a collider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analyses.data.familiarity import promise, written
from analyses.data.panels import Panel, by_item, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh, signs
from analyses.findings.formatting import shown, with_interval
from analyses.findings.panel import FEWEST_ITEMS, bounded, detectable, length_of, levels_of, primary_column, scope_of
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Significance
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of, length_adjusted
from analyses.findings.training_pairs import cited
from analyses.findings.verdicts import settle
from analyses.statistics.association import associate_items
from analyses.statistics.design import recode
from analyses.statistics.equivalence import noise_floor
from analyses.statistics.permutation import TEST_NAMES
from analyses.statistics.trend import RESAMPLES, Trend, trend
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Do activations get sparser as inputs are less familiar by what is measured of each?"
FIRST: Final = ("exposure", "bits_per_byte")
UNIT: Final = "rank correlation, positive = sparser where less familiar"
MASTERED: Final = 0.9
NOTHING: Final = (float("nan"), float("nan"))


class Measured(NamedTuple):
    """One measure of familiarity for the items of a panel.

    Attributes:
        name: as it is written, with its corpus.
        from_output: whether it is read off the model's own predictions.
        unfamiliar: its values, turned so that larger is less familiar.
    """

    name: str
    from_output: bool
    unfamiliar: Float[np.ndarray, " items"]


@analysis(QUESTION, order=4, title="Measured familiarity")
def measured_familiarity(run: Run) -> list[Finding]:
    """Answer for every suite whose sweep measured familiarity, and the dose-response where exposure is known."""
    table = run.familiarity()
    findings: list[Finding] = []
    for panel in read_panels(run, AXIS_KINDS):
        column = primary_column(panel)
        if column is None:
            continue
        found = [_finding(panel, column, measured) for measured in _measured(panel, table)]
        own = settle(_with_primary([finding for finding in found if np.isfinite(finding.estimate)]))
        findings += [replace(finding, text=_sentence(finding)) for finding in own]
        if panel.axis.kind == "familiarity":
            findings += [cited(finding) for finding in _dose_response(panel, column)]
    return findings


def _measured(panel: Panel, table: pd.DataFrame) -> list[Measured]:
    rows = table[table["run_id"].isin(list(panel.run_ids))]
    found: list[Measured] = []
    for key, own in rows.groupby(["measure", "corpus"], observed=True, sort=False, dropna=False):
        measure, corpus = cast("tuple[str, object]", key)
        record = promise(str(measure))
        if record is None:
            continue
        values = by_item(own, panel.items.index)
        known_items = values[np.isfinite(values)]
        if len(known_items) < FEWEST_ITEMS or np.ptp(known_items) == 0:
            continue
        turn = -1.0 if record.familiar == "higher" else 1.0
        found.append(Measured(written(str(measure), corpus), record.from_output, turn * values))
    return found


def _with_primary(findings: list[Finding]) -> list[Finding]:
    """The pre-stated measure where it was measured; no other takes its place."""
    for name in FIRST:
        for index, finding in enumerate(findings):
            if finding.scope.group.partition(" in ")[0] == name:
                marks = tuple(
                    Mark("measures of familiarity", f.scope.group, float("nan"), f.estimate, *f.interval)
                    for f in findings
                )
                first = replace(finding, primary=True, plot=Plot("forest", UNIT, "", marks, 0.0))
                return [*findings[:index], first, *findings[index + 1 :]]
    return findings


def _finding(panel: Panel, column: int, measured: Measured) -> Finding:
    usable = np.isfinite(measured.unfamiliar)
    values = (panel.values * signs(panel))[usable][:, [column]]
    score, clusters = measured.unfamiliar[usable], panel.clusters[usable]
    lengths = _lengths(panel, usable)
    found = trend(values, score, clusters, covariates=lengths, resamples=RESAMPLES, rng=fresh())
    value = float(found.correlation.value[0])
    interval = float(found.correlation.low[0]), float(found.correlation.high[0])
    codes = levels_of(panel)[0][usable]
    effects = [detectable(interval), *_within(values, score, codes)]
    n_clusters = int(found.association.n_clusters[0])
    floor = float(noise_floor(values, clusters, currency="correlation", rng=fresh())[0])
    output = (Control(measured.name, "mediator", float("nan"), NOTHING, value),) if measured.from_output else ()
    return Finding(
        analysis="measured_familiarity",
        question=QUESTION,
        scope=scope_of(panel, column, measured.name),
        estimate=value,
        unit=UNIT,
        quantity="rank correlation",
        interval=interval,
        n=int(found.association.n[0]),
        n_clusters=n_clusters,
        test=Significance(TEST_NAMES[found.design], float(found.p[0]), float("nan")),
        controls=(*_adjusted(found, lengths), *output),
        effects=tuple(effects),
        bound=bounded(value, interval, floor, n_clusters),
        text="",
    )


def _lengths(panel: Panel, rows: Bool[np.ndarray, " items"]) -> Float[np.ndarray, "some one"] | None:
    """The number of tokens where it varies; None where there is nothing to hold fixed."""
    length = length_of(panel)
    if length is None or not np.isfinite(length.values[rows]).all() or np.ptp(length.values[rows]) == 0:
        return None
    return length.values[rows, None]


def _adjusted(found: Trend, lengths: Float[np.ndarray, "some one"] | None) -> tuple[Control, ...]:
    """The same with the number of tokens held fixed."""
    if lengths is None:
        return ()
    own = found.association.correlation(1)
    return (Control(LENGTH, "pre_treatment", *at(found.association.partial(1), 0), float(own.value[0])),)


WITHIN: Final = "within levels"


def _within(
    values: Float[np.ndarray, "n one"],
    score: Float[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
) -> list[Effect]:
    """The rank correlation inside levels, which are what is resampled; nothing where there is one level."""
    keep = codes >= 0
    if len(np.unique(codes[keep])) < 2:
        return []
    found = associate_items(
        values[keep], score[keep, None], recode(codes[keep]), within=True, resamples=RESAMPLES, rng=fresh()
    )
    own = found.correlation()
    return (
        [Effect(WITHIN, float(own.value[0]), (float(own.low[0]), float(own.high[0])))]
        if np.isfinite(own.value[0])
        else []
    )


def _sentence(finding: Finding) -> str:
    claim = claim_of(
        finding,
        ("Sparser where less familiar", "Denser where less familiar", "Undecided whether sparser where less familiar"),
    )
    inside = next((effect for effect in finding.effects if effect.name == WITHIN), None)
    levels = f", {with_interval(inside.estimate, inside.interval)} within levels" if inside else ""
    from_output = any(control.role == "mediator" for control in finding.controls)
    output = "; it is read off the model's own output" if from_output else ""
    effect = with_interval(finding.estimate, finding.interval)
    return (
        f"{claim} by {shown(finding.scope.group)}: {finding.scope.metric} at {finding.scope.place}, "
        f"rank correlation {effect}{length_adjusted(finding)} over {finding.n:,} items{levels}{output}."
    )


def _dose_response(panel: Panel, column: int) -> list[Finding]:
    """The trend over the levels that the model has mastered."""
    right = _right(panel)
    if right is None or panel.axis.harder != "lower":
        return []
    levels = panel.levels
    distinct = [level for level in np.unique(levels[np.isfinite(levels)]) if level > 0]
    mastered = [level for level in distinct if np.nanmean(right[levels == level]) >= MASTERED]
    if len(mastered) < 3:
        return []
    rows = np.isin(levels, mastered)
    values = (panel.values * signs(panel))[rows][:, [column]]
    lengths = _lengths(panel, rows)
    found = trend(values, -levels[rows], panel.clusters[rows], covariates=lengths, resamples=RESAMPLES, rng=fresh())
    value = float(found.correlation.value[0])
    interval = float(found.correlation.low[0]), float(found.correlation.high[0])
    clusters = panel.clusters[rows]
    floor = float(noise_floor(values, clusters, currency="correlation", rng=fresh())[0])
    n_clusters = int(found.association.n_clusters[0])
    finding = Finding(
        analysis="measured_familiarity",
        question=QUESTION,
        scope=scope_of(panel, column, "mastered levels"),
        estimate=value,
        unit=f"{UNIT}, over mastered levels",
        interval=interval,
        n=int(found.association.n[0]),
        n_clusters=n_clusters,
        test=Significance(TEST_NAMES[found.design], float(found.p[0]), float(found.p[0])),
        controls=_adjusted(found, lengths),
        effects=(detectable(interval),),
        bound=bounded(value, interval, floor, n_clusters),
        text="",
    )
    (settled,) = settle([finding])
    spans = f"{shown(panel.axis.name)} {min(mastered):g} to {max(mastered):g}"
    claims = (
        "Still sparser where less familiar among what is mastered",
        "Denser where less familiar among what is mastered",
        "Undecided whether familiarity matters among mastered items",
    )
    text = (
        f"{claim_of(settled, claims)} ({spans}, answers right with probability {MASTERED:g} or more): "
        f"{settled.scope.metric} at {settled.scope.place}, rank correlation {with_interval(value, interval)}"
        f"{length_adjusted(settled)} over {settled.n:,} items."
    )
    return [replace(settled, text=text)]


def _right(panel: Panel) -> Float[np.ndarray, " items"] | None:
    """The probability of the target, or whether the answer was right."""
    loss, correct = panel.outcome("nll"), panel.outcome("correct")
    return np.exp(-loss) if loss is not None else correct
