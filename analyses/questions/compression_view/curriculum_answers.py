"""Answers of a comparison of ways to choose solved examples, as its questions are about them.

An answer belongs to a question, a pool and an arm, and was given after examples that other answers were given after
too. Examples of one cluster count as one, because they are not independent of each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.panels import model_labels
from analyses.data.runs import Run
from analyses.findings.record import LeftOut, Scope
from analyses.statistics.crossed import Crossed, Shown, Side, crossed_mean
from analyses.statistics.gains import Asked

AXIS: Final = "curriculum"
NONE: Final = "none"
FEWEST_ASKED: Final = 0.5  # of the prompts of the arm with most; an arm with fewer has only been begun
MOST_FAILED: Final = 0.2  # share of its prompts above which an arm is left out rather than the questions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Answers of one model after the examples of every arm, at the pre-stated number of examples.

    Attributes:
        scope: the model and suite.
        arms: arms that are compared, in the order of the comparison.
        asked: a row per question and pool, a column per arm.
        questions: of which question each row is.
        n_pools: pools.
        k: examples.
        every: all answers, also of other numbers of examples.
        left_out: questions and arms that are not compared, and why.
    """

    scope: Scope
    arms: tuple[str, ...]
    asked: Asked
    questions: Int[np.ndarray, " rows"]
    n_pools: int
    k: int
    every: pd.DataFrame
    left_out: tuple[LeftOut, ...]

    @property
    def n_questions(self) -> int:
        """Questions that were answered after the examples of every arm, in some pool."""
        return len(np.unique(self.questions))

    @property
    def n_clusters(self) -> int:
        """Independent questions."""
        return len(np.unique(self.asked.groups[0]))

    @property
    def n_examples(self) -> int:
        """Examples that were shown by any of the arms."""
        return len(np.unique(np.concatenate([own[own >= 0] for own in self.asked.shown]))) if self.arms else 0

    def has(self, *arms: str) -> bool:
        """True where these arms are compared."""
        return set(arms) <= set(self.arms)

    def column(self, arm: str) -> Float[np.ndarray, " rows"]:
        """The answers of one arm."""
        return self.asked.right[:, self.arms.index(arm)]

    def gain(self, arm: str, reference: str) -> Crossed:
        """Gain of one arm over another."""
        return self.asked.gain(self.arms.index(arm), self.arms.index(reference))

    def share(self, arm: str) -> Crossed:
        """Share of right answers after the examples of one arm."""
        return self.asked.share(self.arms.index(arm))


def read_answers(run: Run) -> list[Answers]:
    """The answers of every model of a comparison."""
    examples = run.examples()
    clusters = dict(zip(examples["example_id"].astype(str), examples["cluster"].astype(str), strict=True))
    examples = examples[examples["axis"].astype(str) == AXIS]
    if examples.empty:
        return []
    told = pd.DataFrame([json.loads(text) for text in examples["attrs"]]).astype({"k": int, "pool": int})
    for name in ("example_id", "suite", "cluster", "text"):
        told[name] = examples[name].astype(str).to_numpy()
    told["before"] = told["before"].fillna("") if "before" in told else ""
    told["codes"] = _coded(told["shown"], clusters)
    outcomes, runs, failures = run.outcomes(), run.runs(), run.failures()
    labels = dict(zip(runs["run_id"].astype(str), model_labels(runs), strict=True))
    found: list[Answers] = []
    for run_id, suite in zip(runs["run_id"].astype(str), runs["suite"].astype(str), strict=True):
        own = told[told["suite"] == suite]
        values = outcomes[outcomes["run_id"].astype(str) == run_id]
        if own.empty:
            continue
        values = values[["example_id", "name", "value"]].set_axis(["example_id", "grade", "right"], axis=1)
        values = values.astype({"example_id": str, "grade": str, "right": float})
        joined = own.merge(values, on=["example_id", "grade"], how="left")
        # a prompt that several arms would ask is asked once
        joined["right"] = joined.groupby(["question", "text", "before"], sort=False)["right"].transform("first")
        faults = failures[(failures["run_id"].astype(str) == run_id) & (failures["stage"] != "filter")]
        failed = joined["example_id"].isin(set(faults["example_id"].astype(str)))
        joined = joined[joined["right"].notna() | failed]  # a comparison may be read before all of it was asked
        if joined.empty:
            continue
        found.append(_answers(joined, Scope(model=str(labels[run_id]), suite=suite, axis=AXIS)))
    return found


def _coded(shown: Iterable[str], clusters: Mapping[str, str]) -> list[tuple[int, ...]]:
    """The examples of each prompt as numbers; examples of one cluster have the same."""
    numbers: dict[str, int] = {}
    return [
        tuple(numbers.setdefault(clusters.get(name, name), len(numbers)) for name in json.loads(text)) for text in shown
    ]


def _answers(rows: pd.DataFrame, scope: Scope) -> Answers:
    """Answers at the pre-stated number of examples, on questions that every compared arm was asked."""
    stated = rows[(rows["primary"] == "1")]
    asked = stated[stated["arm"] != NONE]
    pools = sorted(asked["pool"].unique())
    cells = pd.concat([asked, *(stated[stated["arm"] == NONE].assign(pool=pool) for pool in pools)])
    # without examples a pool changes nothing
    wide = cells.pivot_table(
        index=["cluster", "question", "pool"], columns="arm", values="right", sort=False, dropna=True, aggfunc="mean"
    )
    wide = wide.reindex(columns=list(dict.fromkeys(stated["arm"])))
    failed = stated["right"].isna().groupby(stated["arm"], sort=False)
    share, n_failed, n_asked = failed.mean(), failed.sum(), failed.size()
    begun = n_asked[[arm for arm in wide.columns if arm != NONE]].max() * FEWEST_ASKED
    arms = tuple(
        str(arm) for arm in wide.columns if share[arm] <= MOST_FAILED and (arm == NONE or n_asked[arm] >= begun)
    )
    left_out = [
        LeftOut(f"of arm {arm} could not be asked", int(n_failed[arm]))
        for arm in wide.columns
        if share[arm] > MOST_FAILED
    ]
    kept = wide[list(arms)].dropna()
    clusters, questions = (_numbered(kept.index.get_level_values(name)) for name in ("cluster", "question"))
    lost = asked["question"].nunique() - len(np.unique(questions))
    if lost:
        left_out.append(LeftOut("were not answered after the examples of every arm", lost))
    return Answers(
        scope=scope,
        arms=arms,
        asked=Asked(
            kept.to_numpy(np.float64).reshape(len(kept), len(arms)),
            _groups(clusters, questions),
            tuple(_shown(cells[cells["arm"] == arm], kept.index) for arm in arms),
        ),
        questions=questions,
        n_pools=len(pools),
        k=int(asked["k"].iloc[0]) if len(asked) else 0,
        every=rows,
        left_out=tuple(left_out),
    )


def _shown(rows: pd.DataFrame, index: pd.Index) -> Shown:
    """Examples of one arm, in the order of some rows."""
    told = rows.drop_duplicates(["cluster", "question", "pool"]).set_index(["cluster", "question", "pool"])["codes"]
    return laid_out(told.reindex(index))


def laid_out(codes: Iterable[tuple[int, ...]]) -> Shown:
    """Lists of examples as a rectangle, filled up at the beginning: the last stands right before the question.

    >>> laid_out([(1, 2), (), (3,)]).tolist()
    [[1, 2], [-1, -1], [-1, 3]]
    """
    every = list(codes)
    width = max((len(own) for own in every), default=0)
    return np.array([[-1] * (width - len(own)) + list(own) for own in every], dtype=np.int64).reshape(len(every), width)


def _numbered(names: pd.Index) -> Int[np.ndarray, " rows"]:
    return np.asarray(pd.factorize(names)[0], dtype=np.int64)


def _groups(
    clusters: Int[np.ndarray, " rows"], questions: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " rows"], ...]:
    """Clusters of questions, and the questions themselves where those are others."""
    same = len(np.unique(clusters)) == len(np.unique(questions))
    return (clusters,) if same else (clusters, questions)


def share_of(rows: pd.DataFrame) -> tuple[Crossed, int]:
    """Share of right answers of some prompts of one arm, and of how many questions."""
    own = rows.dropna(subset="right")
    clusters, questions = (_numbered(pd.Index(own[name])) for name in ("cluster", "question"))
    if not len(own):
        return Crossed(float("nan"), float("nan"), 1.0), 0
    side = Side(1.0, laid_out(own["codes"]))
    found = crossed_mean(own["right"].to_numpy(np.float64), _groups(clusters, questions), (side,))
    return found, len(np.unique(questions))
