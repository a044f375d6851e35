"""A block of vectors and the sums that the measures share.

Problem: a dozen measures of one vector need the same few things: its magnitudes free of scale, their sums of powers,
their logarithms, their order. Computing each measure alone pays for them again and again; a hand-fused loop hides the
formulas. Idea: a block computes each shared quantity at most once, when a formula first asks, so that a measure alone
and the same measure among others run the same operations on the same numbers and agree to the last bit.

Scale-free form: every vector is divided by the power of two next above its largest magnitude, so the magnitudes lie
in (0, 1], nothing overflows in a square or a fourth power, and multiplying the input by a power of two changes no bit
of the result.

Precision: of float32 vectors only the order and the logarithms are taken in float32; powers, products and sums are
float64. Libraries add up in an order that suits the CPU; in float64 no order moves a sum by more than
:data:`ACCUMULATION` of itself (:meth:`Vectors.dot`), and logarithms move a measure by less than 5e-7 of its range
(:meth:`Vectors.log_sum`): one result on every CPU. A row's result does not depend on the rows beside it or on the
number of threads.
"""

from collections.abc import Callable
from functools import lru_cache
from math import log, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Block, Column, Floats, Number

# OpenBLAS splits longer dot products over threads, which would make a result depend on their number.
SEGMENT = 4096
WIDEST = 16_384
# Largest relative error of a sum over WIDEST float32 numbers, of whatever order: n v / (1 - n v) with v = 2**-53.
ACCUMULATION = WIDEST * 2**-53 / (1 - WIDEST * 2**-53)
# Largest relative error of a float32 logarithm: 4.58 units roundoff with numpy's vector code, 1.3 with the C library's
# (all float32 numbers in (2**-14, 1], one in three).
LOGARITHM = 5 * 2**-24

# A shared sum by the name of its method and the arguments, so that it can be asked for again of another block.
Key: TypeAlias = tuple[Any, ...]


class Scratch:
    """Memory for the intermediate blocks of walks, used again by each block so that it stays in cache.

    It belongs to one thread, and what lies in it is overwritten by the next block.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}

    def block(self, name: str, like: NDArray[Any], precision: type[np.float64] | None = None) -> NDArray[Any]:
        """Room of the shape and precision of ``like``, under a name of its own; its content is arbitrary."""
        key = name, np.dtype(precision or like.dtype)
        kept = self._kept.get(key)
        if kept is None or kept.size < like.size:
            kept = self._kept[key] = np.empty(like.size, key[1])
        return kept[: like.size].reshape(like.shape)


class Vectors:
    """The rows of a float32 or float64 array, with shared quantities computed on first use and kept.

    Attributes:
        width: the number of coordinates d.
        fn: the module whose ``exp``, ``log``, ``where`` ... work on this block's columns (numpy here, torch on a GPU).
        peak: the largest magnitude of each vector, float64.
        magnitudes: ``abs(x) / size`` in the working precision, (n, d).
    """

    def __init__(self, rows: Floats, scratch: Scratch | None = None) -> None:
        self.fn: Any = np
        self.rows = rows
        self.width = rows.shape[-1]
        self._scratch = Scratch() if scratch is None else scratch
        magnitudes = np.abs(rows, out=self._scratch.block("magnitudes", rows))
        self.peak: Column = np.maximum.reduce(magnitudes, axis=-1).astype(np.float64)
        exponent, one = self.exponent(), rows.dtype.type(1)
        factor = np.ldexp(one, -exponent)
        if factor.max(initial=one) == np.inf:
            # The power of two that enlarges a subnormal vector may overflow; its two halves never do.
            half = np.where(exponent < 0, exponent // 2, 0)
            magnitudes *= np.ldexp(one, -half)[:, None]
            factor = np.ldexp(one, half - exponent)
        magnitudes *= factor[:, None]
        self.magnitudes: Block = magnitudes
        self._passing: tuple[str, Block] = "", magnitudes
        self._kept: dict[Key, Any] = {}

    @property
    def finite(self) -> Column:
        """True for each vector that has finite coordinates only."""
        return self.fn.isfinite(self.peak)

    @property
    def zero(self) -> Column:
        """True for each vector whose coordinates are all zero."""
        return self.peak == 0

    @property
    def size(self) -> Column:
        """The power of two that each vector was divided by, float64."""
        return self.fn.ldexp(self.fn.ones_like(self.peak), self.exponent())

    def exponent(self) -> Column:
        """The exponent of the power of two next above the largest magnitude; arbitrary where that is not finite."""
        return self.fn.frexp(self.peak)[1]

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
        # Numbers that are not negative are ordered as their bits are, and integers are sorted a fifth faster.
        ranked.view(np.int32 if ranked.itemsize == 4 else np.int64).sort(axis=-1)
        return ranked

    @property
    def wide(self) -> Block:
        """The magnitudes as they came, in float64: for measures that depend on scale."""
        return self.once(("wide",), lambda: np.abs(self.rows.astype(np.float64)))

    @property
    def doubles(self) -> Block:
        """The magnitudes in float64; see :meth:`passing`."""
        return self.passing("doubles", self.magnitudes)

    @property
    def squares(self) -> Block:
        """The squares of the magnitudes in float64, of float32 magnitudes exact; see :meth:`passing`."""
        if self._passing[0] != "squares":
            block = self.doubles
            self._passing = "squares", np.square(block, out=block)
        return self._passing[1]

    @property
    def ranked_doubles(self) -> Block:
        """The magnitudes in ascending order, in float64; see :meth:`passing`."""
        return self.passing("ranked", self.ranked)

    @property
    def logarithms(self) -> Block:
        """Natural logarithms of the magnitudes over their typical size, in float64 after they were taken.

        Zero counts as the smallest normal number.
        """
        return self.once(("logarithms",), self._logarithms)

    def typical_exponent(self) -> Column:
        """The exponent of the power of two nearest to the mean magnitude."""
        return self.fn.frexp(self.sum(1) * (sqrt(0.5) / self.width))[1]

    def _logarithms(self) -> Block:
        smallest = self.ranked[:, 0] if ("ranked",) in self._kept else self.magnitudes
        unit = np.ldexp(self.magnitudes.dtype.type(1), -self.typical_exponent())[:, None]
        scaled = np.multiply(self.magnitudes, unit, out=self._scratch.block("logarithms", self.magnitudes))
        if not smallest.min(initial=1) > 0:
            np.maximum(scaled, np.finfo(scaled.dtype).tiny, out=scaled)
        wide = self._scratch.block("wide logarithms", scaled, np.float64)
        np.copyto(wide, np.log(scaled, out=scaled))
        return wide

    def sum(self, power: Number) -> Column:
        """Sum the magnitudes raised to ``power`` > 0."""
        return self.once(("sum", power), lambda: self._sum(power))

    def _sum(self, power: Number) -> Column:
        if power == 2:
            return self.dot(self.doubles, self.doubles)
        if power == 4:
            return self.dot(self.squares, self.squares)
        return self.dot(self.doubles if power == 1 else self.doubles**power, self.row(_ones))

    def log_sum(self, power: Number) -> Column:
        r"""Sum ``a**power * log(a)`` over the magnitudes ``a``, for power 1 or 2; a zero contributes nothing.

        A float32 logarithm is off by at most :data:`LOGARITHM` of itself, on whatever CPU. Logarithms are taken of
        :math:`a / t` with t near the mean magnitude, where they are small: with shares w of the L1 norm and mean m,
        :math:`\sum w |\ln (a/m)| \le T + 2/e`, T being Theil's index, because :math:`-y \ln y \le 1/e`. So T is off by
        :math:`(T + 2/e + \ln(2)/2)` LOGARITHM at most, and ``effective_dimension_l1``, which is exp(-T), by 3.3e-7.
        For shares of the energy the mean is below the root mean square by a factor of at most
        :math:`D^{-1/2}`, D being ``effective_dimension_l2`` (the order of Renyi's entropies), which makes D off by
        :math:`D (-2 \ln D + 2/e + \ln 2)` LOGARITHM, 4.5e-7 at most. Neither grows with the width.
        """
        return self.typical_log_sum(power) + log(2) * self.typical_exponent() * self.sum(power)

    def typical_log_sum(self, power: Number) -> Column:
        """Sum ``a**power * log(a / t)`` over the magnitudes ``a``, t being the power of two nearest to their mean."""
        return self.once(
            ("typical_log_sum", power),
            lambda: self.dot(self.logarithms, self.doubles if power == 1 else self.squares),
        )

    def rank_sum(self) -> Column:
        """Sum ``(2 k - d - 1) / d`` times the k-th smallest magnitude: half the mean absolute difference times d."""
        return self.once(("rank_sum",), lambda: self.dot(self.ranked_doubles, self.row(_rank_weights)))

    def top_sum(self, power: Number, fraction: float) -> Column:
        """Sum ``a**power`` over the ``fraction * d`` largest magnitudes; a fractional last one counts in proportion."""
        part = fraction * self.width - self.whole(fraction)
        return self.whole_top_sum(power, fraction) + part * self.next_to_top(fraction) ** power

    def whole(self, fraction: float) -> int:
        """Number of whole coordinates in a fraction of the width, at most width - 1."""
        return min(int(fraction * self.width), self.width - 1)

    def whole_top_sum(self, power: Number, fraction: float) -> Column:
        """Sum ``a**power``, power 1 or 2, over the largest magnitudes that a fraction holds wholly."""
        return self.once(("whole_top_sum", power, fraction), lambda: self._whole_top_sum(power, self.whole(fraction)))

    def _whole_top_sum(self, power: Number, count: int) -> Column:
        top = self.ranked_doubles[:, self.width - count :]
        return self.dot(top, top if power == 2 else self.row(_ones)[:count])

    def next_to_top(self, fraction: float) -> Column:
        """The largest magnitude of those that a fraction does not hold wholly."""
        return self.once(
            ("next_to_top", fraction), lambda: self.double(self.ranked[:, self.width - self.whole(fraction) - 1])
        )

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

    def row(self, make: Callable[[int], NDArray[np.float64]]) -> Block:
        """A constant vector of this width."""
        return make(self.width)

    def passing(self, name: str, block: Block) -> Block:
        """A block in float64, in room that all passing blocks share: good until another is asked for.

        One float64 copy at a time is as much as stays in cache beside the float32 blocks.
        """
        if self._passing[0] != name:
            wide = self._scratch.block("passing", block, np.float64)
            np.copyto(wide, block)
            self._passing = name, wide
        return self._passing[1]

    def dot(self, left: Block, right: Block) -> Column:
        r"""Row-wise inner products of float64 blocks, added up by the BLAS per segment.

        Every order of adding n products, each rounded once, in a precision of unit roundoff v is off by at most
        :math:`\gamma_n \sum_i |a_i b_i|` with :math:`\gamma_n = n v / (1 - n v)` (Higham, Accuracy and Stability of
        Numerical Algorithms, section 3.1). In float32 (v = 2^-24) that is 1e-3 at n = 16,384, above 1e-7 already at
        n = 2, and seen in full: a flat vector of 4,096 was off by 7e-7 with one BLAS kernel and by 2.5e-6 with another.
        In float64 (v = 2^-53) it is 1.8e-12, :data:`ACCUMULATION`, and products of two float32 numbers are exact.
        """
        width = left.shape[-1]
        if width <= SEGMENT:
            return np.vecdot(left, right)
        total = np.zeros(left.shape[0])
        for start in range(0, width, SEGMENT):
            part = slice(start, start + SEGMENT)
            total += np.vecdot(left[:, part], right[..., part])
        return total


@lru_cache(maxsize=64)
def _ones(width: int) -> NDArray[np.float64]:
    return _frozen(np.ones(width))


@lru_cache(maxsize=64)
def _rank_weights(width: int) -> NDArray[np.float64]:
    return _frozen((2 * np.arange(1, width + 1) - width - 1) / width)


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values.flags.writeable = False
    return values
