"""Generation: does sparsity move along what a model writes, and is it different where the answer will be wrong?

From the rows that the spec key ``generate`` writes, at the final norm (else the deepest site). *Along*: the mean over
items of the rank correlation of Hoyer with the number of tokens written so far, one text against itself, so neither its
length nor its prompt plays a part; the same for surprisal stands beside it. *Before an error*: the difference of mean
Hoyer between answers that are wrong and right, index by index among the written tokens and only where both kinds still
go on, so that length and position are matched. Intervals resample items. Texts that end early say nothing later on.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from analyses.data.panels import model_labels
from analyses.data.runs import Run
from analyses.findings.contrast import judge
from analyses.findings.formatting import signed, with_interval
from analyses.findings.panel import fresh
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from probes.vocabulary import names

QUESTION: Final = "Does sparsity move along what a model writes, and before an error?"
METRIC: Final = "hoyer"
RESAMPLES: Final = 1000
FEWEST: Final = 4  # items of each kind; tokens of a text
LEVELS: Final = (2.5, 97.5)

Table = Float[np.ndarray, "items steps"]


@analysis(QUESTION, order=12, title="Generation", counted="items")
def generation(run: Run) -> list[Finding]:
    """Answer for every model and suite whose items were gone on from."""
    rows = run.token_measurements(basis=names.GENERATED)
    if rows.empty or METRIC not in rows:
        return []
    runs = run.runs()
    labels = dict(zip(runs["run_id"].astype(str), model_labels(runs), strict=True))
    suites = dict(zip(runs["run_id"].astype(str), runs["suite"].astype(str), strict=True))
    rows = rows.assign(run_id=rows["run_id"].astype(str), example_id=rows["example_id"].astype(str))
    told, outcomes = run.familiarity_tokens(), run.outcomes()
    found: list[Finding] = []
    for run_id, own in rows.groupby("run_id", sort=False):
        is_deepest = (own["layer"] == own["layer"].max()) & (own["unit"] == -1)
        deepest = own.iloc[np.flatnonzero(is_deepest.to_numpy(bool))]
        if deepest.empty:
            continue
        hoyer = _table(deepest, METRIC)
        surprisal = _table(_of(told, str(run_id), "measure", names.SURPRISAL_WRITTEN), "value")
        graded = _of(outcomes, str(run_id), "name", names.WRITTEN_CORRECT)
        scope = Scope(
            model=labels[str(run_id)],
            suite=suites[str(run_id)],
            site=str(deepest["site"].iloc[0]),
            layer=int(deepest["layer"].iloc[0]),
            position=names.GENERATED,
            metric=METRIC,
        )
        found.append(_along(scope, hoyer, surprisal))
        right = dict(zip(graded["example_id"].astype(str), graded["value"].astype(float), strict=True))
        correct = np.array([right.get(name, math.nan) for name in hoyer.index])
        found.append(_before_errors(scope, hoyer.to_numpy(np.float64), correct))
    return found


def slopes(table: Table) -> Float[np.ndarray, " items"]:
    """Rank correlation of each row with its index; NaN for a row of fewer than four tokens, or of one value."""
    found = np.full(len(table), np.nan)
    for at, row in enumerate(table):
        known = row[np.isfinite(row)]
        if len(known) >= FEWEST and np.ptp(known) > 0:
            ranks: np.ndarray = np.asarray(rankdata(known), dtype=np.float64)
            found[at] = np.corrcoef(ranks, np.arange(len(known)))[0, 1]
    return found


def matched_difference(table: Table, wrong: np.ndarray, weights: np.ndarray) -> float:
    """Mean of wrong less right over the steps at which both kinds go on, each step weighing as its smaller kind."""
    known = np.isfinite(table)
    values = np.where(known, table, 0)
    one, other = weights * wrong, weights * ~wrong
    n_one, n_other = one @ known, other @ known
    both = (n_one > 0) & (n_other > 0)
    if not both.any():
        return math.nan
    gap = (one @ values)[both] / n_one[both] - (other @ values)[both] / n_other[both]
    return float(np.average(gap, weights=np.minimum(n_one, n_other)[both]))


def _of(rows: pd.DataFrame, run_id: str, column: str, name: str) -> pd.DataFrame:
    own = (rows["run_id"].astype(str) == run_id) & (rows[column].astype(str) == name)
    return rows.iloc[np.flatnonzero(own.to_numpy(bool))]


def _table(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Values by item and number of tokens written, counted from 0."""
    items = rows["example_id"].astype(str)
    step = rows["token"] - rows.groupby(items, sort=False)["token"].transform("min")
    return rows.assign(item=items, step=step).pivot_table(index="item", columns="step", values=value, observed=True)


def _interval(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, LEVELS).tolist() if len(known) else (math.nan, math.nan)
    return low, high


def _mean_of(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Mean over items that have a value, and its interval over resampled items."""
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return math.nan, (math.nan, math.nan)
    drawn = fresh().integers(len(known), size=(RESAMPLES, len(known)))
    return float(known.mean()), _interval(known[drawn].mean(axis=1))


def _along(scope: Scope, hoyer: pd.DataFrame, surprisal: pd.DataFrame) -> Finding:
    table = hoyer.to_numpy(np.float64)
    value, interval = _mean_of(slopes(table))
    beside, span = _mean_of(slopes(surprisal.to_numpy(np.float64)))
    n = int(np.isfinite(slopes(table)).sum())
    marks = _marks("all items", table)
    if not math.isfinite(value):
        text = f"Not answered: fewer than {FEWEST} items wrote {FEWEST} tokens."
    else:
        moves = "rises" if interval[0] > 0 else "falls" if interval[1] < 0 else "does not move significantly"
        text = (
            f"Hoyer sparsity at {scope.place} {moves} along what the model writes: rank correlation with the number of "
            f"tokens written {with_interval(value, interval)} (mean over {n} items); surprisal "
            f"{with_interval(beside, span)}."
        )
    return Finding(
        analysis="generation",
        question=QUESTION,
        scope=scope,
        primary=True,
        estimate=value,
        unit="rank correlation of Hoyer with the number of tokens written, mean over items",
        quantity="rank correlation",
        interval=interval,
        n=n,
        n_clusters=n,
        effects=(Effect("rank correlation of surprisal", beside, span),),
        verdict=judge(interval),
        text=text,
        plot=Plot("curve", "tokens written", "mean Hoyer sparsity of items that go on", marks),
    )


def _before_errors(scope: Scope, table: Table, correct: np.ndarray) -> Finding:
    graded = np.isfinite(correct)
    table, wrong = table[graded], correct[graded] == 0
    finding = Finding(
        analysis="generation",
        question=QUESTION,
        scope=scope,
        unit="difference of mean Hoyer, wrong less right, at equal numbers of tokens written",
        quantity="difference",
        n=len(table),
        n_clusters=len(table),
        text="",
    )
    n_wrong, n_right = int(wrong.sum()), int((~wrong).sum())
    if min(n_wrong, n_right) < FEWEST:
        why = f"{n_wrong} written answers are wrong and {n_right} right; {FEWEST} of each are needed"
        return replace(finding, text=f"Not answered before an error: {why}.")
    rng = fresh()
    value = matched_difference(table, wrong, np.ones(len(table)))
    drawn = [matched_difference(table, wrong, _within(rng, wrong)) for _ in range(RESAMPLES)]
    interval = _interval(np.array(drawn))
    differs = "sparser" if interval[0] > 0 else "denser" if interval[1] < 0 else "not significantly different"
    text = (
        f"States at {scope.place} are {differs} where the answer will be wrong: Hoyer {signed(value)} "
        f"[{signed(interval[0])}, {signed(interval[1])}] at equal numbers of tokens written ({n_wrong} wrong, "
        f"{n_right} right)."
    )
    marks = (*_marks("wrong", table[wrong]), *_marks("right", table[~wrong]))
    plot = Plot("curve", "tokens written", "mean Hoyer sparsity of items that go on", marks)
    return replace(finding, estimate=value, interval=interval, verdict=judge(interval), text=text, plot=plot)


def _within(rng: np.random.Generator, wrong: np.ndarray) -> np.ndarray:
    """Times that each item counts in a resample of the wrong and of the right ones."""
    weights = np.zeros(len(wrong))
    for kind in (wrong, ~wrong):
        own = np.flatnonzero(kind)
        weights[own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)))
    return weights


def _marks(series: str, table: Table) -> tuple[Mark, ...]:
    counts = np.isfinite(table).sum(axis=0)
    means = np.where(np.isfinite(table), table, 0).sum(axis=0) / np.maximum(counts, 1)
    return tuple(
        Mark(series, str(step), float(step), float(mean), math.nan, math.nan)
        for step, (mean, count) in enumerate(zip(means, counts, strict=True))
        if count >= FEWEST
    )
