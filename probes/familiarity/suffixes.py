"""A suffix array, and many searches in it at once.

Problem: how often does this string occur in the corpus, for millions of strings? A sorted list of all suffixes answers
with two binary searches, but a search that steps in Python answers some ten thousand times a second. Idea: all queries
step together in numpy, eight bytes to a comparison, and all but the last four steps are a look-up in a sorted sample of
the suffixes' first sixteen bytes, which stays in cache.

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
PADDING: Final = 3 * WORD  # bytes of zeros after the last symbol, so that no comparison reads past the end
SAMPLE_EVERY: Final = 16  # one key in 16: a byte per corpus byte, and four steps left for the binary search
SAMPLED: Final = 2 * WORD  # bytes of a key
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


class Ends(NamedTuple):
    """The least (or greatest) first sixteen bytes of a suffix that begins with each pattern, in two words."""

    first: UInt64[np.ndarray, " patterns"]
    second: UInt64[np.ndarray, " patterns"]


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
        samples: first sixteen bytes of every :data:`SAMPLE_EVERY`-th suffix, as two rows of words.
    """

    data: UInt8[np.ndarray, " bytes"]
    width: int
    suffixes: Integer[np.ndarray, " suffixes"]
    samples: UInt64[np.ndarray, "2 samples"]

    def find(self, patterns: Patterns) -> Intervals:
        """Find all patterns at once."""
        order = np.argsort(_bounds(patterns, 0, upper=False))  # neighbours in the corpus share cache lines
        found = Intervals(np.empty_like(patterns.starts), np.empty_like(patterns.starts))
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            own = patterns.at(block)
            low, high = _ends(own, upper=False), _ends(own, upper=True)
            below, above = self._sampled(own, low, high)
            found.first[block] = first = self._first(own, low, below, above)
            found.last[block] = self._last(own, high, above, first)
        return found

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Number of symbols of the longest beginning of each pattern that occurs anywhere."""
        found = np.zeros_like(patterns.starts)
        if not len(self.suffixes):
            return found
        order = np.argsort(_bounds(patterns, 0, upper=False))
        for start in range(0, len(order), BLOCK):
            own = patterns.at(order[start : start + BLOCK])
            low = _ends(own, upper=False)
            rank = self._first(own, low, *self._sampled(own, low, _ends(own, upper=True)))
            # what shares most with a string stands right before or right after its place
            before, after = np.maximum(rank - 1, 0), np.minimum(rank, len(self.suffixes) - 1)
            shared = np.maximum(self._shared(before, own), self._shared(after, own))
            found[order[start : start + BLOCK]] = shared // self.width
        return found

    def _sampled(
        self, patterns: Patterns, low: Ends, high: Ends
    ) -> tuple[Int64[np.ndarray, " patterns"], Int64[np.ndarray, " patterns"]]:
        """How many samples are before the least, and not after the greatest, that can begin with each pattern."""
        words, seconds = self.samples
        below = np.searchsorted(words, low.first, side="left")
        above = np.searchsorted(words, high.first, side="right")
        tied = np.flatnonzero((patterns.lengths > WORD) & (below < above))
        lo, hi = below[tied], above[tied]
        below[tied] = _bisected(seconds, lo, hi, low.second[tied], upper=False)
        above[tied] = _bisected(seconds, lo, hi, high.second[tied], upper=True)
        return below, above

    def _first(
        self,
        patterns: Patterns,
        low: Ends,
        below: Int64[np.ndarray, " patterns"],
        above: Int64[np.ndarray, " patterns"],
    ) -> Int64[np.ndarray, " patterns"]:
        """Rank of the first suffix that is not before each pattern."""
        # a sample below sixteen bytes of the pattern is before it; one that equals them is not, if they are all of it
        hi = np.where(patterns.lengths <= SAMPLED, below, above) * SAMPLE_EVERY
        lo = np.maximum((below - 1) * SAMPLE_EVERY + 1, 0)
        return self._bisect(patterns, lo, np.minimum(hi, len(self.suffixes)), low, upper=False)

    def _last(
        self,
        patterns: Patterns,
        high: Ends,
        above: Int64[np.ndarray, " patterns"],
        first: Int64[np.ndarray, " patterns"],
    ) -> Int64[np.ndarray, " patterns"]:
        """Rank after the last suffix that begins with each pattern, given where the first would be."""
        last = first.copy()
        active = self._on(first, patterns, high, np.arange(len(first)))
        last[active] += 1
        # most long patterns occur once: see whether the next suffix begins with them too
        short = patterns.lengths[active] <= WORD
        active = np.concatenate([active[short], self._on(first + 1, patterns, high, active[~short])])
        own = patterns.at(active)
        top = np.minimum(above[active] * SAMPLE_EVERY, len(self.suffixes))
        lo = np.where(
            own.lengths <= SAMPLED, np.maximum((above[active] - 1) * SAMPLE_EVERY, first[active]), first[active]
        )
        last[active] = self._bisect(own, lo + 1, top, Ends(*(words[active] for words in high)), upper=True)
        return last

    def _on(
        self,
        rank: Int64[np.ndarray, " patterns"],
        patterns: Patterns,
        high: Ends,
        which: Int64[np.ndarray, " some"],
    ) -> Int64[np.ndarray, " on"]:
        """Those of the patterns whose rank is not beyond the suffixes that begin with them."""
        which = which[rank[which] < len(self.suffixes)]
        return which[self._before(rank[which], patterns, which, high, upper=True)]

    def _bisect(
        self,
        patterns: Patterns,
        lo: Int64[np.ndarray, " patterns"],
        hi: Int64[np.ndarray, " patterns"],
        ends: Ends,
        *,
        upper: bool,
    ) -> Int64[np.ndarray, " patterns"]:
        """Rank between two others of the first suffix that is not before each pattern, or is after all its own."""
        rank = lo
        active = np.flatnonzero(lo < hi)
        lo, hi = lo[active], hi[active]
        while len(active):
            middle = (lo + hi) >> 1
            before = self._before(middle, patterns, active, ends, upper=upper)
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
        ends: Ends,
        *,
        upper: bool,
    ) -> Bool[np.ndarray, " active"]:
        """Whether the suffix of each rank comes before its pattern (or, for the upper end, begins with it)."""
        offset = self.suffixes[rank].astype(np.int64) * self.width
        word, own = _words(self.data, offset), ends.first[active]
        before = word <= own if upper else word < own
        tied = np.flatnonzero((word == own) & (patterns.lengths[active] > WORD))
        done = WORD
        while len(tied):
            which = active[tied]
            own = ends.second[which] if done == WORD else _bounds(patterns.at(which), done, upper=upper)
            word = _words(self.data, offset[tied] + done)
            before[tied] = word <= own if upper else word < own
            done += WORD
            tied = tied[(word == own) & (patterns.lengths[which] > done)]
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
    sampled = suffixes[::SAMPLE_EVERY].astype(np.int64) * width
    return SuffixArray(data, width, suffixes, np.stack([_words(data, sampled), _words(data, sampled + WORD)]))


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


def _bisected(
    words: UInt64[np.ndarray, " samples"],
    lo: Int64[np.ndarray, " n"],
    hi: Int64[np.ndarray, " n"],
    bound: UInt64[np.ndarray, " n"],
    *,
    upper: bool,
) -> Int64[np.ndarray, " n"]:
    """`np.searchsorted` of each bound in a stretch of its own."""
    lo, hi = lo.copy(), hi.copy()
    active = np.flatnonzero(lo < hi)
    while len(active):
        middle = (lo[active] + hi[active]) >> 1
        word = words[middle]
        before = word <= bound[active] if upper else word < bound[active]
        lo[active[before]] = middle[before] + 1
        hi[active[~before]] = middle[~before]
        active = active[lo[active] < hi[active]]
    return lo


def _ends(patterns: Patterns, *, upper: bool) -> Ends:
    return Ends(_bounds(patterns, 0, upper=upper), _bounds(patterns, WORD, upper=upper))


def _bounds(patterns: Patterns, done: int, *, upper: bool) -> UInt64[np.ndarray, " patterns"]:
    """Eight bytes of each pattern after those done; beyond its end the least or greatest that can stand there."""
    beyond = BELOW[np.minimum(np.maximum(patterns.lengths - done, 0), WORD)]
    words = _words(patterns.data, patterns.starts + done)
    return words | beyond if upper else words & ~beyond
