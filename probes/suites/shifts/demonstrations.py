"""Solved examples before the question: how many, from the same source, more containing the fewer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np

from probes.errors import InputError
from probes.suites.question import Question
from probes.suites.shifts.shift_suite import Counts, Rung, Shift, Stock, numbered, scattered, shift
from probes.vocabulary.axes import AXES, Axis


@shift("demonstrations")
class Demonstrations(Shift):
    """The same question after 0 to 8 solved ones in the same wording; the nearest one is the same at every level.

    ``matched`` puts neutral text where the examples are missing, so that examples are told from mere text before.

    Attributes:
        levels: numbers of examples.
    """

    shift: Literal["demonstrations"]
    levels: Counts = (0, 1, 2, 4, 8)

    def ruler(self) -> Axis:
        """The number of examples; the fewer, the less familiar the task."""
        return AXES["demonstrations"]

    def rungs(self) -> tuple[Rung, ...]:
        """The numbers of examples."""
        return numbered(self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question after so many examples."""
        n_examples = int(rung.level)
        others = (other for other in scattered(stock.questions, draw) if _apart(question, other))
        solved = [_solved(other) for other in itertools.islice(others, n_examples)]
        if len(solved) < n_examples:
            raise InputError(f"{question.place}: {n_examples} examples asked for, but there are {len(solved)} others")
        return replace(
            question,
            wording="{examples}" + question.wording,
            slots={**question.slots, "examples": "".join(reversed(solved))},
        )


def _apart(question: Question, other: Question) -> bool:
    """True where an item says nothing about another: neither the same nor of its cluster."""
    return other.place != question.place and (not question.cluster or other.cluster != question.cluster)


def _solved(question: Question) -> str:
    expected = question.expected()
    if expected is None:
        raise InputError(f"{question.place}: an example needs an answer; say which field holds it (answer: ...)")
    text = question.text()
    gap = "" if text[-1:].isspace() or expected[:1].isspace() else " "
    return f"{text}{gap}{expected}\n\n"
