"""Documents of a datastore that a text is taken from, found by runs of equal tokens.

A memory knows by heart what it was made of, so of a text that lies in its corpus it would save nearly all bits and say
nothing about the text. A document shares a text where it holds a run of :data:`RUN` tokens of it, or all of a shorter
text. Runs are compared by 64-bit hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Int64, UInt64

RUN: Final = 16  # tokens of some four characters
RUN_OF_BYTES: Final = 64
BYTES: Final = 512  # symbols of a vocabulary, up to which they are taken for bytes
FEWEST: Final = 4  # tokens of a text; shorter ones are everywhere
BASE: Final = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial modulo 2^64; odd


def sharing(
    texts: Sequence[Int64[np.ndarray, " _"]],
    corpus: Int64[np.ndarray, " tokens"],
    document: Int64[np.ndarray, " tokens"],
    *,
    vocabulary: int,
) -> list[tuple[int, ...]]:
    """Find the documents that share each text.

    Args:
        texts: tokens of each.
        corpus: tokens of all documents end to end.
        document: the document of each token.
        vocabulary: how many tokens there are.

    >>> sharing([np.arange(2, 8), np.arange(3)], np.arange(10), np.repeat([0, 1], [8, 2]), vocabulary=10)
    [(0,), ()]
    """
    found: list[tuple[int, ...]] = [()] * len(texts)
    run = RUN_OF_BYTES if vocabulary <= BYTES else RUN
    sizes = [min(run, len(text)) for text in texts]
    for size in sorted({size for size in sizes if FEWEST <= size <= len(corpus)}):
        whole = document[: len(corpus) - size + 1] == document[size - 1 :]
        at = np.flatnonzero(whole)
        runs = _hashed(corpus, size)[at]
        order = np.argsort(runs, kind="stable")
        runs, of_run = runs[order], document[at[order]]
        for number, text in enumerate(texts):
            if sizes[number] == size:
                own = np.unique(_hashed(text, size))
                first, last = (np.searchsorted(runs, own, side=side) for side in ("left", "right"))
                hits = [of_run[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True) if b > a]
                found[number] = tuple(np.unique(np.concatenate(hits)).tolist()) if hits else ()
    return found


def _hashed(tokens: Int64[np.ndarray, " tokens"], size: int) -> UInt64[np.ndarray, " runs"]:
    """A hash of every run of so many tokens."""
    values = tokens.astype(np.uint64) + np.uint64(1)
    n = len(values) - size + 1
    found = np.zeros(n, dtype=np.uint64)
    for offset in range(size):
        found = found * BASE + values[offset : offset + n]
    return found
