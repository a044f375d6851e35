"""Curriculum: do examples chosen by sparsity bring more right answers than examples chosen by what is obvious?

`sparsity curriculum` asks the same questions after examples that different arms chose. A gain is the difference of the
share of right answers between two arms on the same questions, averaged over pools.
Primary: the gain of matched levels of sparsity over matched levels of loss *and* over plain similarity, that is the
smaller of the two. Beside it every arm's gain over random examples, and comparisons that say what a gain is due to:
meaningless levels, reversed orders, the published rule as it was meant and as its code runs. All of them are one family
of tests (max-T). Accuracies, the curve over the number of examples, and the measures and layers that sparsity could be
read at are described.

Limits. Intervals generalise over questions and examples of these data (:mod:`analyses.statistics.crossed`). An arm that
shows every question the same examples has shown as many sets as there are pools, and its interval is as wide as that
deserves. Gains are about this model, prompt and number of examples. An oracle matches levels by the loss of the right
answer, which no rule can know; the best arm of each question is beyond what any rule among these could reach, and luck
is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from analyses.data.runs import Run
from analyses.findings.contrast import fresh
from analyses.findings.formatting import percent, shown, signed, with_interval
from analyses.findings.panel import FEWEST_ITEMS, POWER
from analyses.findings.record import (
    DETECTABLE,
    Effect,
    Finding,
    Mark,
    Plot,
    Significance,
    decide,
)
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.questions.compression_view.curriculum_answers import AXIS, NONE, Answers, read_answers, share_of
from analyses.statistics.crossed import Crossed, crossed_mean
from analyses.statistics.equivalence import minimum_detectable
from analyses.statistics.gains import Gains, paired_gains, smaller

QUESTION: Final = "Do examples chosen by sparsity bring more right answers than those chosen by loss or similarity?"
RANDOM, SPARSITY = "random", "sparsity"
REFERENCES: Final = ("loss", "similarity")
TEST: Final = "Student over questions and examples"
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


AT: Final = " at "  # between measure and site in the name of an arm


class Compared(NamedTuple):
    """Two arms, and which column of the gains they are."""

    arm: str
    reference: str


@analysis(QUESTION, order=5, title="Curriculum", counted="questions", headline=True)
def curriculum(run: Run) -> list[Finding]:
    """Answer for every model that was asked after examples of several arms."""
    return [finding for answers in read_answers(run) for finding in _findings(answers)]


def _findings(answers: Answers) -> list[Finding]:
    lacking = [arm for arm in (RANDOM, SPARSITY, *REFERENCES) if not answers.has(arm)]
    if not answers.arms or answers.n_clusters < FEWEST_ITEMS:
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
        pairs = [(answers.arms.index(one.arm), answers.arms.index(one.reference)) for one in compared]
        gains = paired_gains(answers.asked, pairs, rng=fresh())
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
    least = max(minimum_detectable(float(gains.error[one]), freedom=float(gains.freedom[one])) for one in columns)
    power = Effect(POWER, least, (math.nan, math.nan), key=DETECTABLE)
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
        test=Significance(f"{TEST}, better than both", both.p, math.nan),
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
        test=Significance(
            "Student over questions and examples", p, family, family, f"max-T over {n_tests} comparisons of arms"
        ),
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
    shares = [answers.share(arm) for arm in answers.arms]
    marks = tuple(
        Mark("", shown(_words(arm)), math.nan, *_told(one)) for arm, one in zip(answers.arms, shares, strict=True)
    )
    best = _of_best(answers)
    top = Effect("best arm of each question", best.mean, _told(best)[1:])
    order = sorted(range(len(shares)), key=lambda number: -shares[number].mean)
    said = ", ".join(f"{_words(answers.arms[number])} {_percent(shares[number])}" for number in order)
    return _finding(
        answers,
        group="accuracy",
        estimate=shares[answers.arms.index(SPARSITY)].mean if answers.has(SPARSITY) else math.nan,
        unit="share of right answers",
        quantity="share",
        effects=(top,),
        verdict="described",
        plot=Plot("forest", "share of right answers", "", marks),
        text=(
            f"Right answers by arm ({_behind(answers)}): {said}. The best arm of each question would give "
            f"{_percent(best)}, with luck in it."
        ),
    )


def _of_best(answers: Answers) -> Crossed:
    """Share of right answers if every question had the arm that is best for it over all pools; over questions alone."""
    times = np.bincount(answers.questions)
    means = [np.bincount(answers.questions, answers.column(arm)) / times for arm in answers.arms]
    _, first = np.unique(answers.questions, return_index=True)
    return crossed_mean(np.max(means, axis=0), [answers.asked.groups[0][first]], ())


def _over_k(answers: Answers) -> list[Finding]:
    """Accuracy against the number of examples, where there were several."""
    rows = answers.every[answers.every["arm"].isin(answers.arms)]
    if rows.loc[rows["arm"] != NONE, "k"].nunique() < 2:
        return []
    marks: list[Mark] = []
    for arm in (arm for arm in answers.arms if arm != NONE):
        for k, own in rows[(rows["arm"] == arm) | (rows["arm"] == NONE)].groupby("k"):
            share, n_questions = share_of(own)
            if n_questions >= FEWEST_ITEMS:
                marks.append(Mark(shown(_words(arm)), f"{k}", float(str(k)), *_told(share)))
    plot = Plot("curve", "solved examples before the question", "share of right answers", tuple(marks))
    text = "Right answers against the number of examples, by arm; without examples all arms are the same prompt."
    return [_finding(answers, group="number of examples", verdict="described", plot=plot, text=text)]


def _by_place(answers: Answers) -> list[Finding]:
    """Gain over random examples of matched levels of sparsity, by measure and layer."""
    scores = dict(zip(answers.every["arm"], answers.every["score"], strict=True))
    places = [arm for arm in answers.arms if AT in str(scores.get(arm)) or arm == SPARSITY]
    if len(places) < 2 or not answers.has(RANDOM):
        return []
    gains = [answers.gain(arm, RANDOM) for arm in places]
    names = [f"{arm} (pre-stated)" if arm == SPARSITY else arm for arm in places]
    marks = tuple(
        Mark("", shown(name), math.nan, one.mean, *one.interval) for name, one in zip(names, gains, strict=True)
    )
    least, most = (pick(one.mean for one in gains) for pick in (min, max))
    return [
        _finding(
            answers,
            group="measure and layer",
            estimate=most - least,
            unit="largest less smallest gain over random examples",
            verdict="described",
            plot=Plot("forest", "gain over random examples", "", marks, 0.0),
            text=(
                f"Gains of matched sparsity over random examples go from {signed(least)} to {signed(most)} over "
                f"{len(places)} measures and layers."
            ),
        )
    ]


def _finding(answers: Answers, *, group: str, **more: Any) -> Finding:  # noqa: ANN401  fields of a finding
    given: dict[str, Any] = {"unit": UNIT, "quantity": "difference of shares", "text": "", **more}
    return Finding(
        analysis=AXIS,
        question=QUESTION,
        scope=replace(answers.scope, group=group),
        n=answers.n_questions,
        n_clusters=answers.n_clusters,
        left_out=answers.left_out,
        **given,
    )


def _unanswered(answers: Answers, reason: str) -> Finding:
    return _finding(answers, group=SPARSITY, primary=True, verdict="undecided", text=f"Not answered: {reason}.")


def _told(share: Crossed) -> tuple[float, float, float]:
    """A share of right answers and its interval."""
    return share.mean, *share.share


def _percent(share: Crossed) -> str:
    value, low, high = _told(share)
    return percent(value, (low, high))


def _behind(answers: Answers) -> str:
    pools = f"{answers.n_pools} pools" if answers.n_pools != 1 else "one pool"
    of = f"{answers.n_examples:,} different examples in {pools}"
    return f"{answers.k} examples before each of {answers.n_questions:,} questions, {of}"


def _words(arm: str) -> str:
    """An arm as a sentence has it; a measure at a site keeps its name."""
    return "no examples" if arm == NONE else arm if AT in arm else arm.replace("_", " ")
