"""A suffix array, and many searches in it at once.

Problem: how often does this string occur in the corpus, for millions of strings? A sorted list of all suffixes answers
with two binary searches, but a search that steps in Python answers some ten thousand times a second. Idea: all queries
step together in numpy, eight bytes to a comparison, and all but the last four steps are one look-up in a sorted sample
of the suffixes' first eight bytes, which stays in cache.

Symbols are stored big-endian, so that the order of bytes is the order of symbols and one search serves bytes and 16-
and 32-bit tokens; suffixes begin at symbols only, so that no match begins inside a token. Symbol 0 ends every document
and is in no query, so that no match reaches from one document into the next.

Not here: files and documents (`probes.familiarity.index`), and what a match means (`probes.familiarity.matching`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8, UInt64

from probes.familiarity.extras import extra

WORD: Final = 8  # bytes to a comparison
PADDING: Final = 2 * WORD  # bytes of zeros after the last symbol, so that no comparison reads past the end
SAMPLE_EVERY: Final = 16  # one key in 16: half a byte per corpus byte, and four steps left for the binary search
BLOCK: Final = 1 << 14  # patterns at once: what they need stays in a core's cache
BELOW: Final = np.array([(1 << (8 * (WORD - kept))) - 1 for kept in range(WORD + 1)], dtype=np.uint64)


class Patterns(NamedTuple):
    """Strings to look for, as stretches of shared data.

    Attributes:
        data: big-endian symbols, none of them 0, with padding.
        starts: byte at which each pattern begins.
        lengths: bytes of each pattern.
    """

    data: UInt8[np.ndarray, " bytes"]
    starts: Int64[np.ndarray, " patterns"]
    lengths: Int64[np.ndarray, " patterns"]

    def at(self, which: Int64[np.ndarray, " some"]) -> Patterns:
        """Some of the patterns."""
        return Patterns(self.data, self.starts[which], self.lengths[which])


class Intervals(NamedTuple):
    """Where the suffixes that begin with each pattern stand in the sorted list: ``first <= rank < last``."""

    first: Int64[np.ndarray, " patterns"]
    last: Int64[np.ndarray, " patterns"]


@dataclass(frozen=True, slots=True, eq=False)
class SuffixArray:
    """The sorted suffixes of a sequence of symbols.

    Attributes:
        data: the symbols, big-endian, 0 after every document, with padding.
        width: bytes of a symbol.
        suffixes: index of the symbol at which each suffix begins, in sorted order; those at a 0 are left out.
        samples: first eight bytes of every :data:`SAMPLE_EVERY`-th suffix.
    """

    data: UInt8[np.ndarray, " bytes"]
    width: int
    suffixes: Integer[np.ndarray, " suffixes"]
    samples: UInt64[np.ndarray, " samples"]

    def find(self, patterns: Patterns) -> Intervals:
        """Find all patterns at once."""
        order = np.argsort(_bounds(patterns, 0, upper=False))  # neighbours in the corpus share cache lines
        found = Intervals(np.empty_like(patterns.starts), np.empty_like(patterns.starts))
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            own = patterns.at(block)
            found.first[block] = first = self._first(own)
            found.last[block] = self._last(own, first)
        return found

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Number of symbols of the longest beginning of each pattern that occurs anywhere."""
        found = np.zeros_like(patterns.starts)
        if not len(self.suffixes):
            return found
        order = np.argsort(_bounds(patterns, 0, upper=False))
        for start in range(0, len(order), BLOCK):
            own = patterns.at(order[start : start + BLOCK])
            rank = self._first(own)
            # what shares most with a string stands right before or right after its place
            before, after = np.maximum(rank - 1, 0), np.minimum(rank, len(self.suffixes) - 1)
            shared = np.maximum(self._shared(before, own), self._shared(after, own))
            found[order[start : start + BLOCK]] = shared // self.width
        return found

    def _first(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Rank of the first suffix that is not before each pattern."""
        low, high = _bounds(patterns, 0, upper=False), _bounds(patterns, 0, upper=True)
        below = np.searchsorted(self.samples, low, side="left")
        above = np.searchsorted(self.samples, high, side="right")
        # a sample below the first eight bytes is before the pattern; one that equals them is not, if they are all of it
        above = np.where(patterns.lengths <= WORD, below, above)
        lo = np.maximum((below - 1) * SAMPLE_EVERY + 1, 0)
        hi = np.minimum(above * SAMPLE_EVERY, len(self.suffixes))
        return self._bisect(patterns, lo, hi, low, upper=False)

    def _last(self, patterns: Patterns, first: Int64[np.ndarray, " patterns"]) -> Int64[np.ndarray, " patterns"]:
        """Rank after the last suffix that begins with each pattern, given where the first would be."""
        high = _bounds(patterns, 0, upper=True)
        last = first.copy()
        active = np.flatnonzero(first < len(self.suffixes))
        active = active[self._before(first[active], patterns, active, high, upper=True)]
        own = patterns.at(active)
        short = own.lengths <= WORD
        above = np.searchsorted(self.samples, high[active], side="right")
        lo = np.where(short, np.maximum((above - 1) * SAMPLE_EVERY, first[active]), first[active]) + 1
        hi = np.where(short, np.minimum(above * SAMPLE_EVERY, len(self.suffixes)), lo)
        # long patterns are rare: stride ahead, doubling, until one is passed
        stride = np.flatnonzero(~short)
        step = 1
        while len(stride):
            probe = lo[stride] + step - 1
            inside = probe < len(self.suffixes)
            hi[stride[~inside]] = len(self.suffixes)
            stride, probe = stride[inside], probe[inside]
            on = self._before(probe, own, stride, high[active], upper=True)
            hi[stride[~on]] = probe[~on]
            stride = stride[on]
            lo[stride] = probe[on] + 1
            step *= 2
        last[active] = self._bisect(own, lo, hi, high[active], upper=True)
        return last

    def _bisect(
        self,
        patterns: Patterns,
        lo: Int64[np.ndarray, " patterns"],
        hi: Int64[np.ndarray, " patterns"],
        bound: UInt64[np.ndarray, " patterns"],
        *,
        upper: bool,
    ) -> Int64[np.ndarray, " patterns"]:
        """Rank between two others of the first suffix that is not before each pattern, or is after all its own."""
        rank = lo
        active = np.flatnonzero(lo < hi)
        lo, hi = lo[active], hi[active]
        while len(active):
            middle = (lo + hi) >> 1
            before = self._before(middle, patterns, active, bound, upper=upper)
            lo = np.where(before, middle + 1, lo)
            hi = np.where(before, hi, middle)
            unsettled = lo < hi
            rank[active] = lo
            active, lo, hi = active[unsettled], lo[unsettled], hi[unsettled]
        return rank

    def _before(
        self,
        rank: Int64[np.ndarray, " active"],
        patterns: Patterns,
        active: Int64[np.ndarray, " active"],
        bound: UInt64[np.ndarray, " patterns"],
        *,
        upper: bool,
    ) -> Bool[np.ndarray, " active"]:
        """Whether the suffix of each rank comes before its pattern (or, for the upper end, begins with it)."""
        offset = self.suffixes[rank].astype(np.int64) * self.width
        word, own = _words(self.data, offset), bound[active]
        before = word <= own if upper else word < own
        tied = np.flatnonzero((word == own) & (patterns.lengths[active] > WORD))
        done = WORD
        while len(tied):
            some = patterns.at(active[tied])
            word, own = _words(self.data, offset[tied] + done), _bounds(some, done, upper=upper)
            before[tied] = word <= own if upper else word < own
            done += WORD
            tied = tied[(word == own) & (some.lengths > done)]
        return before

    def _shared(self, rank: Int64[np.ndarray, " patterns"], patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Bytes that the suffix of each rank and its pattern have in common at their beginning."""
        offset = self.suffixes[rank].astype(np.int64) * self.width
        shared = np.zeros_like(rank)
        active = np.flatnonzero(patterns.lengths > 0)
        done = 0
        while len(active):
            some = patterns.at(active)
            differ = _words(self.data, offset[active] + done) ^ _words(some.data, some.starts + done)
            apart = differ.astype(">u8").view(np.uint8).reshape(-1, WORD) != 0
            same = np.where(differ == 0, WORD, apart.argmax(axis=1))
            done += WORD
            shared[active] += same
            active = active[(same == WORD) & (some.lengths > done)]
        return np.minimum(shared, patterns.lengths)


def sort_suffixes(symbols: Integer[np.ndarray, " symbols"], width: int) -> SuffixArray:
    """Sort the suffixes of a sequence of symbols.

    Args:
        symbols: 0 ends every document, and the sequence; everything else is from 1.
        width: bytes of a symbol: 1, 2 or 4.

    Raises:
        InputError: if pydivsufsort is not installed.
    """
    data = padded(symbols, width)
    ranked = extra("pydivsufsort").divsufsort(data[: len(symbols) * width])
    if width > 1:
        ranked = ranked[ranked % width == 0] // width
    suffixes = np.array(ranked[int((symbols == 0).sum()) :])
    samples = _words(data, suffixes[::SAMPLE_EVERY].astype(np.int64) * width)
    return SuffixArray(data, width, suffixes, samples)


def padded(symbols: Integer[np.ndarray, " symbols"], width: int) -> UInt8[np.ndarray, " bytes"]:
    """Symbols as big-endian bytes, with the padding that searches read into."""
    data = np.zeros(len(symbols) * width + PADDING, dtype=np.uint8)
    data[: len(symbols) * width] = np.asarray(symbols).astype(f">u{width}").view(np.uint8)
    return data


def _words(data: UInt8[np.ndarray, " bytes"], offsets: Int64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Eight bytes from each offset on, as one number in their order."""
    # numpy gathers opaque items twice as fast as byte-swapped numbers: 6 against 12 ns each
    view = np.ndarray((len(data) - WORD + 1,), dtype=f"V{WORD}", buffer=data, strides=(1,))
    return view[offsets].view(">u8").astype(np.uint64)


def _bounds(patterns: Patterns, done: int, *, upper: bool) -> UInt64[np.ndarray, " patterns"]:
    """Eight bytes of each pattern after those done; beyond its end the least or greatest that can stand there."""
    beyond = BELOW[np.minimum(np.maximum(patterns.lengths - done, 0), WORD)]
    words = _words(patterns.data, patterns.starts + done)
    return words | beyond if upper else words & ~beyond
