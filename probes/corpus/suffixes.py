"""A suffix array, and many searches in it at once.

Problem: how often does this string occur in the corpus, for millions of strings? A sorted list of all suffixes answers
with two binary searches, but a search that steps in Python answers some ten thousand times a second. Idea: all queries
step together in numpy, up to 24 bytes to a comparison (what costs is the way to the first of them), all but the last
four steps are a look-up in a sorted sample of the suffixes' first sixteen bytes, which stays in cache, and what the
search for where a pattern's suffixes begin has seen of where they end is kept for the second search.

Symbols are stored big-endian, so that the order of bytes is the order of symbols and one search serves bytes and 16-
and 32-bit tokens; suffixes begin at symbols only, so that no match begins inside a token. Symbol 0 ends every document
and is in no query, so that no match reaches from one document into the next.

Not here: files and documents (`probes.corpus.index`), and what a match means (`probes.corpus.matching`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8, UInt64

from probes.extras import extra

WORD: Final = 8  # bytes
MOST_WORDS: Final = 3  # of a pattern and a suffix that are compared at once
PADDING: Final = MOST_WORDS * WORD  # bytes of zeros after the last symbol, so that no comparison reads past the end
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


class Intervals(NamedTuple):
    """Ranges of the suffixes that begin with each pattern in the sorted list: ``first <= rank < last``."""

    first: Int64[np.ndarray, " patterns"]
    last: Int64[np.ndarray, " patterns"]


class Asked(NamedTuple):
    """Patterns, and the words between which the suffixes that begin with them stand.

    Attributes:
        patterns: the patterns.
        least: first words of the least suffix that begins with each, as many as are compared at once.
        greatest: the same of the greatest.
    """

    patterns: Patterns
    least: UInt64[np.ndarray, "patterns words"]
    greatest: UInt64[np.ndarray, "patterns words"]

    def at(self, which: Int64[np.ndarray, " some"]) -> Asked:
        """Some of the patterns."""
        return Asked(self.patterns.at(which), self.least[which], self.greatest[which])


class Found(NamedTuple):
    """Result of a search for the first suffix that is not before each pattern.

    Attributes:
        first: its rank.
        held: a rank up to which, from there on, none is after the pattern's own.
        after: a rank from which on all are.
    """

    first: Int64[np.ndarray, " patterns"]
    held: Int64[np.ndarray, " patterns"]
    after: Int64[np.ndarray, " patterns"]


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
        found = Intervals(np.empty_like(patterns.starts), np.empty_like(patterns.starts))
        for block in _blocks(patterns):
            asked = _asked(patterns.at(block))
            begun = self._first(asked)
            found.first[block], found.last[block] = begun.first, self._last(asked, begun)
        return found

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Number of symbols of the longest beginning of each pattern that occurs anywhere."""
        found = np.zeros_like(patterns.starts)
        if not len(self.suffixes):
            return found
        for block in _blocks(patterns):
            own = patterns.at(block)
            rank = self._first(_asked(own)).first
            # what shares most with a string stands right before or right after its place
            before, after = np.maximum(rank - 1, 0), np.minimum(rank, len(self.suffixes) - 1)
            shared = np.maximum(self._shared(before, own), self._shared(after, own))
            found[block] = shared // self.width
        return found

    def _sampled(self, asked: Asked) -> tuple[Int64[np.ndarray, " patterns"], Int64[np.ndarray, " patterns"]]:
        """Count the samples before the least, and not after the greatest, that can begin with each pattern."""
        words, seconds = self.samples
        below = np.searchsorted(words, asked.least[:, 0], side="left")
        above = np.searchsorted(words, asked.greatest[:, 0], side="right")
        tied = np.flatnonzero((asked.patterns.lengths > WORD) & (below < above))
        if len(tied):
            lo, hi, greatest = below[tied], above[tied], asked.greatest[tied, 1]
            below[tied] = above[tied] = lo = _bisected(seconds, lo, hi, asked.least[tied, 1], upper=False)
            more = np.flatnonzero((lo < hi) & (seconds[np.minimum(lo, len(seconds) - 1)] <= greatest))
            above[tied[more]] = _bisected(seconds, lo[more], hi[more], greatest[more], upper=True)
        return below, above

    def _first(self, asked: Asked) -> Found:
        """Search for the first suffix that is not before each pattern."""
        below, above = self._sampled(asked)
        whole = asked.patterns.lengths <= SAMPLED  # for these the sample tells one's own from others
        held = np.where(whole & (below < above), (above - 1) * SAMPLE_EVERY + 1, 0)
        after = np.minimum(above * SAMPLE_EVERY, len(self.suffixes))
        lo = np.maximum((below - 1) * SAMPLE_EVERY + 1, 0)
        hi = np.minimum(np.where(whole, below * SAMPLE_EVERY, after), len(self.suffixes))
        found = Found(lo.copy(), held.copy(), after.copy())
        which = np.arange(len(lo))
        while True:
            some = np.flatnonzero(lo < hi)
            if len(some) < len(which):
                which, asked = which[some], asked.at(some)
                lo, hi, held, after = lo[some], hi[some], held[some], after[some]
            if not len(which):
                return found
            middle = (lo + hi) >> 1
            is_before, is_after = self._compared(middle, asked)
            held = np.where(is_before | is_after, held, np.maximum(held, middle + 1))
            after = np.where(is_after, middle, after)
            lo, hi = np.where(is_before, middle + 1, lo), np.where(is_before, hi, middle)
            found.first[which], found.held[which], found.after[which] = lo, held, after

    def _last(self, asked: Asked, found: Found) -> Int64[np.ndarray, " patterns"]:
        """Rank after the last suffix that begins with each pattern."""
        lo, hi = np.maximum(found.first, found.held), found.after
        last = lo.copy()
        which = np.arange(len(lo))
        while True:
            some = np.flatnonzero(lo < hi)
            if len(some) < len(which):
                which, asked, lo, hi = which[some], asked.at(some), lo[some], hi[some]
            if not len(which):
                return last
            middle = (lo + hi) >> 1
            _, is_after = self._compared(middle, asked)
            lo, hi = np.where(is_after, lo, middle + 1), np.where(is_after, middle, hi)
            last[which] = lo

    def _compared(
        self, rank: Int64[np.ndarray, " patterns"], asked: Asked
    ) -> tuple[Bool[np.ndarray, " patterns"], Bool[np.ndarray, " patterns"]]:
        """Compare the suffix of each rank with all that begin with its pattern: before them, after them."""
        offset = self.suffixes[rank].astype(np.int64) * self.width
        n_words = asked.least.shape[1]
        words = _gathered(self.data, offset, n_words)
        is_before, is_after = _less(words, asked.least), _less(asked.greatest, words)
        done = n_words * WORD
        tied = np.flatnonzero(asked.patterns.lengths > done)
        tied = tied[(words[tied] == asked.least[tied]).all(axis=1)]
        while len(tied):
            some = asked.patterns.at(tied)
            word, own = _words(self.data, offset[tied] + done), _words(some.data, some.starts + done)
            beyond = _beyond(some.lengths, done)
            is_before[tied], is_after[tied] = word < (own & ~beyond), word > (own | beyond)
            done += WORD
            tied = tied[(word == own) & (some.lengths > done)]
        return is_before, is_after

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


def stretches(
    symbols: Integer[np.ndarray, " symbols"],
    starts: Integer[np.ndarray, " patterns"],
    lengths: Integer[np.ndarray, " patterns"],
    width: int,
) -> Patterns:
    """Stretches ``symbols[start : start + length]`` as patterns, each symbol in so many bytes."""
    first, n = (np.asarray(numbers, dtype=np.int64) * width for numbers in (starts, lengths))
    return Patterns(padded(symbols, width), first, n)


def padded(symbols: Integer[np.ndarray, " symbols"], width: int) -> UInt8[np.ndarray, " bytes"]:
    """Symbols as big-endian bytes, with the padding that searches read into."""
    data = np.zeros(len(symbols) * width + PADDING, dtype=np.uint8)
    data[: len(symbols) * width] = np.asarray(symbols).astype(f">u{width}").view(np.uint8)
    return data


def _words(data: UInt8[np.ndarray, " bytes"], offsets: Int64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Eight bytes from each offset on, as one number in their order."""
    return _gathered(data, offsets, 1)[:, 0]


def _gathered(
    data: UInt8[np.ndarray, " bytes"], offsets: Int64[np.ndarray, " n"], n_words: int
) -> UInt64[np.ndarray, "n words"]:
    """The words that follow one another from each offset on: what costs is the way to the first of them."""
    # numpy gathers opaque items twice as fast as byte-swapped numbers: 6 against 12 ns each
    n_bytes = n_words * WORD
    view = np.ndarray((len(data) - n_bytes + 1,), dtype=f"V{n_bytes}", buffer=data, strides=(1,))
    return view[offsets].view(">u8").reshape(-1, n_words).astype(np.uint64)


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


def _blocks(patterns: Patterns) -> Iterator[Int64[np.ndarray, " block"]]:
    """The patterns some at a time, in the order of their first words: neighbours in the corpus share cache lines."""
    order = np.argsort(_words(patterns.data, patterns.starts))
    return (order[start : start + BLOCK] for start in range(0, len(order), BLOCK))


def _asked(patterns: Patterns) -> Asked:
    """The first words of the least and of the greatest suffix that can begin with each pattern."""
    n_words = min(max(-(-int(patterns.lengths.max(initial=1)) // WORD), 1), MOST_WORDS)
    words = _gathered(patterns.data, patterns.starts, n_words)
    beyond = _beyond(patterns.lengths[:, None], WORD * np.arange(n_words))
    return Asked(patterns, words & ~beyond, words | beyond)


def _less(one: UInt64[np.ndarray, "n words"], other: UInt64[np.ndarray, "n words"]) -> Bool[np.ndarray, " n"]:
    """True where words come before others in the order of a dictionary."""
    less = one[:, -1] < other[:, -1]
    for word in range(one.shape[1] - 2, -1, -1):
        less = np.where(one[:, word] == other[:, word], less, one[:, word] < other[:, word])
    return less


def _beyond(lengths: Int64[np.ndarray, "*shape"], done: Int64[np.ndarray, " words"] | int) -> UInt64[np.ndarray, "..."]:
    """Ones where a word that begins after the bytes done reaches beyond the end of its pattern."""
    return BELOW[np.clip(lengths - done, 0, WORD)]
