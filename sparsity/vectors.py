"""A block of vectors and the sums that the measures share.

Problem: a dozen measures of one vector need the same few things: its magnitudes free of scale, their sums of powers,
their logarithms, their order. Computing each measure alone pays for them again and again; a hand-fused loop hides the
formulas. Idea: a block computes each shared quantity at most once, when a formula first asks, so that a measure alone
and the same measure among others run the same operations on the same numbers and agree to the last bit.

Scale-free form: every vector is divided by the power of two next above its largest magnitude, so the magnitudes lie
in (0, 1], nothing overflows in a square or a fourth power, and multiplying the input by a power of two changes no bit
of the result. Products are accumulated by the BLAS in the working precision over at most ``SEGMENT`` coordinates and
the segments are added in float64; a row's result does not depend on the rows beside it or on the number of threads.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsity.arrays import Block, Column, Floats, Number

# OpenBLAS splits longer dot products over threads, which would make a result depend on their number.
SEGMENT = 4096

# A shared sum by the name of its method and the arguments, so that it can be asked for again of another block.
Key: TypeAlias = tuple[Any, ...]


class Scratch:
    """Memory for the intermediate blocks of one walk, used again by each block so that it stays in cache.

    It belongs to one thread, and what lies in it is overwritten by the next block.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def block(self, name: str, like: NDArray[Any]) -> NDArray[Any]:
        """Room of the shape and precision of ``like``, under a name of its own; its content is arbitrary."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < len(like):
            kept = self._kept[name] = np.empty_like(like)
        return kept[: len(like)]


class Vectors:
    """The rows of a float32 or float64 array, with shared quantities computed on first use and kept.

    Attributes:
        width: the number of coordinates d.
        fn: the module whose ``exp``, ``log``, ``where`` ... work on this block's columns (numpy here, torch on a GPU).
        size: the power of two that each vector was divided by, float64.
        magnitudes: ``abs(x) / size`` in the working precision, (n, d).
        finite: which vectors have finite coordinates only.
        zero: which vectors are zero.
    """

    def __init__(self, rows: Floats, scratch: Scratch | None = None) -> None:
        self.fn: Any = np
        self.rows = rows
        self.width = rows.shape[-1]
        self._scratch = Scratch() if scratch is None else scratch
        magnitudes = np.abs(rows, out=self._scratch.block("magnitudes", rows))
        peak = magnitudes.max(axis=-1)
        self.finite: Column = np.isfinite(peak)
        self.zero: Column = peak == 0
        exponent = np.frexp(np.where(self.finite, peak, 1))[1]
        self.size: Column = np.ldexp(1.0, exponent)
        self.peak: Column = peak.astype(np.float64)
        one = rows.dtype.type(1)
        # 2**-exponent itself may overflow for subnormal or huge vectors; its two halves never do.
        half = np.where(np.abs(exponent) < np.finfo(rows.dtype).maxexp - 2, 0, exponent // 2)
        magnitudes *= np.ldexp(one, half - exponent)[:, None]
        if half.any():
            magnitudes *= np.ldexp(one, -half)[:, None]
        self.magnitudes: Block = magnitudes
        self._kept: dict[Key, Any] = {}

    def once(self, key: Key, compute: Callable[[], Column | Block]) -> Column | Block:
        """Compute a shared quantity on first use and keep it for the life of the block."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    @property
    def sums(self) -> tuple[Key, ...]:
        """The shared sums asked for so far."""
        return tuple(key for key, value in self._kept.items() if value.ndim == 1)

    @property
    def ranked(self) -> Block:
        """The magnitudes in ascending order: the one sort of the block."""
        return self.once(("ranked",), self._ranked)

    def _ranked(self) -> Block:
        ranked = self._scratch.block("ranked", self.magnitudes)
        np.copyto(ranked, self.magnitudes)
        ranked.sort(axis=-1)
        return ranked

    @property
    def wide(self) -> Block:
        """The magnitudes as they came, in float64: for measures that depend on scale."""
        return self.once(("wide",), lambda: np.abs(self.rows.astype(np.float64)))

    @property
    def squares(self) -> Block:
        """The squared magnitudes."""
        return self.once(("squares",), self._squares)

    def _squares(self) -> Block:
        return np.multiply(self.magnitudes, self.magnitudes, out=self._scratch.block("squares", self.magnitudes))

    @property
    def logarithms(self) -> Block:
        """The natural logarithms of the magnitudes; a zero counts as the smallest normal number."""
        return self.once(("logarithms",), self._logarithms)

    def _logarithms(self) -> NDArray[Any]:
        smallest = self.ranked[:, 0] if ("ranked",) in self._kept else self.magnitudes
        logarithms = self._scratch.block("logarithms", self.magnitudes)
        if smallest.min(initial=1) > 0:
            return np.log(self.magnitudes, out=logarithms)
        guarded = np.maximum(self.magnitudes, np.finfo(self.magnitudes.dtype).tiny, out=logarithms)
        return np.log(guarded, out=logarithms)

    def sum(self, power: Number) -> Column:
        """Sum the magnitudes raised to ``power`` > 0."""
        return self.once(("sum", power), lambda: self._sum(power))

    def _sum(self, power: Number) -> Column:
        if power == 1:
            return self.dot(self.magnitudes, self.row(_ones))
        if power == 2:
            return self.dot(self.magnitudes, self.magnitudes)
        if power == 4:
            return self.dot(self.squares, self.squares)
        return self.dot(self.magnitudes**power, self.row(_ones))

    def log_sum(self, power: Number) -> Column:
        """Sum ``a**power * log(a)`` over the magnitudes ``a``, for power 1 or 2; a zero contributes nothing."""
        return self.once(("log_sum", power), lambda: self._log_sum(power))

    def _log_sum(self, power: Number) -> Column:
        return self.dot(self.magnitudes if power == 1 else self.squares, self.logarithms)

    def rank_sum(self) -> Column:
        """Sum ``(2 k - d - 1) / d`` times the k-th smallest magnitude: half the mean absolute difference times d."""
        return self.once(("rank_sum",), lambda: self.dot(self.ranked, self.row(_rank_weights)))

    def top_sum(self, power: Number, fraction: float) -> Column:
        """Sum ``a**power`` over the ``fraction * d`` largest magnitudes; a fractional last one counts in proportion."""
        return self.once(("top_sum", power, fraction), lambda: self._top_sum(power, fraction))

    def _top_sum(self, power: Number, fraction: float) -> Column:
        count = fraction * self.width
        whole = int(count)
        top = self.ranked[:, self.width - whole :]
        total = self.dot(top, top if power == 2 else self.row(_ones)[:whole])
        if whole < self.width:
            total = total + (count - whole) * self.double(self.ranked[:, self.width - whole - 1]) ** power
        return total

    def share(self, chosen: Block) -> Column:
        """The share of coordinates that are chosen by a block of truth values."""
        return self.double(chosen.sum(-1)) / self.width

    def smallest(self, values: Block) -> Column:
        """The smallest entry of each row."""
        return values.min(axis=-1)

    def pick(self, values: Block, index: Block) -> Block:
        """One entry of each row, by a column of positions."""
        return np.take_along_axis(values, index, axis=-1)

    def double(self, values: Column | Block) -> Column | Block:
        """Widen to float64."""
        return values.astype(np.float64)

    def row(self, make: Callable[[int, str], NDArray[Any]]) -> Block:
        """A constant vector of this width and precision."""
        return make(self.width, self.magnitudes.dtype.char)

    def dot(self, left: Block, right: Block) -> Column:
        """Row-wise inner products, accumulated in the working precision per segment and in float64 across segments."""
        width = left.shape[-1]
        if width <= SEGMENT:
            return np.vecdot(left, right).astype(np.float64)
        total = np.zeros(left.shape[0])
        for start in range(0, width, SEGMENT):
            part = slice(start, start + SEGMENT)
            total += np.vecdot(left[:, part], right[..., part])
        return total


@lru_cache(maxsize=64)
def _ones(width: int, precision: str) -> NDArray[Any]:
    return _frozen(np.ones(width, precision))


@lru_cache(maxsize=64)
def _rank_weights(width: int, precision: str) -> NDArray[Any]:
    return _frozen(((2 * np.arange(1, width + 1) - width - 1) / width).astype(precision))


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
