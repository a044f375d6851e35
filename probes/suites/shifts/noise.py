"""Noise in the text of an item, at several rates.

Each kind keeps something, so that kinds can be told apart: swaps keep all characters, case keeps all letters, word
order keeps all words, replaced characters and typos keep the length in characters. None keeps the number of tokens
(damaged words fall into more of them), which is what ``matched`` is for.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AfterValidator, Field

from probes.suites.question import Question
from probes.suites.shifts.shift_suite import Rung, Shift, Stock, distinct, first_slot, numbered, shift
from probes.vocabulary.axes import AXES, Axis

PRINTABLE: Final = np.array(list(string.digits + string.ascii_letters + string.punctuation + " "))
KEYBOARD: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS: Final = {
    key: (row[index - 1] if index else row[1], row[index + 1] if index + 1 < len(row) else row[-2])
    for row in KEYBOARD
    for index, key in enumerate(row)
}
WORD: Final = re.compile(r"\S+")

Noise = Callable[[str, float, np.random.Generator], str]


def character_noise(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each character replaced by a random printable one with probability ``rate``; the length stays.

    >>> len(character_noise("the cat sat", 0.5, np.random.default_rng(0)))
    11
    """
    hit = rng.random(len(text)) < rate
    drawn = rng.choice(PRINTABLE, size=len(text))
    noisy = list(text)
    for index in np.flatnonzero(hit):
        noisy[index] = str(drawn[index])
    return "".join(noisy)


def typos(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each letter replaced by its neighbour on the keyboard with probability ``rate``; length and case stay.

    >>> typos("Gas", 1.0, np.random.default_rng(0))
    'Fsa'
    """
    hit = rng.random(len(text)) < rate
    side = rng.integers(2, size=len(text))
    typed = list(text)
    for index in np.flatnonzero(hit):
        beside = NEIGHBOURS.get(text[index].lower())
        if beside is not None:
            key = beside[int(side[index])]
            typed[index] = key.upper() if text[index].isupper() else key
    return "".join(typed)


def casing(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each letter's case turned with probability ``rate``; the letters stay.

    >>> casing("Paris", 1.0, np.random.default_rng(0))
    'pARIS'
    """
    hit = rng.random(len(text)) < rate
    turned = list(text)
    for index in np.flatnonzero(hit):
        other = text[index].swapcase()
        if other.swapcase() == text[index]:  # a few letters have no single counterpart: eszett becomes two
            turned[index] = other
    return "".join(turned)


def character_swap(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each pair of neighbouring letters or digits swapped with probability ``rate``; the characters stay.

    >>> character_swap("abcd", 1.0, np.random.default_rng(0))
    'badc'
    """
    hit = rng.random(len(text)) < rate
    swapped = list(text)
    index = 0
    while index + 1 < len(swapped):
        if hit[index] and swapped[index].isalnum() and swapped[index + 1].isalnum():
            swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
            index += 1
        index += 1
    return "".join(swapped)


def word_order(text: str, rate: float, rng: np.random.Generator) -> str:
    """A share ``rate`` of the words put into each other's places; words and white space stay.

    >>> word_order("one two", 1.0, np.random.default_rng(0))
    'two one'
    """
    words = WORD.findall(text)
    chosen = rng.permutation(len(words))[: round(rate * len(words))]
    moved = list(words)
    for place, taken in zip(chosen, np.roll(chosen, 1), strict=True):
        moved[place] = words[taken]
    left = iter(moved)
    return WORD.sub(lambda _: next(left), text)


def shuffled_words(text: str, rng: np.random.Generator) -> str:
    """The same words in random order, separated by single spaces.

    >>> sorted(shuffled_words("the cat sat", np.random.default_rng(0)).split())
    ['cat', 'sat', 'the']
    """
    words = np.array(text.split(), dtype=object)
    return " ".join(map(str, rng.permutation(words)))


def random_bytes(text: str, rng: np.random.Generator) -> str:
    """Random printable ASCII, as many bytes as the text has in UTF-8.

    >>> len(random_bytes("naïve", np.random.default_rng(0)))
    6
    """
    return "".join(map(str, rng.choice(PRINTABLE, size=len(text.encode()))))


NOISES: Final[dict[str, tuple[Noise, str]]] = {
    "typos": (typos, "share of letters"),
    "casing": (casing, "share of letters"),
    "character_swap": (character_swap, "share of neighbouring letters"),
    "character_noise": (character_noise, "share of characters"),
    "word_order": (word_order, "share of words"),
}

Rate = Annotated[float, Field(ge=0, le=1)]


@shift(*NOISES)
class NoiseShift(Shift):
    """One kind of noise at several rates: typos, casing, character_swap, character_noise or word_order.

    Attributes:
        levels: rates from 0 to 1.
        slot: the field that gets noisy; None takes the first one in the wording, so that instruction and choices stay.
    """

    shift: Literal["typos", "casing", "character_swap", "character_noise", "word_order"]
    levels: Annotated[tuple[Rate, ...], Field(min_length=2), AfterValidator(distinct)] = (0.0, 0.05, 0.15, 0.3)
    slot: str | None = None

    def ruler(self) -> Axis:
        """The rate, as the kind of noise counts it."""
        return AXES[self.shift]

    def rungs(self) -> tuple[Rung, ...]:
        """The rates."""
        return numbered(self.levels)

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The item with noise in one slot."""
        del stock
        slot = first_slot(question, self.slot)
        noisy = NOISES[self.shift][0](question.slots[slot], rung.level, draw)
        return replace(question, slots={**question.slots, slot: noisy})
