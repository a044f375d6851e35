"""Instructions around a question: their wording, and their language where parallel texts exist.

Published effects of difficulty are several times smaller than those of wording, so wording is a factor to cross with,
not a detail to fix.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from probes.suites.question import Question, slots_of
from probes.suites.shifts.shift_suite import Rung, Shift, Stock, shift
from probes.vocabulary.axes import AXES, Axis

ITSELF: Final = "prompt"
PLAIN: Final = MappingProxyType(
    {
        "bare": "{prompt}",
        "asked": "Answer the following question.\n\n{prompt}",
        "tutor": "You are a careful tutor. Read the problem and give the final answer.\n\n{prompt}",
        "exam": "This is an exam. Write down the answer and nothing else.\n\n{prompt}",
        "casual": "Hey, quick one for you!\n\n{prompt}",
    }
)

Wordings = Annotated[dict[str, str], Field(min_length=2)]


@shift("wording", "language")
class WordingShift(Shift):
    """The same question in several wordings, or with ``language`` from several fields with parallel texts.

    Attributes:
        levels: label -> wording, with any field of the item in braces; ``{prompt}`` is the wording of the source. A
            wording without braces is the name of a field. The first level is home: what the others are shifts from.
    """

    shift: Literal["wording", "language"]
    levels: Wordings = Field(default_factory=lambda: dict(PLAIN))

    def ruler(self) -> Axis:
        """Wordings and languages have no order."""
        return AXES[self.shift]

    def rungs(self) -> tuple[Rung, ...]:
        """The labels."""
        return tuple(Rung(label, float("nan")) for label in self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question in this wording."""
        del draw, stock
        wording = self.levels[rung.label]
        if not slots_of(wording):
            return replace(question, wording=f"{{{wording}}}")
        if "{" + ITSELF + "}" in wording:
            wording = wording.replace("{" + ITSELF + "}", question.wording)
        return replace(question, wording=wording)
