"""Density: do MLPs need fewer neurons where items are harder, less familiar or shifted?

From the rows that the spec key ``density`` writes: the share of an MLP's neurons whose removal changes its output by no
more than a given error (``cett_sparsity``), for the items of the controls. Unlike measures of the activations alone it
weighs every neuron by what it writes. Each error is asked at the deepest MLP first (stated before looking) and drawn
through the layers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from analyses.data.panels import Column, Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import Comparison, associate_with, at, comparisons, effect, judge
from analyses.findings.formatting import number, shown, with_interval
from analyses.findings.panel import scope_of
from analyses.findings.record import Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary import names
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Do MLPs need fewer of their neurons where inputs are harder, less familiar or shifted?"


@analysis(QUESTION, order=10, title="Neurons needed")
def density(run: Run) -> list[Finding]:
    """Answer for every suite, comparison, position and error."""
    return [
        finding
        for panel in read_panels(run, AXIS_KINDS, names.TAILS)
        for one in comparisons(panel)
        for finding in _findings(panel, one)
    ]


def _findings(panel: Panel, one: Comparison) -> list[Finding]:
    kinds = dict.fromkeys((column.metric, column.position) for column in panel.columns)
    own = [
        sorted(
            (i for i, c in enumerate(panel.columns) if (c.metric, c.position) == kind), key=lambda i: _layer(panel, i)
        )
        for kind in kinds
    ]
    return [_finding(panel, one, columns, primary=not place) for place, columns in enumerate(own)]


def _layer(panel: Panel, index: int) -> int:
    return panel.columns[index].layer


def _finding(panel: Panel, one: Comparison, columns: list[int], *, primary: bool) -> Finding:
    """One error and position through the layers; the estimate is of the deepest MLP."""
    found = effect(associate_with(panel, one, columns, resamples=RESAMPLES), one)
    every = [at(found, index) for index in range(len(columns))]
    value, interval = every[-1]
    last: Column = panel.columns[columns[-1]]
    near, far = _ends(panel, one, columns[-1])
    marks = tuple(
        Mark(shown(one.far), panel.columns[column].place, float(panel.columns[column].layer), own, *span)
        for column, (own, span) in zip(columns, every, strict=True)
    )
    verdict = judge(interval)
    verb = (
        "does not change significantly"
        if not (interval[0] > 0 or interval[1] < 0)
        else "rises"
        if value > 0
        else "falls"
    )
    text = (
        f"At {last.place}, position {last.position}, the share of neurons that can be cut ({last.metric}) {verb} "
        f"towards {shown(one.far)}: {one.quantity} {with_interval(value, interval)}, mean {number(near)} at "
        f"{shown(one.near)}, {number(far)} at {shown(one.far)}."
    )
    return Finding(
        analysis="density",
        question=QUESTION,
        scope=scope_of(panel, columns[-1], one.group),
        primary=primary,
        estimate=value,
        unit=one.unit,
        quantity=one.quantity,
        interval=interval,
        n=int(one.rows.sum()),
        n_clusters=len(set(panel.clusters[one.rows].tolist())),
        verdict=verdict,
        text=text,
        plot=Plot(
            "curve", "MLP, in the order of a forward pass", f"{one.quantity}, + = fewer neurons needed", marks, 0.0
        ),
    )


def _ends(panel: Panel, one: Comparison, column: int) -> tuple[float, float]:
    """Mean at the near and at the far end."""
    values, score = panel.values[one.rows, column], one.score[one.rows]
    near, far = values[score == score.min()], values[score == score.max()]
    return _mean(near), _mean(far)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
