"""Sums of two three-digit numbers, by the number of carries: difficulty at one length.

Every number has three digits, so prompts of all levels are equally long whatever the carries. Tokenizers that cut
numbers into digits and tokenizers that do not read them alike within a level; the ``_matched`` suite writes digits
apart, which nearly all tokenizers turn into one token each. No laboratory model is taught sums: these are for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from probes.suites.example import Example, paired_suites
from probes.vocabulary.axes import AXES

PER_LEVEL: Final = 200
LEVELS: Final = (0, 1, 2)
CARRIES: Final = AXES["carries"]


@paired_suites(
    version=1,
    axis=CARRIES,
    source="made here",
    matched="The same with digits written apart, so that a tokenizer cannot give one sum more tokens than another.",
)
def lab_addition(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """Sums of two three-digit numbers that stay below 1,000, with 0, 1 or 2 carries."""
    seen: dict[int, set[tuple[int, int]]] = {level: set() for level in LEVELS}
    while any(len(found) < PER_LEVEL for found in seen.values()):
        first, second = (int(number) for number in rng.integers(100, 900, size=2))
        found = seen[level] if (level := carries(first, second)) in seen and first + second < 1000 else None
        if found is None or len(found) == PER_LEVEL or (first, second) in found:
            continue
        found.add((first, second))
        written = [" ".join(str(number)) if matched else str(number) for number in (first, second, first + second)]
        yield Example(
            id=f"{level}-{len(found) - 1:04d}",
            text=f"{written[0]} + {written[1]} =",
            target=written[2],
            split="in" if level == 0 else "shifted",
            level=float(level),
            level_name=str(level),
        )


def carries(first: int, second: int) -> int:
    """Count the carries in adding two numbers digit by digit.

    >>> carries(111, 222), carries(118, 222), carries(198, 202)
    (0, 1, 2)
    """
    count, carry = 0, 0
    while first or second:
        carry = int(first % 10 + second % 10 + carry > 9)
        count += carry
        first, second = first // 10, second // 10
    return count
