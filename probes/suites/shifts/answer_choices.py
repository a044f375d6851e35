"""The number of answer choices, and nothing else about the question.

Distractors are the item's own first, then answers to other questions of the same subject. None of them reads like the
right answer or like another distractor, more choices contain the fewer, and where the right one stands is drawn once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from probes.errors import InputError
from probes.suites.question import CHOICES, LETTERS, Question, same, slots_of
from probes.suites.shifts.shift_suite import Rung, Shift, Stock, distinct, numbered, scattered, shift, subject_of
from probes.vocabulary.axes import AXES, Axis

Number = Annotated[int, Field(ge=2, le=len(LETTERS))]


@shift("choice_count")
class ChoiceCount(Shift):
    """The same question with 2 to 20 (at most 26) choices.

    Items without choices of their own get the answers of other items as distractors.

    Attributes:
        levels: numbers of choices.
        prompt: a wording that names ``{choices}``; None takes that of the source, which then has to.
    """

    shift: Literal["choice_count"]
    levels: Annotated[tuple[Number, ...], Field(min_length=2), AfterValidator(distinct)] = (2, 4, 8, 16, 20)
    prompt: str | None = None

    def ruler(self) -> Axis:
        """The number of choices."""
        return AXES["options"]

    def rungs(self) -> tuple[Rung, ...]:
        """The numbers of choices."""
        return numbered(self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question with so many choices."""
        right = question.answer
        if right is None:
            raise InputError(f"{question.place}: choices need an answer; say which field holds it (answer: ...)")
        wanted = int(rung.level)
        where = int(draw.random() * wanted)
        found: dict[str, str] = {same(right): right}
        for candidate in _candidates(question, draw, stock):
            if len(found) == wanted:
                break
            found.setdefault(same(candidate), candidate)
        if len(found) < wanted:
            raise InputError(f"{question.place}: {wanted} choices asked for, but its pool has only {len(found)}")
        distractors = list(found.values())[1:]
        wording = self.prompt or question.wording
        if CHOICES not in slots_of(wording):
            raise InputError(f"suite {self.name!r}: the wording should name {{choices}} and reads {wording!r}")
        choices = (*distractors[:where], right, *distractors[where:])
        return replace(question, wording=wording, choices=choices, right=where)


def _candidates(question: Question, draw: np.random.Generator, stock: Stock) -> Iterator[str]:
    yield from scattered(question.choices, draw)
    yield from scattered(stock.answers[subject_of(question)], draw)
