"""Curriculum: do examples chosen by sparsity bring more right answers than examples chosen by what is obvious?

`sparsity curriculum` asks the same questions after examples that different arms chose. A gain is the difference of the
share of right answers between two arms on the same questions, averaged over pools; questions are what is resampled.
Primary: the gain of matched levels of sparsity over matched levels of loss *and* over plain similarity, that is the
smaller of the two. Beside it every arm's gain over random examples, and comparisons that say what a gain is due to:
meaningless levels, reversed orders, the published rule as it was meant and as its code runs. All of them are one family
of tests (max-T). Accuracies, the curve over the number of examples, and the measures and layers that sparsity could be
read at are described.

Limits. Pools are few, and the interval generalises over questions, given the pools. Gains are about this model, prompt
and number of examples. An oracle matches levels by the loss of the right answer, which no rule can know; the best arm
of each question is beyond what any rule among these could reach, and luck is in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.panels import model_labels
from analyses.data.runs import Run
from analyses.findings.contrast import fresh
from analyses.findings.formatting import percent, shown, signed, with_interval
from analyses.findings.panel import FEWEST_ITEMS, POWER
from analyses.findings.record import (
    DETECTABLE,
    Effect,
    Finding,
    LeftOut,
    Mark,
    Plot,
    Scope,
    Significance,
    decide,
)
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.statistics.equivalence import minimum_detectable
from analyses.statistics.gains import Gains, paired_gains, smaller
from analyses.statistics.groups import Means, cluster_means
from analyses.statistics.trend import RESAMPLES

QUESTION: Final = "Do examples chosen by sparsity bring more right answers than those chosen by loss or similarity?"
AXIS: Final = "curriculum"
NONE, RANDOM, SPARSITY = "none", "random", "sparsity"
REFERENCES: Final = ("loss", "similarity")
FEWEST_ASKED: Final = 0.5  # of the prompts of the arm with most; an arm with fewer has only been begun
MOST_FAILED: Final = 0.2  # share of its prompts above which an arm is left out rather than the questions
UNIT: Final = "difference of the shares of right answers, positive = more right answers"
PAIRS: Final = (
    (SPARSITY, "loss"),
    (SPARSITY, "similarity"),
    (SPARSITY, "shuffled"),
    ("similarity", "similarity_reversed"),
    ("sparsity_easy_to_hard", "sparsity_hard_to_easy"),
    ("difficulty_easy_to_hard", "difficulty_hard_to_easy"),
    ("sparsity_paper", "sparsity_paper_as_run"),
)
"""What is compared beside every arm with random examples: the first of each is meant to be better."""
CLAIMS: Final = (
    "Examples matched by sparsity bring more right answers than those matched by loss and than similar ones",
    "Examples matched by sparsity bring fewer right answers than those matched by loss or than similar ones",
    "It is undecided whether examples matched by sparsity beat those matched by loss and similar ones",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Answers of one model after the examples of every arm, at the pre-stated number of examples.

    Attributes:
        scope: the model and suite.
        arms: arms that are compared, in the order of the comparison.
        right: share of right answers over pools, a row per question.
        clusters: which questions belong together.
        n_pools: pools.
        k: examples.
        every: all answers, also of other numbers of examples.
        left_out: questions and arms that are not compared, and why.
    """

    scope: Scope
    arms: tuple[str, ...]
    right: Float[np.ndarray, "questions arms"]
    clusters: Int[np.ndarray, " questions"]
    n_pools: int
    k: int
    every: pd.DataFrame
    left_out: tuple[LeftOut, ...]

    def column(self, arm: str) -> Float[np.ndarray, " questions"]:
        """The answers of one arm."""
        return self.right[:, self.arms.index(arm)]

    def has(self, *arms: str) -> bool:
        """True where these arms are compared."""
        return set(arms) <= set(self.arms)


class Compared(NamedTuple):
    """Two arms, and which column of the gains they are."""

    arm: str
    reference: str


@analysis(QUESTION, order=5, title="Curriculum", counted="questions", headline=True)
def curriculum(run: Run) -> list[Finding]:
    """Answer for every model that was asked after examples of several arms."""
    return [finding for answers in read_answers(run) for finding in _findings(answers)]


def read_answers(run: Run) -> list[Answers]:
    """The answers of every model of a comparison."""
    examples = run.examples()
    examples = examples[examples["axis"].astype(str) == AXIS]
    if examples.empty:
        return []
    told = pd.DataFrame([json.loads(text) for text in examples["attrs"]]).astype({"k": int, "pool": int})
    for name in ("example_id", "suite", "cluster", "text"):
        told[name] = examples[name].astype(str).to_numpy()
    told["before"] = told["before"].fillna("") if "before" in told else ""
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


def _answers(rows: pd.DataFrame, scope: Scope) -> Answers:
    """Answers at the pre-stated number of examples, on questions that every compared arm was asked."""
    stated = rows[(rows["primary"] == "1")]
    zero, asked = stated[stated["arm"] == NONE], stated[stated["arm"] != NONE]
    pools = sorted(asked["pool"].unique())
    cells = [asked, *(zero.assign(pool=pool) for pool in pools)]  # without examples a pool changes nothing
    wide = pd.concat(cells).pivot_table(
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
    questions = kept.groupby(level=["cluster", "question"], sort=False).mean()
    lost = asked["question"].nunique() - len(questions)
    if lost:
        left_out.append(LeftOut("were not answered after the examples of every arm", lost))
    codes = pd.factorize(questions.index.get_level_values("cluster"))[0] if len(questions) else np.zeros(0)
    return Answers(
        scope=scope,
        arms=arms,
        right=questions.to_numpy(np.float64).reshape(len(questions), len(arms)),
        clusters=np.asarray(codes, dtype=np.int64),
        n_pools=len(pools),
        k=int(asked["k"].iloc[0]) if len(asked) else 0,
        every=rows,
        left_out=tuple(left_out),
    )


def _findings(answers: Answers) -> list[Finding]:
    lacking = [arm for arm in (RANDOM, SPARSITY, *REFERENCES) if not answers.has(arm)]
    if not answers.arms or len(np.unique(answers.clusters)) < FEWEST_ITEMS:
        return [
            _unanswered(answers, f"fewer than {FEWEST_ITEMS} questions were answered after the examples of every arm")
        ]
    found: list[Finding] = []
    if lacking:
        found.append(
            _unanswered(answers, f"it needs the arms random, sparsity, loss and similarity; {lacking[0]} lacks")
        )
    compared = _compared(answers)
    if compared:
        differences = np.column_stack([answers.column(one.arm) - answers.column(one.reference) for one in compared])
        gains = paired_gains(differences, answers.clusters, rng=fresh())
        if not lacking:
            found.append(_primary(answers, compared, gains))
        found += [_secondary(answers, one, gains, number, len(compared)) for number, one in enumerate(compared)]
    found.append(_accuracies(answers))
    return [*found, *_over_k(answers), *_by_place(answers)]


def _compared(answers: Answers) -> list[Compared]:
    """Every arm with random examples, and the pairs whose arms are both there."""
    arms = [arm for arm in answers.arms if arm != RANDOM]
    over_random = [Compared(arm, RANDOM) for arm in arms] if answers.has(RANDOM) else []
    return [*over_random, *(Compared(*pair) for pair in PAIRS if answers.has(*pair))]


def _primary(answers: Answers, compared: Sequence[Compared], gains: Gains) -> Finding:
    """Sparsity better than loss and than similarity."""
    columns = [compared.index(Compared(SPARSITY, reference)) for reference in REFERENCES]
    both = smaller(gains, (columns[0], columns[1]))
    error = float(gains.error[columns].max())
    power = Effect(POWER, minimum_detectable(error), (math.nan, math.nan), key=DETECTABLE)
    parts = [
        Effect(f"over {reference}", float(gains.value[column]), gains.interval(column), of=reference)
        for reference, column in zip(REFERENCES, columns, strict=True)
    ]
    finding = _finding(
        answers,
        group=SPARSITY,
        primary=True,
        estimate=both.value,
        interval=(both.low, both.high),
        test=Significance("sign flips of questions, better than both", both.p, math.nan),
        effects=(*parts, power),
        verdict=decide(both.value, (both.low, both.high), both.p),
        plot=Plot("forest", "gain over random examples", "", _over_random(compared, gains), 0.0),
    )
    said = " and ".join(f"{with_interval(part.estimate, part.interval)} over {part.of}" for part in parts)
    return replace(
        finding,
        text=(
            f"{claim_of(finding, CLAIMS)}: {said} ({_behind(answers)}). With 80 % power "
            f"{signed(power.estimate).replace('+', '')} is detected."
        ),
    )


def _over_random(compared: Sequence[Compared], gains: Gains) -> tuple[Mark, ...]:
    """The gain of every arm over random examples, on the same questions."""
    return tuple(
        Mark("", shown(_words(one.arm)), math.nan, float(gains.value[column]), *gains.interval(column))
        for column, one in enumerate(compared)
        if one.reference == RANDOM
    )


def _secondary(answers: Answers, one: Compared, gains: Gains, number: int, n_tests: int) -> Finding:
    value, interval = float(gains.value[number]), gains.interval(number)
    p, family = float(gains.p[number]), float(gains.p_family[number])
    finding = _finding(
        answers,
        group=f"{one.arm} over {one.reference}",
        estimate=value,
        interval=interval,
        test=Significance("sign flips of questions", p, family, family, f"max-T over {n_tests} comparisons of arms"),
        effects=(Effect("gain", value, interval, key=one.reference, of=one.arm),),
        verdict=decide(value, interval, family),
    )
    arm, reference = (_words(name) for name in one)
    claims = (
        f"More right answers with {arm} than with {reference}",
        f"Fewer right answers with {arm} than with {reference}",
        f"No significant difference between {arm} and {reference}",
    )
    settled = replace(
        finding,
        verdict={1: "significantly positive", -1: "significantly negative"}.get(finding.side, "not significant"),
    )
    return replace(settled, text=f"{claim_of(settled, claims)}: {with_interval(value, interval)} ({_behind(answers)}).")


def _accuracies(answers: Answers) -> Finding:
    """Accuracy of every arm, and of the best arm of each question."""
    means = _share(_means(answers.right, answers.clusters))
    best = _share(_means(answers.right.max(axis=1, keepdims=True), answers.clusters))
    marks = tuple(_mark(shown(_words(arm)), means, column) for column, arm in enumerate(answers.arms))
    top = Effect("best arm of each question", *_told(best, 0))
    order = [int(column) for column in np.argsort(-means.mean, kind="stable")]
    said = ", ".join(f"{_words(answers.arms[column])} {percent(*_told(means, column))}" for column in order)
    return _finding(
        answers,
        group="accuracy",
        estimate=float(means.mean[answers.arms.index(SPARSITY)]) if answers.has(SPARSITY) else math.nan,
        unit="share of right answers",
        quantity="share",
        effects=(top,),
        verdict="described",
        plot=Plot("forest", "share of right answers", "", marks),
        text=(
            f"Right answers by arm ({_behind(answers)}): {said}. The best arm of each question would give "
            f"{percent(top.estimate, top.interval)}, with luck in it."
        ),
    )


def _over_k(answers: Answers) -> list[Finding]:
    """Accuracy against the number of examples, where there were several."""
    rows = answers.every[answers.every["arm"].isin(answers.arms)]
    if rows.loc[rows["arm"] != NONE, "k"].nunique() < 2:
        return []
    marks: list[Mark] = []
    for arm in (arm for arm in answers.arms if arm != NONE):
        for k, own in rows[(rows["arm"] == arm) | (rows["arm"] == NONE)].groupby("k"):
            right = own.dropna(subset="right").groupby(["cluster", "question"], sort=False)["right"].mean()
            if len(right) >= FEWEST_ITEMS:
                codes = np.asarray(pd.factorize(right.index.get_level_values("cluster"))[0], dtype=np.int64)
                means = _share(_means(right.to_numpy(np.float64)[:, None], codes))
                value, (low, high) = _told(means, 0)
                marks.append(Mark(shown(_words(arm)), f"{k}", float(str(k)), value, low, high))
    plot = Plot("curve", "solved examples before the question", "share of right answers", tuple(marks))
    text = "Right answers against the number of examples, by arm; without examples all arms are the same prompt."
    return [_finding(answers, group="number of examples", verdict="described", plot=plot, text=text)]


def _by_place(answers: Answers) -> list[Finding]:
    """Gain over random examples of matched levels of sparsity, by measure and layer."""
    scores = dict(zip(answers.every["arm"], answers.every["score"], strict=True))
    places = [arm for arm in answers.arms if " at " in str(scores.get(arm)) or arm == SPARSITY]
    if len(places) < 2 or not answers.has(RANDOM):
        return []
    differences = np.column_stack([answers.column(arm) - answers.column(RANDOM) for arm in places])
    means = _means(differences, answers.clusters)
    names = [f"{arm} (pre-stated)" if arm == SPARSITY else arm for arm in places]
    marks = tuple(_mark(shown(name), means, column) for column, name in enumerate(names))
    spread = float(means.mean.max() - means.mean.min())
    return [
        _finding(
            answers,
            group="measure and layer",
            estimate=spread,
            unit="largest less smallest gain over random examples",
            verdict="described",
            plot=Plot("forest", "gain over random examples", "", marks, 0.0),
            text=(
                f"Gains of matched sparsity over random examples go from {signed(float(means.mean.min()))} to "
                f"{signed(float(means.mean.max()))} over {len(places)} measures and layers."
            ),
        )
    ]


def _finding(answers: Answers, *, group: str, **more: Any) -> Finding:  # noqa: ANN401  fields of a finding
    given: dict[str, Any] = {"unit": UNIT, "quantity": "difference of shares", "text": "", **more}
    return Finding(
        analysis=AXIS,
        question=QUESTION,
        scope=replace(answers.scope, group=group),
        n=len(answers.right),
        n_clusters=len(np.unique(answers.clusters)),
        left_out=answers.left_out,
        **given,
    )


def _unanswered(answers: Answers, reason: str) -> Finding:
    return _finding(answers, group=SPARSITY, primary=True, verdict="undecided", text=f"Not answered: {reason}.")


def _means(values: Float[np.ndarray, "n columns"], clusters: Int[np.ndarray, " n"]) -> Means:
    return cluster_means(values, clusters, resamples=RESAMPLES, rng=fresh())


def _told(means: Means, column: int) -> tuple[float, tuple[float, float]]:
    return float(means.mean[column]), (float(means.low[column]), float(means.high[column]))


def _share(means: Means) -> Means:
    """Means of shares, whose intervals end where shares do."""
    return means._replace(low=np.clip(means.low, 0.0, 1.0), high=np.clip(means.high, 0.0, 1.0))


def _mark(name: str, means: Means, column: int) -> Mark:
    value, (low, high) = _told(means, column)
    return Mark("", name, math.nan, value, low, high)


def _behind(answers: Answers) -> str:
    pools = f"{answers.n_pools} pools" if answers.n_pools != 1 else "one pool"
    return f"{answers.k} examples, {len(answers.right):,} questions, {pools}"


def _words(arm: str) -> str:
    """An arm as a sentence has it."""
    return "no examples" if arm == NONE else arm.replace("_", " ")
