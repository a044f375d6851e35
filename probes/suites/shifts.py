"""Paired shifts: the same item, one knob, so that what the item is about cancels.

Each shift takes a text and a generator and returns the shifted text. Word shuffling keeps every word and every length;
character noise keeps the length; random printable bytes keep nothing but the length.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Final

import numpy as np

from sparsity.registry import Registry

Shift = Callable[[str, np.random.Generator], str]

SHIFTS: Registry[Shift] = Registry("shift")

NOISE_RATE: Final = 0.15  # one character in seven: words stay guessable, few of them stay whole
PRINTABLE: Final = np.array(list(string.digits + string.ascii_letters + string.punctuation + " "))


def shift(function: Shift) -> Shift:
    """Register a paired shift under its own name."""
    SHIFTS.add(function.__name__, function)
    return function


@shift
def shuffled_words(text: str, rng: np.random.Generator) -> str:
    """The same words in random order, separated by single spaces.

    >>> sorted(shuffled_words("the cat sat", np.random.default_rng(0)).split())
    ['cat', 'sat', 'the']
    """
    words = np.array(text.split(), dtype=object)
    return " ".join(map(str, rng.permutation(words)))


@shift
def character_noise(text: str, rng: np.random.Generator) -> str:
    """Each character replaced by a random printable one with probability :data:`NOISE_RATE`; the length stays.

    >>> len(character_noise("the cat sat", np.random.default_rng(0)))
    11
    """
    hit = rng.random(len(text)) < NOISE_RATE
    noise = rng.choice(PRINTABLE, size=len(text))
    return "".join(str(noise[i]) if hit[i] else character for i, character in enumerate(text))


@shift
def random_bytes(text: str, rng: np.random.Generator) -> str:
    """Random printable ASCII, as many bytes as the text has in UTF-8.

    >>> len(random_bytes("naïve", np.random.default_rng(0)))
    6
    """
    return "".join(map(str, rng.choice(PRINTABLE, size=len(text.encode()))))
