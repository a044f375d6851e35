"""Generalisation: where code is shorter, are more answers right, over models and over the checkpoints of a training?

"Compression is generalisation" (arXiv:2404.09937) is a claim about models, so a model is one point. Code length and
accuracy of the same items would go together by arithmetic alone; here the code is that of one half of the sources of a
suite and the answers are those of the other half. Primary, of models that are no checkpoints: the rank correlation of
accuracy with the shortness of the code over six models or more. Of checkpoints: the same along every training, with a
training as one draw, because all that is learned grows together along one; below six trainings it is described.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from analyses.data.runs import Run, axis_of
from analyses.findings.contrast import judge
from analyses.findings.formatting import shown, with_interval
from analyses.findings.record import FEWEST_TO_GENERALISE, Finding, Mark, Plot, Scope, Significance, decide, p_of
from analyses.findings.registry import analysis
from analyses.statistics.equivalence import NORMAL_QUANTILE
from analyses.statistics.groups import average
from probes.vocabulary.axes import TWO_QUESTIONS

QUESTION: Final = "Where a model's code is shorter, does it answer more of other questions?"
ACCURACY: Final = ("choice_correct", "correct")
CODE: Final = "nll"
UNIT: Final = "rank correlation of accuracy with the shortness of the code, positive = shorter code, more right answers"
FEWEST_POINTS: Final = 4
RANK_VARIANCE: Final = 1.06  # of a rank correlation on Fisher's scale, over n - 3 (Fieller, Hartley and Pearson 1957)


class Point(NamedTuple):
    """One model on one suite.

    Attributes:
        training: the suite and seed it was trained from, where it is a checkpoint; else the suite.
        model: its name.
        is_checkpoint: whether its step of training is known.
        shortness: negative mean bits of the right answers of one half of the sources.
        accuracy: share of right answers of the other half.
    """

    training: str
    model: str
    is_checkpoint: bool
    shortness: float
    accuracy: float


@analysis(QUESTION, order=6, title="Compression and generalisation", counted="models")
def generalisation(run: Run) -> list[Finding]:
    """Answer once for models and once for checkpoints, where there are enough of them."""
    found = points(run)
    several = [point for point in found if not point.is_checkpoint]
    along = [point for point in found if point.is_checkpoint]
    return [*_over_models(several), *_along_trainings(along)]


def points(run: Run) -> list[Point]:
    """Every model on every suite of which answers and their cost were recorded."""
    outcomes, runs, items = run.outcomes(), run.runs(), run.examples().astype({"example_id": str})
    if CODE not in set(outcomes["name"].astype(str)):
        return []
    second = _second_half(items)
    rows: list[Point] = []
    for (run_id, model, suite, spec, step), table in _by_run(outcomes, runs):
        known = set(table.loc[table["value"].notna(), "name"])  # of this run: others may have asked for other outcomes
        accuracy = next((name for name in ACCURACY if name in known), None)
        if accuracy is None or axis_of(spec, suite).name in TWO_QUESTIONS:
            continue
        half = table["example_id"].map(second)
        code = table.loc[(table["name"] == CODE) & ~half, "value"].mean()
        right = table.loc[(table["name"] == accuracy) & half, "value"].mean()
        if math.isfinite(code) and math.isfinite(right):
            rows.append(Point(suite, f"{model} {run_id}", step, -float(code) / math.log(2), float(right)))
    return rows


def _by_run(outcomes: pd.DataFrame, runs: pd.DataFrame) -> list[tuple[tuple[str, str, str, str, bool], pd.DataFrame]]:
    tables = {str(run_id): own for run_id, own in outcomes.astype({"run_id": str}).groupby("run_id")}
    columns = ("run_id", "model", "suite", "spec_json")
    return [
        ((run_id, model, suite, spec, not pd.isna(step)), tables[run_id])
        for run_id, model, suite, spec, step in zip(
            *(runs[name].astype(str) for name in columns), runs["step"], strict=True
        )
        if run_id in tables
    ]


def _second_half(items: pd.DataFrame) -> dict[str, bool]:
    """Every second source of a suite; items of one source lie in one half."""
    sources = items["cluster"].astype(str).where(items["cluster"].astype(str) != "", items["example_id"])
    keyed = items["suite"].astype(str) + "\n" + sources
    return dict(zip(items["example_id"], keyed.groupby(items["suite"].astype(str)).transform(_alternate), strict=True))


def _alternate(sources: pd.Series) -> pd.Series:
    return pd.Series(pd.factorize(sources)[0] % 2 == 1, index=sources.index)


def _over_models(found: list[Point]) -> list[Finding]:
    by_suite: dict[str, list[Point]] = {}
    for point in found:
        by_suite.setdefault(point.training, []).append(point)
    findings: list[Finding] = []
    for suite, own in by_suite.items():
        if len(own) >= FEWEST_TO_GENERALISE:
            value = _correlation(own)
            interval = fisher(value, len(own))
            p = p_of(value, interval)
            findings.append(_finding(suite, value, interval, p, own, n_draws=len(own), over="models"))
    return findings


def _along_trainings(found: list[Point]) -> list[Finding]:
    by_training: dict[str, list[Point]] = {}
    for point in found:
        by_training.setdefault(point.training, []).append(point)
    values = {
        name: value
        for name, own in by_training.items()
        if len(own) >= FEWEST_POINTS and math.isfinite(value := _correlation(own))
    }
    if len(values) < 2:
        return []
    mean, (low, high), p = average(np.array(list(values.values()), dtype=np.float64))
    interval = max(low, -1.0), min(high, 1.0)
    return [_finding(" + ".join(values), mean, interval, p, found, n_draws=len(values), over="seeds")]


def _correlation(own: list[Point]) -> float:
    shortness = np.array([point.shortness for point in own])
    accuracy: Float[np.ndarray, " models"] = np.array([point.accuracy for point in own])
    if not np.ptp(shortness) or not np.ptp(accuracy):
        return math.nan
    return float(stats.spearmanr(shortness, accuracy)[0])


def fisher(value: float, n: int) -> tuple[float, float]:
    """95 % interval of a rank correlation of n independent pairs; nothing where it is 1 or -1.

    >>> [round(bound, 2) for bound in fisher(0.8, 10)]
    [0.32, 0.95]
    """
    if not abs(value) < 1 or n <= 3:
        return math.nan, math.nan
    half = NORMAL_QUANTILE * math.sqrt(RANK_VARIANCE / (n - 3))
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def _finding(
    suite: str, value: float, interval: tuple[float, float], p: float, own: list[Point], *, n_draws: int, over: str
) -> Finding:
    few = n_draws < FEWEST_TO_GENERALISE
    marks = [Mark(shown(point.training), "", -point.shortness, point.accuracy, math.nan, math.nan) for point in own]
    marks.sort(key=lambda mark: (mark.series, mark.x))
    what = "models" if over == "models" else f"checkpoints of {n_draws} trainings"
    verdict = "described" if few else decide(value, interval, p) if over == "seeds" else judge(interval)
    few_said = " Too few trainings to generalise from." if few else ""
    return Finding(
        analysis="generalisation",
        question=QUESTION,
        scope=Scope(model="" if over == "seeds" else f"{len(own)} models", suite=suite, metric=CODE),
        primary=True,
        estimate=value,
        interval=interval,
        unit=UNIT,
        quantity="rank correlation",
        n=len(own),
        n_clusters=n_draws,
        generalises_over="models" if over == "models" else "seeds",
        test=None if few else Significance("Student's t over trainings" if over == "seeds" else "Fisher's", p, p),
        verdict=verdict,
        plot=Plot(
            "curve", "bits per token of the right answers of one half", "share right of the other half", tuple(marks)
        ),
        text=(
            f"Over {len(own)} {what}, models whose code is shorter on one half of the items answer more of the other "
            f"half by a rank correlation of {with_interval(value, interval)}.{few_said}"
        ),
    )
