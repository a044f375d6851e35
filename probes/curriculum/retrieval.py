"""Order of a pool for a question: drawn by chance, by shared words, or by the nearness of states.

============ ==========================================================================================================
none         in an order drawn for every question
fixed        in one order drawn once, so that all questions are shown the same examples, which are read once
bm25         by shared words (Okapi BM25 of the package bm25s, ``activation-sparsity[curriculum]``)
states       by the cosine between the model's states, less their mean over the pool
============ ==========================================================================================================

Orders are total: what scores alike keeps the order of the pool. They depend on the seed of the pool and the name of the
question, not on what else is asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import numpy as np
from jaxtyping import Float, Int64

from probes.extras import extra

Retrieval = Literal["none", "fixed", "bm25", "states"]
RETRIEVALS: Final[tuple[Retrieval, ...]] = ("none", "fixed", "bm25", "states")
WORD: Final = re.compile(r"\w+")

Order = Int64[np.ndarray, "questions pool"]


def drawn(questions: Sequence[str], n_pool: int, seed: int) -> Order:
    """An order of the pool for every question, by its name.

    >>> drawn(["a", "b"], 4, 0).shape, (drawn(["b"], 4, 0) == drawn(["a", "b"], 4, 0)[1:]).all()
    ((2, 4), np.True_)
    """
    return np.array([generator(seed, name).permutation(n_pool) for name in questions], dtype=np.int64)


def fixed(questions: Sequence[str], n_pool: int, seed: int) -> Order:
    """The same drawn order for every question."""
    return np.tile(generator(seed, "").permutation(n_pool).astype(np.int64), (len(questions), 1))


def generator(seed: int, name: str) -> np.random.Generator:
    """Chance that belongs to a name."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])


def by_words(questions: Sequence[str], pool: Sequence[str]) -> Order:
    """By BM25 (k1 1.5, b 0.75) of the words of the questions in the texts of the pool.

    Raises:
        InputError: if bm25s is not installed.
    """
    found: Any = extra("bm25s").BM25()
    words = [WORD.findall(text.casefold()) for text in pool]
    found.index(words, show_progress=False)
    known = {word for own in words for word in own}
    asked = [[word for word in WORD.findall(text.casefold()) if word in known] for text in questions]
    scores = [found.get_scores(own) if own else np.zeros(len(pool)) for own in asked]
    return descending(np.array(scores, dtype=np.float64))


def by_states(questions: Float[np.ndarray, "questions d"], pool: Float[np.ndarray, "pool d"]) -> Order:
    """By the cosine of states; a state that is the mean of the pool, or not finite, is like none."""
    middle = pool.astype(np.float64).mean(axis=0)
    return descending(_directions(questions - middle) @ _directions(pool - middle).T)


def _directions(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=np.isfinite(length) & (length > 0))


def descending(scores: Float[np.ndarray, "questions pool"]) -> Order:
    """Places of the pool from the highest score down; ties in the order of the pool."""
    return cast("Order", np.argsort(-scores, axis=1, kind="stable").astype(np.int64))
