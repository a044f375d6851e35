"""Matches between a text and a corpus, symbol by symbol.

Most questions here follow from one answer: how long the longest stretch is that begins at each symbol and occurs in the
corpus. Where such a stretch ends never moves back as one reads on, so the longest stretch that *ends* at a symbol, and
with it the longest context that the corpus knows (the ∞-gram), is a look-up.

A search has a cost of its own besides that of its patterns, so many texts are asked together: they are handed in end to
end with ``bounds``, where one ends and the next begins (text i is ``ids[bounds[i]:bounds[i + 1]]``; None means one
text), and no pattern reaches from one into the next.

Matches longer than :data:`LONGEST` symbols are reported as that long.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from probes.corpus.index import Corpus, CorpusIndex
from probes.errors import InputError

LONGEST: Final = 4096

Ids = Integer[np.ndarray, " symbols"]
Bounds = Int64[np.ndarray, " bounds"]


def match_ahead(index: Corpus, ids: Ids, bounds: Bounds | None = None) -> Int64[np.ndarray, " symbols"]:
    """Length of the longest stretch that begins at each symbol and occurs in the corpus.

    From one symbol of a text to the next it falls by at most one.

    Returns:
        Symbols, from 0 (never seen) to what is left of the text.
    """
    starts = np.arange(len(ids))
    return index.longest(index.patterns(ids, starts, np.minimum(_left(ids, bounds), LONGEST)))


def match_behind(ahead: Int64[np.ndarray, " symbols"]) -> Int64[np.ndarray, " symbols"]:
    """Length of the longest stretch that ends with each symbol and occurs in the corpus, from :func:`match_ahead`.

    From one symbol of a text to the next it grows by at most one. Texts that were handed in end to end stay apart.

    >>> match_behind(np.array([3, 2, 1, 0, 2, 1])).tolist()
    [1, 2, 3, 0, 1, 2]
    """
    ends = np.maximum.accumulate(np.arange(len(ahead)) + ahead)
    stop = np.arange(1, len(ahead) + 1)
    # the earliest beginning whose match reaches past the symbol; one that starts after it has length 0
    return stop - np.minimum(np.searchsorted(ends, stop, side="left"), stop)


def count_ngrams(index: Corpus, ids: Ids, n: int, bounds: Bounds | None = None) -> Int64[np.ndarray, " ngrams"]:
    """Count the occurrences in the corpus of each n-gram of the texts, in the order of the texts.

    Raises:
        InputError: if ``n`` is not positive.
    """
    return index.count(index.patterns(ids, *_ngrams(ids, n, bounds)))


def count_ngram_documents(
    index: Corpus, ids: Ids, n: int, bounds: Bounds | None = None
) -> Int64[np.ndarray, " ngrams"]:
    """In how many documents of the corpus each n-gram of the texts occurs, in the order of the texts."""
    return index.count_documents(index.patterns(ids, *_ngrams(ids, n, bounds)))


def covered(counts: Int64[np.ndarray, " ngrams"], n: int, n_symbols: int) -> Bool[np.ndarray, " symbols"]:
    """Mask of the symbols that stand in an n-gram of the corpus; all False in a text shorter than n.

    Args:
        counts: of the n-grams of one text, from :func:`count_ngrams`.
        n: their length.
        n_symbols: the text's.
    """
    at = np.flatnonzero(counts)
    reach = np.zeros(n_symbols + 1, dtype=np.int64)
    reach[at] += 1
    reach[at + n] -= 1
    return np.cumsum(reach)[:-1] > 0


class InfinityGram(NamedTuple):
    """Prediction of each symbol by the longest known context (Liu et al. 2024).

    Attributes:
        context: symbols of the longest context before each symbol that occurs in the corpus.
        probability: share of its occurrences that the symbol follows, 0 for what never followed.
        seen: how often that context occurs.
    """

    context: Int64[np.ndarray, " symbols"]
    probability: Float64[np.ndarray, " symbols"]
    seen: Int64[np.ndarray, " symbols"]


def infinity_gram(
    index: Corpus,
    ids: Ids,
    ahead: Int64[np.ndarray, " symbols"] | None = None,
    bounds: Bounds | None = None,
) -> InfinityGram:
    """Probability of each symbol under the ∞-gram model: continuation counts of the longest context seen.

    The end of a document counts as a continuation, so the probabilities of all symbols and of an end add up to 1.

    Args:
        index: the corpus.
        ids: the text.
        ahead: its :func:`match_ahead`, if that is known.
        bounds: of several texts end to end.
    """
    behind = match_behind(match_ahead(index, ids, bounds) if ahead is None else ahead)
    context = np.concatenate([[0], behind[:-1]])[: len(ids)].astype(np.int64)
    if bounds is not None:
        context[bounds[:-1][np.diff(bounds) > 0]] = 0
    starts = np.arange(len(ids)) - context
    both = index.patterns(ids, np.tile(starts, 2), np.concatenate([context, context + 1]))
    of_context, with_symbol = np.split(index.count(both), 2)
    return InfinityGram(context, with_symbol / of_context, of_context)


class Nearest(NamedTuple):
    """The document that shares the longest stretch with a text.

    Attributes:
        document: its number, -1 if no symbol of the text occurs anywhere; the first of several.
        start: where in the text the stretch begins.
        length: its symbols.
    """

    document: int
    start: int
    length: int


def nearest_document(index: CorpusIndex, ids: Ids) -> Nearest:
    """Find the document that shares the longest stretch with one text."""
    ahead = match_ahead(index, ids)
    if not ahead.any():
        return Nearest(-1, 0, 0)
    start = int(ahead.argmax())
    pattern = index.patterns(ids, np.array([start]), ahead[start : start + 1])
    return Nearest(int(index.documents_with(pattern)[0][0]), start, int(ahead[start]))


class Span(NamedTuple):
    """A stretch of text and what the corpus knows of it.

    Attributes:
        start: first character.
        end: character after the last.
        n_symbols: symbols of the index's alphabet.
        n_occurrences: how often it occurs in the corpus; 0 for what lies between familiar spans.
        n_documents: in how many documents.
    """

    start: int
    end: int
    n_symbols: int
    n_occurrences: int
    n_documents: int


def highlight(index: CorpusIndex, text: str, *, shortest: int) -> list[Span]:
    """Cut a text into the fewest familiar spans, read from left to right, and what lies between them.

    Args:
        index: the corpus.
        text: the text; spans end at whole characters.
        shortest: symbols of the shortest span that counts as familiar.

    Returns:
        Spans that tile the text.
    """
    if shortest < 1:
        raise InputError(f"a familiar span has at least 1 symbol, got {shortest}")
    ids, starts, ends = index.written().symbols(text)
    ahead = match_ahead(index, ids)
    whole = np.append(np.append(True, starts[1:] != starts[:-1]), True)
    cuts: list[tuple[int, int]] = []
    at = 0
    while at < len(ids):
        stop = at + int(ahead[at])
        while stop > at and not whole[stop]:
            stop -= 1
        if whole[at] and stop - at >= shortest:
            cuts.append((at, stop))
            at = stop
        else:
            at += 1
    begin = np.array([start for start, _ in cuts], dtype=np.int64)
    patterns = index.patterns(ids, begin, np.array([stop for _, stop in cuts], dtype=np.int64) - begin)
    counts, documents = index.count(patterns), index.count_documents(patterns)
    spans: list[Span] = []
    done, read = 0, 0
    for (start, stop), count, held in zip(cuts, counts.tolist(), documents.tolist(), strict=True):
        if starts[start] > done:
            spans.append(Span(done, int(starts[start]), start - read, 0, 0))
        spans.append(Span(int(starts[start]), int(ends[stop - 1]), stop - start, count, held))
        done, read = int(ends[stop - 1]), stop
    return spans if done == len(text) else [*spans, Span(done, len(text), len(ids) - read, 0, 0)]


def _ngrams(
    ids: Ids, n: int, bounds: Bounds | None
) -> tuple[Int64[np.ndarray, " ngrams"], Int64[np.ndarray, " ngrams"]]:
    if n < 1:
        raise InputError(f"an n-gram has at least 1 symbol, got n = {n}")
    starts = np.flatnonzero(_left(ids, bounds) >= n)
    return starts, np.full_like(starts, n)


def _left(ids: Ids, bounds: Bounds | None) -> Int64[np.ndarray, " symbols"]:
    """Symbols from each one to the end of its text."""
    ends = len(ids) if bounds is None else np.repeat(bounds[1:], np.diff(bounds))
    return ends - np.arange(len(ids))
