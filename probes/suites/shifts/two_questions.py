"""The question of an item, and one that the words alone answer, over the same text and the same choices.

Benchmarks of physics, space and cause (PIQA, tasks of BIG-Bench Hard) come without a control: what is hard about them
may be their words. Here every item with choices is asked two questions. One is its own; the other asks which of its
choices has a given word, which is there to be read. Text, choices and the number of words asked are the same, and the
place of the right answer to the second is drawn evenly. The question `limits` compares the two within items.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from probes.errors import InputError
from probes.suites.question import CHOICES, Question
from probes.suites.shifts.shift_suite import Rung, Shift, Stock, shift
from probes.vocabulary.axes import AXES, Axis

OF_WORDS, OF_WORLD = Rung("words", math.nan), Rung("world", math.nan)
ASKED: Final = {  # nine words each
    OF_WORDS.label: "Which of the answers above has the word {word}?",
    OF_WORLD.label: "Which of the answers above is the right one?",
}
WORDING: Final = "{stem}\n{choices}\nQuestion: {asked}\nAnswer:"
WORD: Final = re.compile(r"[^\W\d_]+")


@shift("two_questions")
class TwoQuestions(Shift):
    """The question of an item, and which of its choices has a given word.

    Attributes:
        about: what the questions are about: ``physical``, ``geometric`` or ``causal``, which is the axis.
    """

    shift: Literal["two_questions"]
    about: Literal["physical", "geometric", "causal"] = "physical"

    def ruler(self) -> Axis:
        """The axis of what is asked."""
        return AXES[self.about]

    def rungs(self) -> tuple[Rung, ...]:
        """About the words, and about the world."""
        return (OF_WORDS, OF_WORLD)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """One of the two questions; an item whose choices have no word of their own is a recorded failure."""
        del stock
        if len(question.choices) < 2:
            raise InputError(f"{question.place}: two questions need choices; say which field holds them (choices: ...)")
        found = _own_word(question.choices, draw)
        stem = replace(question, wording=question.wording.partition(f"{{{CHOICES}}}")[0]).text().strip()
        if found is None:
            fault = f"{question.place}: no choice has a word that the others lack, so no word can be asked for"
            return replace(question, wording="{stem}", slots={"stem": stem}, fault=fault)
        where, word = found
        slots = {"stem": stem, "asked": ASKED[rung.label].format(word=word)}
        right = where if rung == OF_WORDS else question.right
        return replace(question, wording=WORDING, slots=slots, right=right)


def _own_word(choices: tuple[str, ...], draw: np.random.Generator) -> tuple[int, str] | None:
    """A choice and a word of it that no other has, every choice that has one as likely."""
    words = [{word.casefold() for word in WORD.findall(choice)} for choice in choices]
    for where in map(int, draw.permutation(len(choices))):
        others = set[str]().union(*(own for number, own in enumerate(words) if number != where))
        only = sorted({word for word in WORD.findall(choices[where]) if word.casefold() not in others})
        if only:
            return where, only[int(draw.integers(len(only)))]
    return None
