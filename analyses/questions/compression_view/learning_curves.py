"""Curves of a learning law over its seeds: losses of all arms, contributions of examples, SIM against compression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses.findings.record import Mark, Plot
from analyses.statistics.groups import average

LOSS: Final = "loss on held-out examples (nats)"
STEPS: Final = "training step"
RANK: Final = "share of examples with weight that contribute less"
RATIO: Final = "compression ratio of the desired examples"
ALIKE: Final = "SIM: mean of contributions over their standard deviation (higher = more alike)"
QUANTITIES: Final = {"exact": "exact contribution", "paper": "the paper's contribution"}
SHORT: Final = {
    **{f"equal weights, steps x {times}": f"equal, steps x {times}" for times in (3, 10, 30)},
    "policy, small desired set": "policy, few desired",
    "policy, examples exchanged": "policy, exchanged",
    "contributions as they are": "contributions, online",
}
"""Names of arms that would not fit beside a line."""


def losses(curves: pd.DataFrame) -> Plot | None:
    """Held-out loss against steps, a line for every arm, with intervals over seeds; None without curves."""
    if curves.empty:
        return None
    marks = _marks(curves, ["arm"], "step", "held_out")
    return Plot(
        "curve", STEPS, LOSS, tuple(mark._replace(series=SHORT.get(mark.series, mark.series)) for mark in marks)
    )


def quantiles(contributions: pd.DataFrame, quantity: str) -> Plot | None:
    """Contributions over their mean against the rank of the example, a line for every moment; flat where equal."""
    if contributions.empty:
        return None
    own = contributions[(contributions["arm"] == "policy") & (contributions["quantity"] == quantity)]
    own = own.assign(moment=[f"before step {step + 1}" for step in own["step"]])
    marks = _marks(own, ["moment"], "rank", "value")
    name = f"{QUANTITIES[quantity]} under the policy over its mean (1 = equal)"
    return Plot("curve", RANK, name, marks, 1.0) if marks else None


def compression(course: pd.DataFrame) -> Plot | None:
    """SIM against the compression ratio as the search goes on; None without a search."""
    if course.empty:
        return None
    ratio = course.groupby("epoch")["compression"].mean()
    names = {"similarity": "the paper's", "exact_similarity": "exact"}
    marks: list[Mark] = []
    for column, name in names.items():
        own = course.assign(quantity=name)
        marks += [mark._replace(x=float(ratio[mark.x])) for mark in _marks(own, ["quantity"], "epoch", column)]
    return Plot("curve", RATIO, ALIKE, tuple(marks))


def _marks(table: pd.DataFrame, series: Sequence[str], x: str, value: str) -> tuple[Mark, ...]:
    """Mean over seeds and its interval at every point of every line."""
    marks: list[Mark] = []
    for (name, at), own in table.groupby([*series, x], sort=False):
        found = average(own[value].to_numpy(np.float64))
        low, high = found.interval
        if math.isfinite(found.mean):
            marks.append(Mark(str(name), "", float(str(at)), found.mean, low, high))
    return tuple(marks)
