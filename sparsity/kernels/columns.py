"""The shared sums of a whole batch, for formulas that look at nothing else.

Problem: arithmetic on a column of sums is cheap but never free; eight measures on every cache-sized block cost as much
as another logarithm of all its coordinates. Idea: most formulas are arithmetic on a few shared sums, so blocks are
walked for the sums alone, and each such formula runs once on the sums of all blocks put end to end. A formula that
looks at coordinates is found out by showing it sums only, once, on a probe.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from sparsity.kernels.arrays import Block, Column
from sparsity.kernels.vectors import Key, Vectors, degree


def block_of(key: Key) -> int:
    """Index of the float64 block that a sum reads: 0 ranked magnitudes, 2 magnitudes, 3 their squares.

    Sums that read one block are taken one after another, so that each block is made once. The peak comes while ranked
    magnitudes are there, which show it.
    """
    if key[0] in {"rank_sum", "whole_top_sum", "next_to_top"}:
        return 0
    if key[0] == "peak":
        return 1
    return 3 if key in {("sum", 4), ("typical_log_sum", 2)} else 2


class LooksAtCoordinatesError(Exception):
    """A formula asks for more than shared sums."""


class Columns(Vectors):
    """Shared sums of ``count`` vectors of ``width`` coordinates, taken over block by block."""

    def __init__(self, width: int, keys: Iterable[Key], count: int) -> None:
        self.fn = np
        self.width = width
        self.divided = False
        self._kept = {key: np.empty(count) for key in sorted(dict.fromkeys([*keys, ("peak",)]), key=block_of)}

    def take(self, part: slice, block: Vectors) -> None:
        """Take over the sums of one block."""
        block.spent = True
        for key, column in self._kept.items():
            column[part] = block.raw(key)
        block.spent = False

    def divide(self) -> None:
        """Divide all sums by the size of their vectors, once they are taken of vectors that were not divided."""
        exponent = self._exponent()
        for key, column in self._kept.items():
            if degree(key):
                np.ldexp(column, -degree(key) * exponent, out=column)
        self.divided = True

    def raw(self, key: Key) -> Column:
        """Give a sum that is held; nothing can be computed any more."""
        if key not in self._kept:
            raise LooksAtCoordinatesError(str(key))
        return self._kept[key]

    def once(self, key: Key, compute: Callable[[], Block]) -> Block:
        """Refuse a block, which is gone."""
        del compute
        raise LooksAtCoordinatesError(str(key))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- nothing is ever returned
        """Refuse the coordinates, which are gone."""
        raise LooksAtCoordinatesError(name)


@lru_cache(maxsize=1024)
def sums_of(kernel: Callable[..., Column], arguments: tuple[tuple[str, Any], ...]) -> tuple[Key, ...] | None:
    """The shared sums that a formula is arithmetic on; None for a formula that looks at coordinates itself."""
    with np.errstate(all="ignore"):
        probe = Vectors(np.ones((1, 8), np.float32))
        kernel(probe, **dict(arguments))
        sums = Columns(probe.width, probe.sums, 1)
        sums.take(slice(None), probe)
        try:
            kernel(sums, **dict(arguments))
        except LooksAtCoordinatesError:
            return None
    return sums.sums
