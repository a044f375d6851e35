"""Context: the amount of irrelevant text around the relevant one, and the position of the relevant one in it.

The filler of an item is one stretch of neutral text, of which a longer context takes more; it is cut at words, so that
a level is exactly that many words. Length itself is the knob of ``context_length``; ``context_depth`` is its
length-matched companion: the same words at every level, the relevant text moved through them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from probes.errors import InputError
from probes.suites.question import Question
from probes.suites.shifts.shift_suite import Counts, Rung, Shift, Stock, distinct, first_slot, numbered, shift
from probes.vocabulary.axes import AXES, Axis

Share = Annotated[float, Field(ge=0, le=1)]


@shift("context_length")
class ContextLength(Shift):
    """The same question in contexts of more and more neutral words.

    Attributes:
        levels: words of filler.
        depth: share of the filler that comes before the relevant text.
        slot: the field that holds the relevant text; None takes the first one in the wording.
    """

    shift: Literal["context_length"]
    levels: Counts = (0, 100, 400, 1600)
    depth: Share = 0.5
    slot: str | None = None

    @model_validator(mode="after")
    def _length_is_the_knob(self) -> ContextLength:
        if self.matched:
            raise ValueError(
                "context_length changes the length, so it has no matched form; use context_depth for equal lengths"
            )
        return self

    def ruler(self) -> Axis:
        """Words of filler."""
        return AXES["context_words"]

    def rungs(self) -> tuple[Rung, ...]:
        """The lengths."""
        return numbered(self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question with so much filler."""
        return _surrounded(question, self.slot, int(rung.level), self.depth, draw, stock)


@shift("context_depth")
class ContextDepth(Shift):
    """The same question in the same neutral words, its relevant text at several depths.

    Attributes:
        levels: shares of the filler that come before the relevant text.
        words: words of filler.
        slot: the field that holds the relevant text; None takes the first one in the wording.
    """

    shift: Literal["context_depth"]
    levels: Annotated[tuple[Share, ...], Field(min_length=2), AfterValidator(distinct)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    words: int = Field(default=400, ge=1)
    slot: str | None = None

    def ruler(self) -> Axis:
        """Axis of the position of the relevant text; the farther from the end, the harder."""
        return AXES["depth"]

    def rungs(self) -> tuple[Rung, ...]:
        """The depths."""
        return numbered(self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question with its relevant text at this depth."""
        return _surrounded(question, self.slot, self.words, rung.level, draw, stock)


def _surrounded(
    question: Question, slot: str | None, n_words: int, depth: float, draw: np.random.Generator, stock: Stock
) -> Question:
    name = first_slot(question, slot)
    if not stock.filler:
        raise InputError(f"{question.place}: the filler holds no words")
    start = int(draw.integers(len(stock.filler)))
    words = [stock.filler[(start + offset) % len(stock.filler)] for offset in range(n_words)]
    before = round(depth * n_words)
    parts = [" ".join(words[:before]), question.slots[name], " ".join(words[before:])]
    return replace(question, slots={**question.slots, name: "\n".join(part for part in parts if part)})
