"""A block of vectors and the sums that the measures share.

Problem: a dozen measures of one vector need the same few things: its magnitudes free of scale, their sums of powers,
their logarithms, their order. Computing each measure alone pays for them again and again; a hand-fused loop hides the
formulas. Idea: a block computes each shared quantity at most once, when a formula first asks, so that a measure alone
and the same measure among others run the same operations on the same numbers and agree to the last bit.

Scale-free form: formulas are given every sum as of the vector divided by the power of two next above its largest
magnitude, so that magnitudes lie in (0, 1], nothing overflows, and multiplying the input by a power of two changes no
bit of the result.

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

DOUBLE = np.dtype(np.float64)
MOST_VIEWS = 256
# A shared sum by the name of its method and the arguments, so that it can be asked for again of another block.
Key: TypeAlias = tuple[Any, ...]


class Scratch:
    """Memory for the intermediate blocks of walks, used again by each block so that it stays in cache.

    It belongs to one thread, and what lies in it is overwritten by the next block.
    """

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}
        self._views: dict[tuple[str, np.dtype[Any], tuple[int, ...]], NDArray[Any]] = {}

    def block(self, name: str, like: NDArray[Any], precision: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Room of the shape and precision of ``like``, under a name of its own; its content is arbitrary."""
        kind = precision or like.dtype
        view = self._views.get((name, kind, like.shape))
        if view is None:
            room = self._rooms.get((name, kind))
            if room is None or room.size < like.size:
                room = self._rooms[name, kind] = np.empty(like.size, kind)
                self._views.clear()
            if len(self._views) > MOST_VIEWS:
                self._views.clear()
            view = self._views[name, kind, like.shape] = room[: like.size].reshape(like.shape)
        return view


class Vectors:
    """The rows of a float32 or float64 array, with shared quantities computed on first use and kept.

    Sums of float32 numbers are taken in float64 of the numbers as they came, where no fourth power leaves the range,
    and divided by the power of two of their size afterwards, which changes no bit; only float64 numbers are divided
    first.

    Attributes:
        width: the number of coordinates d.
        fn: the module whose ``exp``, ``log``, ``where`` ... work on this block's columns (numpy here, torch on a GPU).
        taken: the magnitudes that sums are taken of, in the working precision, (n, d).
        divided: True where ``taken`` was divided by :attr:`size`.
        spent: True while nobody holds ranked magnitudes; logarithms then take their room, which keeps a block in cache.
    """

    def __init__(self, rows: Floats, scratch: Scratch | None = None) -> None:
        self.fn: Any = np
        self.rows = rows
        self.width = rows.shape[-1]
        self._scratch = Scratch() if scratch is None else scratch
        self._kept: dict[Key, Any] = {}
        self.taken: Block = np.abs(rows, out=self._scratch.block("taken", rows))
        self.divided = rows.itemsize > np.float32().itemsize
        self.spent = False
        if self.divided:
            _scaled(self.taken, -self._exponent(), out=self.taken)
        self._passing: tuple[str, Block] = "", self.taken

    @property
    def peak(self) -> Column:
        """The largest magnitude of each vector, float64."""
        return self.raw(("peak",))

    def _peak(self) -> Column:
        if ("ranked",) in self._kept and not self.divided:
            return self.ranked[:, -1].astype(np.float64)  # NaN is ranked last too
        return np.maximum.reduce(self.taken, axis=-1).astype(np.float64)

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
        """The power of two next above the largest magnitude of each vector, float64."""
        return self.fn.ldexp(self.fn.ones_like(self.peak), self._exponent())

    def _exponent(self) -> Column:
        """The exponent of :attr:`size`; arbitrary where the largest magnitude is not finite."""
        return self.fn.frexp(self.peak)[1]

    @property
    def magnitudes(self) -> Block:
        """``abs(x) / size`` in the working precision, (n, d)."""
        return self.taken if self.divided else self.once(("magnitudes",), self._magnitudes)

    def _magnitudes(self) -> Block:
        return _scaled(self.taken, -self._exponent(), out=self._scratch.block("magnitudes", self.taken))

    def once(self, key: Key, compute: Callable[[], Block]) -> Block:
        """Compute a shared block on first use and keep it for the life of the vectors."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def raw(self, key: Key) -> Column:
        """A shared sum by its name and arguments, of the magnitudes that it is taken of; computed on first use."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = getattr(self, f"_{key[0]}")(*key[1:])
        return kept

    def shared(self, *key: Any) -> Column:  # noqa: ANN401 -- names and numbers
        """A shared sum of the magnitudes over their size."""
        value = self.raw(key)
        return value if self.divided else self.fn.ldexp(value, -degree(key) * self._exponent())

    @property
    def sums(self) -> tuple[Key, ...]:
        """The shared sums asked for so far."""
        return tuple(key for key, value in self._kept.items() if value.ndim == 1)

    @property
    def ranked(self) -> Block:
        """The magnitudes that sums are taken of, in ascending order: the one sort of the block."""
        return self.once(("ranked",), self._ranked)

    def _ranked(self) -> Block:
        ranked = self._scratch.block("ranked", self.taken)
        np.copyto(ranked, self.taken)
        # Numbers that are not negative are ordered as their bits are, and integers are sorted a fifth faster.
        ranked.view(np.int32 if ranked.itemsize == 4 else np.int64).sort(axis=-1)
        return ranked

    @property
    def wide(self) -> Block:
        """The magnitudes as they came, in float64: for measures that depend on scale."""
        return self.once(("wide",), lambda: np.abs(self.rows.astype(np.float64)))

    @property
    def doubles(self) -> Block:
        """The magnitudes that sums are taken of, in float64; see :meth:`passing`."""
        return self.passing("doubles", self.taken)

    @property
    def squares(self) -> Block:
        """Their squares in float64, of float32 magnitudes exact; see :meth:`passing`."""
        if self._passing[0] != "squares":
            block = self.doubles
            self._passing = "squares", np.square(block, out=block)
        return self._passing[1]

    @property
    def ranked_doubles(self) -> Block:
        """The same magnitudes in ascending order, in float64; see :meth:`passing`."""
        return self.passing("ranked", self.ranked)

    @property
    def logarithms(self) -> Block:
        """Natural logarithms of the magnitudes over their typical size, in float64 after they were taken.

        Zero counts as the smallest normal number.
        """
        return self.once(("logarithms",), self._logarithms)

    def _logarithms(self) -> Block:
        ranked = self._kept.get(("ranked",))
        least = self.taken if ranked is None else ranked[:, 0].copy()
        if self.spent:
            self._kept.pop(("ranked",), None)
        typical = self._nearest(self.raw(("sum", 1)))
        scaled = _scaled(
            self.taken, -typical, out=self._scratch.block("ranked" if self.spent else "scaled", self.taken)
        )
        if not np.minimum.reduce(least, axis=None, initial=1) > 0:
            np.maximum(scaled, np.finfo(scaled.dtype).tiny, out=scaled)
        wide = self._scratch.block("logarithms", scaled, DOUBLE)
        np.copyto(wide, np.log(scaled, out=scaled))
        return wide

    def _nearest(self, total: Column) -> Column:
        """The exponent of the power of two nearest to the mean of magnitudes that add up to ``total``."""
        return self.fn.frexp(total * (sqrt(0.5) / self.width))[1]

    def sum(self, power: Number) -> Column:
        """Sum the magnitudes raised to ``power`` > 0."""
        return self.shared("sum", power)

    def _sum(self, power: Number) -> Column:
        if power == 2:
            return self.dot(self.doubles, self.doubles)
        if power == 4:
            return self.dot(self.squares, self.squares)
        block = self.doubles if power == 1 else self.double(self.magnitudes) ** power
        return self.dot(block, self.row(_ones))

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
        return self.shared("typical_log_sum", power) + log(2) * self._nearest(self.sum(1)) * self.sum(power)

    def _typical_log_sum(self, power: Number) -> Column:
        """Sum ``a**power * log(a / t)``, power 1 or 2, t being the power of two nearest to their mean."""
        return self.dot(self.logarithms, self.doubles if power == 1 else self.squares)

    def rank_sum(self) -> Column:
        """Sum ``(2 k - d - 1) / d`` times the k-th smallest magnitude: half the mean absolute difference times d."""
        return self.shared("rank_sum")

    def _rank_sum(self) -> Column:
        return self.dot(self.ranked_doubles, self.row(_rank_weights))

    def top_sum(self, power: Number, fraction: float) -> Column:
        """Sum ``a**power``, power 1 or 2, over the ``fraction * d`` largest; a fractional last one in proportion."""
        part = fraction * self.width - self.whole(fraction)
        whole, following = self.shared("whole_top_sum", power, fraction), self.shared("next_to_top", fraction)
        return whole + part * following**power

    def whole(self, fraction: float) -> int:
        """Number of whole coordinates in a fraction of the width, at most width - 1."""
        return min(int(fraction * self.width), self.width - 1)

    def _whole_top_sum(self, power: Number, fraction: float) -> Column:
        count = self.whole(fraction)
        top = self.ranked_doubles[:, self.width - count :]
        return self.dot(top, top if power == 2 else self.row(_ones)[:count])

    def _next_to_top(self, fraction: float) -> Column:
        """The largest magnitude of those that a fraction does not hold wholly."""
        return self.double(self.ranked[:, self.width - self.whole(fraction) - 1])

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
            wide = self._scratch.block("passing", block, DOUBLE)
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


def degree(key: Key) -> int:
    """The power of the size that a shared sum grows by; 0 for one whose magnitudes were divided first."""
    name, *arguments = key
    if name in {"rank_sum", "next_to_top"}:
        return 1
    if name == "sum":
        return int(arguments[0]) if arguments[0] in {1, 2, 4} else 0
    return 0 if name == "peak" else int(arguments[0])


def _scaled(block: Block, exponent: Column, out: Block) -> Block:
    """Rows times a power of two each; where that overflows, as for subnormal rows, by its two halves."""
    one = block.dtype.type(1)
    factor = np.ldexp(one, exponent)
    if np.maximum.reduce(factor, initial=one) == np.inf:
        half = np.where(exponent > 0, exponent // 2, 0)
        block = np.multiply(block, np.ldexp(one, half)[:, None], out=out)
        factor = np.ldexp(one, exponent - half)
    return np.multiply(block, factor[:, None], out=out)


@lru_cache(maxsize=64)
def _ones(width: int) -> NDArray[np.float64]:
    return _frozen(np.ones(width))


@lru_cache(maxsize=64)
def _rank_weights(width: int) -> NDArray[np.float64]:
    return _frozen((2 * np.arange(1, width + 1) - width - 1) / width)


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values.flags.writeable = False
    return values
