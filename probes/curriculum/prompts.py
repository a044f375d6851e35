"""Prompts of every arm: the examples that it chooses for each question, in its order, and then the question.

A prompt is an item of a suite like any other, named ``<arm>/k<examples>/s<pool>/<question>``. Its attributes say which
arm it is and which examples it shows; its cluster is the question, because its prompts are not independent. All arms
write examples in the same words. What cannot be made (a question without this score, no candidate at all) is an item
with a fault, which the sweep records as a failure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from probes.curriculum.draws import Draw, solution, strangers
from probes.curriculum.levels import PublishedBins, cut_points, hardness, level_of
from probes.curriculum.policies import Candidates
from probes.curriculum.retrieval import Order, by_states, by_words, drawn, fixed
from probes.curriculum.scores import Score
from probes.curriculum.spec import Arm, CurriculumSpec
from probes.errors import InputError
from probes.models.joining import AUTO
from probes.suites.example import Example, Item, Suite
from probes.suites.question import LETTERS
from probes.vocabulary.axes import Axis
from probes.vocabulary.outcomes import BY_LETTER

NONE: Final = "none"
AXIS: Final = Axis(name="curriculum", unit="", kind="nominal", harder=None)
VERSION: Final = "1"


class Chosen(NamedTuple):
    """Examples that an arm shows for a question.

    Attributes:
        shown: places among the items of the draw, in the order of the prompt.
        level: level of the question; -1 where the arm knows no score.
        fault: why nothing can be shown; empty otherwise.
    """

    shown: tuple[int, ...] = ()
    level: int = -1
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chooser:
    """Everything that arms choose by.

    Attributes:
        draw: questions and pools.
        spec: the comparison.
        scores: by name.
        states: of every item of the draw; None where no arm retrieves by them.
    """

    draw: Draw
    spec: CurriculumSpec
    scores: Mapping[str, Score]
    states: Float[np.ndarray, "items width"] | None = None

    def order(self, arm: Arm, pool: int) -> Order:
        """Places in a pool, the first to be considered first, a row per question."""
        questions = [item.example_id for item in self.draw.items[: self.draw.n_questions]]
        own = self.draw.pools[pool]
        if arm.retrieval == "none":
            return drawn(questions, len(own), _seed(self.spec.seed, pool))
        if arm.retrieval == "fixed":
            return fixed(questions, len(own), _seed(self.spec.seed, pool))
        if arm.retrieval == "states":
            assert self.states is not None  # noqa: S101  read whenever an arm asks for them
            return by_states(self.states[: self.draw.n_questions], self.states[own])
        texts = [item.example.text for item in self.draw.items]
        return by_words(texts[: self.draw.n_questions], [texts[int(index)] for index in own])

    def choose(self, arm: Arm, pool: int) -> Iterator[Callable[[int], Chosen]]:
        """For every question: its choice, as a function of the number of examples."""
        own, order = self.draw.pools[pool], self.order(arm, pool)
        items = [self.draw.items[int(index)] for index in own]
        levels = None if arm.score is None else _levels(self.scores[arm.score], own, arm, self.spec.levels)
        for number, question in enumerate(self.draw.items[: self.draw.n_questions]):
            allowed = strangers(question, items)
            if levels is not None:
                allowed &= levels.of_pool >= 0
            near = np.array([index for index in order[number] if allowed[index]], dtype=np.int64)
            yield _chosen(arm, levels, number, near, own, self.spec.near)


class _Levels(NamedTuple):
    """Levels of a pool and of the questions under one score; -1 where there is none."""

    hardness: Float[np.ndarray, " pool"]
    of_pool: Int64[np.ndarray, " pool"]
    of_questions: Callable[[int], int]
    n: int


def _levels(score: Score, own: Int64[np.ndarray, " pool"], arm: Arm, n_levels: int) -> _Levels:
    """Cut a pool into levels.

    Raises:
        InputError: if no item of the pool has the score, or the published rule has fewer items than levels.
    """
    pool = score.values[own]
    try:
        if arm.rule.published:
            bins = PublishedBins.of(pool, score.harder, n_levels)

            def level(number: int) -> int:
                value = float(score.values[number])
                return bins.level(value) if np.isfinite(value) else -1

            return _Levels(hardness(pool, score.harder), bins.of_pool, level, n_levels)
        hard = hardness(pool, score.harder)
        cuts = cut_points(hard, n_levels)
    except InputError as error:
        raise InputError(f"arm {arm.name!r}: {error}") from None
    questions = level_of(hardness(score.values, score.harder), cuts)

    def own_level(number: int) -> int:
        return int(questions[number])

    return _Levels(hard, level_of(hard, cuts), own_level, len(cuts) + 1)


def _chosen(
    arm: Arm,
    levels: _Levels | None,
    number: int,
    near: Int64[np.ndarray, " near"],
    own: Int64[np.ndarray, " pool"],
    n_near: int,
) -> Callable[[int], Chosen]:
    level = -1 if levels is None else levels.of_questions(number)
    if levels is not None and level < 0:
        return lambda _: Chosen(fault=f"the question has no {arm.score}, by which arm {arm.name!r} chooses")
    candidates = Candidates(
        hardness=np.zeros(len(near)) if levels is None else levels.hardness[near].astype(np.float64),
        levels=np.zeros(len(near), dtype=np.int64) if levels is None else levels.of_pool[near],
        own=max(level, 0),
        n_levels=1 if levels is None else levels.n,
        near=n_near,
    )

    def choose(k: int) -> Chosen:
        if len(near) < k:
            return Chosen(fault=f"{k} examples asked for, and the pool has {len(near)} for arm {arm.name!r}")
        shown = arm.rule.choose(candidates, k)
        return Chosen(tuple(int(own[near[place]]) for place in shown), level)

    return choose


def _seed(seed: int, pool: int) -> int:
    """Chance of a pool's orders; pools of one seed have different ones, and so have those of another."""
    return int(np.random.SeedSequence([seed, pool]).generate_state(1)[0])


def grade_of(spec: CurriculumSpec, item: Item) -> str:
    """The outcome that says whether an answer is right."""
    if spec.grade != "auto":
        return spec.grade
    example = item.example
    if example.right is None:
        return "correct"
    lettered = not example.whole and example.target == LETTERS[example.right]
    return f"choice_correct{BY_LETTER if lettered else ''}"


def prompts(chooser: Chooser, arms: Sequence[Arm], *, chat: bool) -> Iterator[Example]:
    """Every prompt of a comparison: the questions without examples, then each arm, pool and number of examples.

    A prompt that another arm asks already is a repetition, which a sweep leaves out: its answer is known.
    """
    first: dict[str, str] = {}
    for example in _prompts(chooser, arms, chat=chat):
        earlier = first.setdefault(example.content_hash(), example.id)
        same = "" if earlier == example.id or example.fault else f"the same prompt is asked as {earlier}"
        yield replace(example, repeats=same)


def _prompts(chooser: Chooser, arms: Sequence[Arm], *, chat: bool) -> Iterator[Example]:
    draw, spec = chooser.draw, chooser.spec
    questions = draw.items[: draw.n_questions]
    for question in questions:
        yield _example(question, Chosen(), spec, draw, NONE, 0, 0, "", chat=chat)
    for arm in arms:
        for pool in range(len(draw.pools)):
            for number, (question, choose) in enumerate(zip(questions, chooser.choose(arm, pool), strict=True)):
                for k in spec.k if _asked_with(number, pool, spec) else ():
                    yield _example(question, choose(k), spec, draw, arm.name, k, pool, arm.score or "", chat=chat)


def _asked_with(question: int, pool: int, spec: CurriculumSpec) -> bool:
    """True where a question is asked with a pool: with as many as the spec says, in turn."""
    return (pool - question) % spec.seeds < (spec.pools_per_question or spec.seeds)


def _example(
    question: Item,
    chosen: Chosen,
    spec: CurriculumSpec,
    draw: Draw,
    arm: str,
    k: int,
    pool: int,
    score: str,
    *,
    chat: bool,
) -> Example:
    """A question after the examples that an arm chose."""
    asked = question.example
    shown = [draw.items[index] for index in chosen.shown]
    grade = grade_of(spec, question)
    fault = asked.fault or chosen.fault or _ungradable(asked, grade)
    attrs = {
        "arm": arm,
        "k": str(k),
        "pool": str(pool),
        "question": question.example_id,
        "score": score,
        "level": str(chosen.level),
        "shown": json.dumps([item.example_id for item in shown]),
        "grade": grade,
        "primary": str(int(k in (0, spec.k[0]))),
    }
    made = replace(
        asked,
        id=f"{arm}/k{k}/s{pool}/{question.example_id}",
        split="in",
        level=float("nan"),
        level_name=arm,
        cluster=asked.cluster or question.example_id,
        attrs=tuple(attrs.items()),
        fault=fault,
    )
    if chat:
        turns = [turn for item in shown for turn in (("user", item.example.text), ("assistant", solution(item) or ""))]
        return replace(made, before=(*turns, *asked.before))
    before = "".join(f"{_solved(item, spec.answer_prefix)}{spec.gap}" for item in shown)
    choices = tuple(f"{before}{choice}" for choice in asked.choices) if asked.whole else asked.choices
    return replace(made, text=f"{before}{asked.text}", choices=choices)


def _solved(item: Item, prefix: str) -> str:
    """An example as it is shown: text and answer as running text has them; of a minimal pair its right text."""
    answer, text = solution(item) or "", item.example.text
    if item.example.whole:
        return answer
    joint = prefix if prefix != AUTO else "" if text[-1:].isspace() or answer[:1].isspace() else " "
    return f"{text}{joint}{answer}"


def _ungradable(asked: Example, grade: str) -> str:
    """Reason for which an answer cannot be graded; empty where it can."""
    if grade == "correct":
        return "" if asked.target is not None else "the question has no answer to grade by"
    return "" if asked.right is not None else f"the question has no choices, which grade {grade} needs"


def suite_of(name: str, source: Suite) -> Suite:
    """The suite that the prompts of one model are items of."""
    return Suite(
        name=name,
        version=VERSION,
        axis=AXIS,
        generate=lambda _: (),
        description=f"questions of {source.name} after solved examples chosen by different arms",
        source=source.source,
    )
