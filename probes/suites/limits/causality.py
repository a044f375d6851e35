"""Causality: effects of what is held still in an intervention, against what the words say drives what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from probes.suites.example import Example, suite
from probes.suites.limits.stories import NAMES, Asked, Story, ask
from probes.vocabulary.axes import AXES

PARTS: Final = ("arm", "bell", "belt", "cart", "disc", "drum", "fan", "gear", "mill", "pump", "saw", "wheel")
CHOICES: Final = ("yes", "no")
LEVELS: Final = range(3, 7)


@suite(version=1, axis=AXES["causal"], source="made here")
def causality(rng: np.random.Generator) -> Iterator[Example]:
    """A machine of three to six drives: does one part drive another (words), does one move while one is held (causes).

    A part moves when the part that drives it moves, and stops when that one is held still; what drives the part that is
    held, and what hangs on other drives, goes on moving.
    """
    return ask(rng, tell, levels=LEVELS, n_choices=len(CHOICES), world="causes")


def tell(rng: np.random.Generator, level: int, of_words: int, of_world: int) -> Story | None:
    """A tree of parts told in any order; both answers are given, and no part that is asked about is the one held."""
    parts = [PARTS[int(index)] for index in rng.permutation(len(PARTS))[: level + 1]]
    driver = {part: parts[int(rng.integers(number))] for number, part in enumerate(parts) if number}
    held, asked = (str(part) for part in rng.choice(parts, size=2, replace=False))
    if (held in causes(driver, asked)) != (CHOICES[of_world] == "no"):
        return None
    child = str(rng.choice(list(driver)))
    pair = (driver[child], child) if CHOICES[of_words] == "yes" else (child, driver[child])
    told = [f"The {driver[part]} drives the {part}." for part in rng.permutation(list(driver))]
    who = NAMES[rng.integers(len(NAMES))]
    return Story(
        f"The {parts[0]} is moving. {' '.join(told)} {who} holds the {held} still.",
        CHOICES,
        Asked(f"Does the {pair[0]} drive the {pair[1]}?", of_words),
        Asked(f"Does the {asked} still move now?", of_world),
    )


def causes(driver: Mapping[str, str], part: str) -> list[str]:
    """Everything that a part is driven by, nearest first.

    >>> causes({"bell": "gear", "gear": "pump"}, "bell")
    ['gear', 'pump']
    """
    found: list[str] = []
    while part in driver:
        part = driver[part]
        found.append(part)
    return found
