"""Dynamics: when in training does the change appear, and does it follow the loss?

Each checkpoint is asked the pre-stated question of its suite (Hoyer, sparser towards the far end). A seed is one draw:
the primary answer is the change between the first and the last checkpoint, with Student's interval over seeds; below
six seeds it is described. The levels are those of the whole training, so that a curve compares the same items.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from analyses.data.panels import Panel, lineage, read_checkpoints
from analyses.data.runs import Run
from analyses.findings.contrast import associate_with, at, effect, length_control, overall
from analyses.findings.formatting import number, short_model, shown, signed, with_interval
from analyses.findings.panel import primary_column, scope_of
from analyses.findings.record import (
    FEWEST_TO_GENERALISE,
    LENGTH,
    Control,
    Effect,
    Finding,
    Mark,
    Plot,
    Scope,
    Significance,
    decide,
)
from analyses.findings.registry import analysis
from analyses.statistics.groups import average
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "When in training does the change appear, and does it follow the loss?"
RESAMPLES: Final = 200  # intervals of single checkpoints are only drawn; what is claimed rests on seeds
MEAN: Final = "mean over seeds"


class Point(NamedTuple):
    """One checkpoint; ``adjusted`` is its effect adjusted for the number of tokens, NaN where that does not vary."""

    step: int
    effect: float
    interval: tuple[float, float]
    loss: float
    adjusted: float


class Training(NamedTuple):
    """One training: its checkpoints in order."""

    model: str
    suite: str
    scope: Scope
    unit: str
    quantity: str
    points: list[Point]
    n: int


@analysis(QUESTION, order=13)
def dynamics(run: Run) -> list[Finding]:
    """Answer where a suite was put to two checkpoints or more of one training."""
    runs = run.runs()
    if runs["step"].nunique() < 2:
        return []
    steps = dict(zip(runs["run_id"].astype(str), runs["step"], strict=True))
    trainings = [found for found in _trainings(run, steps) if len(found.points) > 1]
    by_family: dict[tuple[str, str, str], list[Training]] = {}
    for training in trainings:
        family = (training.unit, training.scope.axis, f"{training.scope.place} {training.scope.metric}")
        by_family.setdefault(family, []).append(training)
    return [finding for own in by_family.values() for finding in (_common(own), *map(_single, own))]


def _trainings(run: Run, steps: dict[str, int]) -> list[Training]:
    found: dict[tuple[str, str], Training] = {}
    for panel in read_checkpoints(run, AXIS_KINDS):
        one, column = overall(panel), primary_column(panel)
        step = steps.get(panel.run_ids[0]) if panel.run_ids else None
        if one is None or column is None or step is None or step != step:  # noqa: PLR0124  a missing step is NaN
            continue
        value, interval = at(effect(associate_with(panel, one, [column], resamples=RESAMPLES), one), 0)
        model = lineage(panel.model)
        scope = scope_of(panel, column)
        training = found.setdefault(
            (model, panel.suite), Training(model, panel.suite, scope, one.unit, one.quantity, [], len(panel.items))
        )
        if np.isfinite(value):
            adjusted = length_control(panel, one, [column])
            beside = adjusted.estimate if adjusted else float("nan")
            training.points.append(Point(int(step), value, interval, _loss(panel), beside))
    for training in found.values():
        training.points.sort(key=lambda point: point.step)
    return list(found.values())


def _loss(panel: Panel) -> float:
    """Mean loss on in-distribution items in nats; NaN where it was not recorded."""
    values = panel.outcome("nll")
    inside = ~panel.shifted
    if values is None or not np.isfinite(values[inside]).any():
        return float("nan")
    return float(np.nanmean(values[inside]))


def _common(own: list[Training]) -> Finding:
    """Change from the first to the last checkpoint that every training has."""
    steps_of = [{point.step for point in training.points} for training in own]
    shared = sorted(step for step in steps_of[0] if all(step in steps for steps in steps_of))
    ends = [(training.points[0], training.points[-1]) for training in own]
    changes = np.array([last.effect - first.effect for first, last in ends])
    n = len(changes)
    value, interval, p = average(changes)
    few = n < FEWEST_TO_GENERALISE
    adjusted_each = average(np.array([last.adjusted - first.adjusted for first, last in ends]))
    adjusted = Control(LENGTH, "pre_treatment", adjusted_each.mean, adjusted_each.interval, float("nan"))
    marks = [
        Mark(
            shown(f"{short_model(training.model)} {training.suite}"),
            f"step {point.step}",
            float(point.step),
            point.effect,
            *point.interval,
        )
        for training in own
        for point in training.points
    ]
    if n > 1:
        for step in shared:
            at_step = np.array([p.effect for training in own for p in training.points if p.step == step])
            mean, bounds, _ = average(at_step)
            marks.append(Mark(MEAN, f"step {step}", float(step), mean, *bounds))
    first, last = ends[0]
    scope = own[0].scope
    suites = " + ".join(dict.fromkeys(training.suite for training in own))
    models = "1 training" if n == 1 else f"{n} trainings"
    unit = own[0].quantity
    ends_of = [
        [float(np.mean([getattr(end[side], name) for end in ends])) for side in (0, 1)] for name in ("effect", "loss")
    ]
    (start, finish), (first_loss, last_loss) = ends_of
    fell = ""
    if np.isfinite([first_loss, last_loss]).all():
        fell = f", while the loss goes from {number(first_loss)} to {number(last_loss)} nats"
    beside = f" ({signed(adjusted_each.mean)} adjusted for length)" if np.isfinite(adjusted_each.mean) else ""
    follows = _following(own)
    effects = [
        Effect(
            "rank correlation of effect and loss over checkpoints of the same items",
            follows,
            (float("nan"), float("nan")),
        )
    ]
    return Finding(
        analysis="dynamics",
        question=QUESTION,
        scope=Scope(
            model=" + ".join(dict.fromkeys(training.model for training in own)),
            suite=suites,
            axis=scope.axis,
            site=scope.site,
            layer=scope.layer,
            position=scope.position,
            metric=scope.metric,
        ),
        primary=True,
        estimate=value,
        unit=f"change of the {unit} between the first and the last checkpoint",
        interval=interval,
        n=sum(training.n for training in own),
        n_clusters=n,
        test=None if few else Significance("Student's t over seeds", p, p),
        generalises_over="seeds",
        controls=(adjusted,) if np.isfinite(adjusted_each.mean) else (),
        effects=tuple(effects if np.isfinite(follows) else []),
        verdict="described" if few else decide(value, interval, p),
        text=(
            f"Over {models} the {unit} of {scope.metric} at {scope.place} with {shown(scope.axis)} goes from "
            f"{signed(start)} at step {first.step:,} to {signed(finish)} at step {last.step:,}, a change of "
            f"{with_interval(value, interval) if n > 1 else signed(value)}{beside}{fell}."
        ),
        plot=Plot("curve", "optimizer step", own[0].unit, tuple(marks), 0.0),
    )


def _following(own: list[Training]) -> float:
    """Mean over trainings of the rank correlation between effect and loss along the checkpoints."""
    found: list[float] = []
    for training in own:
        pairs = np.array([(point.effect, point.loss) for point in training.points])
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if len(pairs) > 2 and (np.ptp(pairs, axis=0) > 0).all():
            found.append(float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic))
    return float(np.mean(found)) if found else float("nan")


def _single(training: Training) -> Finding:
    """The effect against the loss along one training."""
    last = training.points[-1]
    marks = tuple(
        Mark("checkpoints", f"step {point.step}", point.loss, point.effect, *point.interval)
        for point in training.points
        if np.isfinite(point.loss)
    )
    return Finding(
        analysis="dynamics",
        question=QUESTION,
        scope=training.scope,
        estimate=last.effect,
        unit=f"{training.unit}, at the last checkpoint",
        interval=last.interval,
        n=training.n,
        n_clusters=training.n,
        verdict="described",
        text=(
            f"{shown(short_model(training.model))} on {shown(training.suite)}: {signed(training.points[0].effect)} at "
            f"step {training.points[0].step:,}, {with_interval(last.effect, last.interval)} at step {last.step:,}, "
            f"{len(training.points)} checkpoints."
        ),
        plot=Plot("curve", "mean nll in distribution (nats)", training.unit, marks, 0.0) if marks else None,
    )
