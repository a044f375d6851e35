"""A corpus that can be asked what it holds: exact counts, longest matches, documents.

A corpus is written in one alphabet (bytes, or the tokens of some tokenizer) and sorted in shards; a document lies in
one shard, so counts of shards add up, and the longest match is the longest of any shard. Questions are batches of
patterns, stretches of one array of symbols, because a text asks as many questions as it has symbols.

Files are the business of `probes.corpus.corpora`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer

from probes.corpus.alphabet import Alphabet, at_hand
from probes.corpus.suffixes import PADDING, Intervals, Patterns, SuffixArray, stretches
from probes.errors import InputError

OCCURRENCES_AT_A_TIME: Final = 1 << 22


class Shard(NamedTuple):
    """A part of the corpus that was sorted on its own.

    Attributes:
        suffixes: its sorted suffixes.
        documents: index of the first symbol of each document.
    """

    suffixes: SuffixArray
    documents: Int64[np.ndarray, " documents"]

    @property
    def symbols(self) -> Integer[np.ndarray, " symbols"]:
        """Its symbols, 1 more than the ids, 0 at the end of each document."""
        return self.suffixes.data[:-PADDING].view(f">u{self.suffixes.width}")

    def document_of(self, symbol: Integer[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Document that a symbol stands in."""
        return np.searchsorted(self.documents, symbol, side="right") - 1


class Continuations(NamedTuple):
    """Symbols that follow a context in the corpus.

    Attributes:
        ids: symbols that follow it, ascending.
        counts: how often each does.
        n_ends: how often a document ends there; the counts and this add up to the count of the context.
    """

    ids: Int64[np.ndarray, " continuations"]
    counts: Int64[np.ndarray, " continuations"]
    n_ends: int


@runtime_checkable
class Corpus(Protocol):
    """Questions that measures ask a corpus, whoever has indexed it; see :class:`CorpusIndex` for the meanings."""

    @property
    def name(self) -> str:
        """As tables hold it."""
        ...

    @property
    def identity(self) -> str:
        """Of the alphabet it was built in."""
        ...

    @property
    def fingerprint(self) -> str:
        """The same for the same corpus."""
        ...

    def written(self) -> Alphabet:
        """Encode texts as its symbols."""
        ...

    def patterns(
        self,
        ids: Integer[np.ndarray, " symbols"],
        starts: Integer[np.ndarray, " patterns"],
        lengths: Integer[np.ndarray, " patterns"],
    ) -> Patterns:
        """Stretches of ids as patterns to look for."""
        ...

    def count(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Count the occurrences of each pattern."""
        ...

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Symbols of the longest beginning of each pattern that occurs."""
        ...

    def count_documents(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """In how many documents each pattern occurs."""
        ...


@dataclass(frozen=True, eq=False)
class CorpusIndex:
    """An index that is open: a :class:`Corpus` that also knows its documents.

    Attributes:
        name: of the corpus, as tables hold it.
        identity: of the alphabet it was built in.
        alphabet: how texts are written for it; None if it was built with a tokenizer that is not at hand.
        width: bytes of a symbol.
        shards: its parts.
        fingerprint: the same for two indexes iff they hold the same corpus in the same alphabet.
    """

    name: str
    identity: str
    alphabet: Alphabet | None
    width: int
    shards: tuple[Shard, ...]
    fingerprint: str

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return sum(len(shard.documents) for shard in self.shards)

    @property
    def n_symbols(self) -> int:
        """Number of symbols, ends of documents not counted."""
        return sum(len(shard.suffixes.suffixes) for shard in self.shards)

    def ids(self, text: str) -> Int64[np.ndarray, " symbols"]:
        """Write a text in the alphabet of the index.

        Raises:
            InputError: if its tokenizer is not at hand.
        """
        return self.written().symbols(text).ids

    def written(self) -> Alphabet:
        """The alphabet, or a plain sentence about its tokenizer being missing."""
        return at_hand(self.alphabet, self.identity, f"the index {self.name!r}")

    def patterns(
        self,
        ids: Integer[np.ndarray, " symbols"],
        starts: Integer[np.ndarray, " patterns"],
        lengths: Integer[np.ndarray, " patterns"],
    ) -> Patterns:
        """Stretches ``ids[start : start + length]`` as patterns to look for.

        Raises:
            InputError: if an id does not fit the alphabet.
        """
        most = 256**self.width - 1
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < most:
            raise InputError(
                f"symbols of the index {self.name!r} are 0..{most - 1}, got {int(ids.min())}..{int(ids.max())}"
            )
        return stretches(np.asarray(ids, dtype=np.int64) + 1, starts, lengths, self.width)

    def count(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Count the occurrences of each pattern, overlapping ones included.

        The empty pattern occurs before every symbol and at every end of a document.
        """
        counts = np.zeros(len(patterns.starts), dtype=np.int64)
        for shard in self.shards:
            first, last = shard.suffixes.find(patterns)
            counts += last - first
        return counts + np.where(patterns.lengths == 0, self.n_documents, 0)

    def count_texts(self, texts: Sequence[str]) -> Int64[np.ndarray, " texts"]:
        """Count the occurrences of each text."""
        return self.count(self._texts(texts))

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Number of symbols of the longest beginning of each pattern that occurs."""
        found = [shard.suffixes.longest(patterns) for shard in self.shards]
        return np.max(found, axis=0)

    def count_documents(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """In how many documents each pattern occurs."""
        found = np.zeros(len(patterns.starts), dtype=np.int64)
        for shard in self.shards:
            # patterns that a text repeats, or that only occur inside one another, have one interval
            first, last = shard.suffixes.find(patterns)
            _, kept, which = np.unique(first * (1 << 31) + last, return_index=True, return_inverse=True)
            counts = np.zeros(len(kept), dtype=np.int64)
            for owner, symbol in _occurrences(shard.suffixes, Intervals(first[kept], last[kept])):
                pairs = np.sort(owner * len(shard.documents) + shard.document_of(symbol))
                pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
                counts += np.bincount(pairs // len(shard.documents), minlength=len(counts))
            found += counts[which]
        return found

    def documents_with(self, patterns: Patterns) -> list[Int64[np.ndarray, " documents"]]:
        """The documents in which each pattern occurs, ascending, numbered in the order in which they were built."""
        found: list[list[Int64[np.ndarray, " _"]]] = [[] for _ in patterns.starts]
        before = 0
        for shard in self.shards:
            for owner, symbol in _occurrences(shard.suffixes, shard.suffixes.find(patterns)):
                document = shard.document_of(symbol)
                for pattern in np.unique(owner):
                    found[pattern].append(before + np.unique(document[owner == pattern]))
            before += len(shard.documents)
        return [np.concatenate(own) if own else np.empty(0, dtype=np.int64) for own in found]

    def next_counts(self, context: Integer[np.ndarray, " symbols"]) -> Continuations:
        """Count the symbols that follow a context."""
        pattern = self.patterns(context, np.zeros(1, dtype=np.int64), np.array([len(context)]))
        found: dict[int, int] = {}
        for shard in self.shards:
            for _, at in _occurrences(shard.suffixes, shard.suffixes.find(pattern)):
                following = shard.symbols[at + len(context)]
                for symbol, n in zip(*np.unique(following, return_counts=True), strict=True):
                    found[int(symbol)] = found.get(int(symbol), 0) + int(n)
        n_ends = found.pop(0, 0) + (self.n_documents if not len(context) else 0)
        ids = np.array(sorted(found), dtype=np.int64)
        return Continuations(ids - 1, np.array([found[int(symbol)] for symbol in ids], dtype=np.int64), n_ends)

    def document(self, number: int) -> Int64[np.ndarray, " symbols"]:
        """The symbols of one document.

        Raises:
            InputError: if there is none of that number.
        """
        if not 0 <= number < self.n_documents:
            raise InputError(f"the index {self.name!r} has documents 0..{self.n_documents - 1}, got {number}")
        first = np.cumsum([0, *(len(shard.documents) for shard in self.shards)])
        which = int(np.searchsorted(first, number, side="right")) - 1
        shard = self.shards[which]
        ends = np.append(shard.documents[1:], len(shard.symbols))
        own = number - first[which]
        return shard.symbols[shard.documents[own] : ends[own] - 1].astype(np.int64) - 1

    def _texts(self, texts: Sequence[str]) -> Patterns:
        written = list(self.written().ids(texts))
        lengths = np.array([len(ids) for ids in written], dtype=np.int64)
        ids = np.concatenate([*written, np.empty(0, dtype=np.int64)])
        return self.patterns(ids, np.cumsum(lengths) - lengths, lengths)


def _occurrences(
    array: SuffixArray, intervals: Intervals
) -> Iterator[tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]]:
    """Pattern and symbol of every occurrence, whole patterns at a time."""
    first, last = intervals
    total = np.cumsum(last - first)
    start = 0
    while start < len(total):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + OCCURRENCES_AT_A_TIME, side="right")))
        counts = (last - first)[start:stop]
        owner = np.repeat(np.arange(start, stop), counts)
        rank = (
            np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first[start:stop], counts)
        )
        yield owner, array.suffixes[rank].astype(np.int64)
        start = stop
