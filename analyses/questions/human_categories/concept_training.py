"""Concepts by training step: when do clusters, graded membership and its tie to sparsity appear?

Each checkpoint is read as the question `concepts` reads a model, at the pre-stated place; a training is one draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from analyses.data.concepts import Members, over_sentences, places_of, sparsity_of, vectors_at
from analyses.data.panels import place
from analyses.data.runs import Run, with_states
from analyses.findings.contrast import fresh
from analyses.findings.formatting import shown, with_interval
from analyses.findings.null import sparser
from analyses.findings.panel import PRIMARY_SITES
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.questions.human_categories.membership import AXIS, HELD, QUESTION, Held, hold, set_of
from analyses.questions.human_categories.typicality import measured_in
from analyses.statistics.concepts.profile import read_place
from analyses.statistics.groups import average
from probes.records.stored_states import StoredPlace

TYPICALITY: Final = "typicality"
ADJUSTED: Final = ", adjusted for frequency"


def training_findings(run: Run, every: Sequence[Members]) -> list[Finding]:
    """Agreement, graded membership and sparsity by training step, means over trainings, where there are checkpoints."""
    keeper = with_states(run)
    stepped = [own for own in every if math.isfinite(own.step)]
    findings: list[Finding] = []
    for suite, norms in dict.fromkeys((own.suite, own.norms) for own in stepped):
        mine = [own for own in stepped if (own.suite, own.norms) == (suite, norms)]
        steps = sorted({own.step for own in mine})
        if len(steps) < 2 or keeper is None or not places_of(keeper):
            continue
        places = places_of(keeper)
        stated = [where for where in places if where.site == PRIMARY_SITES[0]] or places[-1:]  # one for each depth
        values: dict[str, dict[float, list[float]]] = {}
        for where in stated:
            for own, sentences in vectors_at(keeper, run, where, mine):
                for name, value in _at_step(run, own, over_sentences(sentences)).items():
                    values.setdefault(name, {}).setdefault(own.step, []).append(value)
        if values:
            findings.append(_over_steps(mine, stated[-1], values))
    return findings


def _at_step(run: Run, own: Members, vectors: Float[np.ndarray, "n width"]) -> dict[str, float]:
    found: dict[str, float] = {}
    if np.isfinite(vectors).all() and np.ptp(vectors) > 0:
        reading = read_place(vectors, own.categories, own.typicality, fresh())
        found = {"agreement": reading.agreement.ami, "regret": reading.regret.normalised}
        found |= _held(TYPICALITY, hold(reading.similarity, own.typicality, [own]))
    measured = measured_in(run, own)
    if measured is not None:
        sign = 1.0 if sparser(measured[0]) == "higher" else -1.0
        found |= _held("sparser", hold(sparsity_of(run, own, *measured) * sign, -own.typicality, [own]))
    return found


def _held(name: str, held: Held) -> dict[str, float]:
    """The correlation alone, and adjusted for word frequency."""
    adjusted = next((own.estimate for own in held.controls if own.name == HELD[0][0]), math.nan)
    return {name: held.alone[0], f"{name}{ADJUSTED}": adjusted}


def _over_steps(mine: Sequence[Members], where: StoredPlace, values: dict[str, dict[float, list[float]]]) -> Finding:
    own = mine[-1]
    trainings = len({one.training for one in mine})
    means = {
        (name, step): average(np.array([value for value in found if math.isfinite(value)]))
        for name, by_step in values.items()
        for step, found in by_step.items()
        if any(math.isfinite(value) for value in found)
    }
    marks = [Mark(name, f"step {step:.0f}", step, mean.mean, *mean.interval) for (name, step), mean in means.items()]
    last = {name: mean for (name, _), mean in sorted(means.items(), key=lambda one: one[0][1])}
    said = "; ".join(f"{name} {with_interval(mean.mean, mean.interval)}" for name, mean in last.items())
    asked = next((name for name in (f"{TYPICALITY}{ADJUSTED}", TYPICALITY) if name in last), next(iter(last)))
    alone = trainings == 1
    models = "one training" if alone else f"{trainings} trainings"
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=Scope(
            model=own.model if alone else "",
            suite=set_of(own),
            axis=AXIS,
            position=where.position,
            metric="by training step",
        ),
        estimate=last[asked].mean,
        interval=last[asked].interval,
        unit=f"{asked}: correlation with closeness to the category at the last checkpoint, mean over trainings",
        quantity="rank correlation",
        n=len(own.items),
        n_clusters=trainings,
        generalises_over="seeds",
        effects=tuple(Effect(name, mean.mean, mean.interval, key="step", of=name) for name, mean in last.items()),
        verdict="described",
        plot=Plot("curve", "training step", "correlation, agreement or regret", tuple(marks), 0.0),
        text=f"At the last checkpoint of {models} ({place(where.site, where.layer)}, {shown(own.norms)}): {said}.",
    )
