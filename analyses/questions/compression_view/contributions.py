"""Contributions: does every example contribute equally under the policy that minimises the area under the loss curve?

`sparsity learning-law` trains under equal weights and under the best policy it finds, and writes for every seed how
alike the contributions of examples are: their weighted mean over their standard deviation (SIM, arXiv:2402.17759).
Primary: the natural logarithm of SIM under the policy over SIM under equal weights, by the paper's contribution; its
sentence says how far from equal contributions still are. Beside it the same by the exact first-order quantity, which is
what an optimum makes equal; the one against the other; and the second half of the search alone, as a law that holds in
the optimum shows in contributions that go on becoming more alike. Every other way to train is a row of a table.

Limits. Seeds are what is resampled. The answer is about the toy tasks of the command, not about a language model of the
user's; a larger step may be as good as the policy, so a claim about contributions is none about speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.data.runs import Run
from analyses.data.written_tables import LAW, written
from analyses.findings.contrast import judge
from analyses.findings.formatting import percent, with_interval
from analyses.findings.record import Effect, Finding, Scope, Significance, Verdict
from analyses.findings.registry import analysis
from analyses.questions.compression_view.learning_curves import compression, losses, quantiles
from analyses.statistics.groups import Average, average

QUESTION: Final = "Does every example contribute equally under the policy that minimises the area under the loss?"
PAPER, EXACT, FASTER, AREA, WORK = "similarity", "exact_similarity", "acceleration", "area", "work"
EQUAL, POLICY = "equal weights", "policy"
BESIDE: Final = (POLICY, "equal weights, steps x 10", "policy, examples exchanged")
FEWEST_SEEDS: Final = 3
NOTHING: Final = (math.nan, math.nan)
NONE: Final = np.empty(0)
UNIT: Final = "ln of SIM under the policy over SIM under equal weights, positive = more alike under the policy"
RATIO: Final = "ln of a ratio of SIM, positive = more alike"
SAVED: Final = "area under the held-out loss saved against equal weights, positive = better"
OVER: Final = "Student's t over seeds"
QUANTITIES: Final = {PAPER: "the paper's contribution", EXACT: "the exact first-order quantity"}
CLAIMS: Final[dict[Verdict, str]] = {
    "supported": "Examples contribute more alike under the policy, but not equally",
    "contradicted": "Examples contribute less alike under the policy",
    "undecided": "It is undecided whether examples contribute more alike under the policy",
    "described": "Too few seeds to say whether examples contribute more alike under the policy",
}


class Tables(NamedTuple):
    """Tables of one learner; empty where a run has none of a name."""

    seeds: pd.DataFrame
    curves: pd.DataFrame
    course: pd.DataFrame
    contributions: pd.DataFrame


@analysis(QUESTION, order=6, title="Contributions of examples", counted="seeds")
def contributions(run: Run) -> list[Finding]:
    """Answer for every learner whose seeds lie beside the sweeps."""
    needed = {"seed", "arm", PAPER, EXACT, FASTER, AREA}
    others = {name: written(run, name) for name in LAW[1:]}
    findings: list[Finding] = []
    for learner, seeds in written(run, LAW[0]).items():
        if needed <= set(seeds.columns):
            findings += _of(learner, Tables(seeds, *(others[name].get(learner, pd.DataFrame()) for name in LAW[1:])))
    return findings


def _of(learner: str, tables: Tables) -> list[Finding]:
    """Findings on one learner; none where an arm is missing."""
    gains = {
        quantity: _log_ratio(_sim(tables, POLICY, quantity), _sim(tables, EQUAL, quantity)) for quantity in QUANTITIES
    }
    if not gains[PAPER].size:
        return []
    scope = Scope(model="", suite=learner or "learning law", metric=PAPER)
    own = replace(_primary(tables, gains, scope), plot=losses(tables.curves))
    pictures = [quantiles(tables.contributions, quantity) for quantity in ("exact", "paper")]
    drawn = [
        Finding(analysis=own.analysis, question=QUESTION, scope=scope, verdict="described", text=plot.y, plot=plot)
        for plot in (*pictures, compression(tables.course))
        if plot is not None
    ]
    return [own, *drawn, *_beside(tables, gains, scope), *_arms(tables, scope)]


def _primary(tables: Tables, gains: Mapping[str, Float[np.ndarray, " seeds"]], scope: Scope) -> Finding:
    """Finding on the paper's contribution."""
    found = average(gains[PAPER])
    n = len(gains[PAPER])
    verdict: Verdict = judge(found.interval) if n >= FEWEST_SEEDS else "described"
    effects = [_effect("the same by the exact first-order quantity", average(gains[EXACT]))]
    effects += [_effect(f"acceleration of {arm}", average(_values(tables.seeds, arm, FASTER))) for arm in BESIDE]
    times = ", ".join(f"{_times(effect)} ({arm})" for arm, effect in zip(BESIDE, effects[1:], strict=True))
    return Finding(
        analysis="contributions",
        question=QUESTION,
        scope=scope,
        primary=True,
        estimate=found.mean,
        interval=found.interval,
        unit=UNIT,
        quantity="logarithm of a ratio",
        n=n,
        n_clusters=n,
        generalises_over="seeds",
        test=Significance(OVER, found.p, found.p) if n >= FEWEST_SEEDS else None,
        effects=tuple(effects),
        verdict=verdict,
        text=(
            f"{CLAIMS[verdict]}: ln of the ratio of SIM {with_interval(found.mean, found.interval)} over {n} seeds. "
            f"{_how_unequal(tables)}{_still(tables)} Acceleration over equal weights: {times}."
        ),
    )


def _how_unequal(tables: Tables) -> str:
    """Sentence on the standard deviation of contributions over their mean, which is zero where all are equal."""
    said = [
        f"{percent(*_told(1 / _sim(tables, POLICY, quantity)))} of their mean by {name} "
        f"({percent(average(np.asarray(1 / _sim(tables, EQUAL, quantity))).mean, NOTHING)} under equal weights)"
        for quantity, name in QUANTITIES.items()
    ]
    return f"Their standard deviation under the policy (1 / SIM, 0 = equal) is {' and '.join(said)}."


def _still(tables: Tables) -> str:
    """Sentence on the second half of the search, in which contributions become more alike where the law holds."""
    told: list[str] = []
    for quantity, name in QUANTITIES.items():
        half, end = _halves(tables.course, quantity)
        found = average(_log_ratio(end, half))
        if math.isfinite(found.mean):
            told.append(f"{with_interval(found.mean, found.interval)} by {name}")
    return f" Over the second half of the search ln SIM rises by {' and '.join(told)}." if told else ""


def _beside(tables: Tables, gains: Mapping[str, Float[np.ndarray, " seeds"]], scope: Scope) -> list[Finding]:
    """The exact quantity, the one against the other, and the second half of the search."""
    compared = {
        f"{QUANTITIES[EXACT]}, policy against equal weights": gains[EXACT],
        "under the policy, the exact quantity against the paper's": _log_ratio(
            _sim(tables, POLICY, EXACT), _sim(tables, POLICY, PAPER)
        ),
    }
    for quantity, name in QUANTITIES.items():
        half, end = _halves(tables.course, quantity)
        compared[f"second half of the search, {name}"] = _log_ratio(end, half)
    return [
        _secondary(scope, group, average(values), RATIO, len(values))
        for group, values in compared.items()
        if len(values)
    ]


def _arms(tables: Tables, scope: Scope) -> list[Finding]:
    """A row for every way to train."""
    equal = _column(tables.seeds, EQUAL, AREA)
    columns = {FASTER: FASTER, AREA: "area, held out", "desired_area": "area, desired", PAPER: "SIM, the paper's"}
    columns |= {EXACT: "SIM, exact", WORK: "work, trainings"}
    found: list[Finding] = []
    for arm in (str(arm) for arm in tables.seeds["arm"].unique() if arm != EQUAL):
        saved = (equal - _column(tables.seeds, arm, AREA)).dropna().to_numpy(np.float64)
        own = {name: average(_values(tables.seeds, arm, of)) for of, name in columns.items() if of in tables.seeds}
        effects = tuple(_effect(name, each) for name, each in own.items() if math.isfinite(each.mean))
        lost = int((_values(tables.seeds, arm, "diverged") >= 0).sum()) if "diverged" in tables.seeds else 0
        if lost:
            text = f"{arm}: training diverged in {lost} of {len(equal)} seeds."
            found.append(replace(_secondary(scope, arm, average(NONE), SAVED, 0), text=text))
        elif len(saved):
            found.append(replace(_secondary(scope, arm, average(saved), SAVED, len(saved)), effects=effects))
    return found


def _secondary(scope: Scope, group: str, found: Average, unit: str, n: int) -> Finding:
    return Finding(
        analysis="contributions",
        question=QUESTION,
        scope=replace(scope, group=group),
        estimate=found.mean,
        interval=found.interval,
        unit=unit,
        n=n,
        n_clusters=n,
        generalises_over="seeds",
        verdict=judge(found.interval) if n >= FEWEST_SEEDS else "described",
        text=f"{group}: {with_interval(found.mean, found.interval)} over {n} seeds ({unit}).",
    )


def _times(effect: Effect) -> str:
    """Acceleration in words; it is undefined where a training of some seed never comes to the loss."""
    return f"{effect.estimate:.3g}" if math.isfinite(effect.estimate) else "not reached in all seeds"


def _told(values: pd.Series) -> tuple[float, tuple[float, float]]:
    found = average(values.to_numpy(np.float64))
    return found.mean, found.interval


def _halves(course: pd.DataFrame, quantity: str) -> tuple[pd.Series, pd.Series]:
    """SIM at the look nearest to half of the search, and at its end, by seed."""
    if course.empty:
        return pd.Series(dtype=float), pd.Series(dtype=float)
    last = course["epoch"].max()
    epochs = course["epoch"].unique()
    half = epochs[np.abs(epochs - last / 2).argmin()]
    own = course.set_index("seed")
    return own.loc[own["epoch"] == half, quantity], own.loc[own["epoch"] == last, quantity]


def _log_ratio(one: pd.Series, other: pd.Series) -> Float[np.ndarray, " seeds"]:
    """Logarithm of the ratio, a number per seed where both are positive."""
    ratio = (one / other).dropna()
    return np.log(ratio[ratio > 0].to_numpy(np.float64))


def _sim(tables: Tables, arm: str, quantity: str) -> pd.Series:
    return _column(tables.seeds, arm, quantity)


def _column(table: pd.DataFrame, arm: str, column: str) -> pd.Series:
    return table[table["arm"] == arm].set_index("seed")[column].astype(float)


def _values(table: pd.DataFrame, arm: str, column: str) -> Float[np.ndarray, " seeds"]:
    """Numbers of an arm; the mean is undefined where one of them is."""
    return _column(table, arm, column).to_numpy(np.float64)


def _effect(name: str, found: Average) -> Effect:
    return Effect(name, found.mean, found.interval)
