"""Distributions that symbols are coded from: what a model expects, with room for what it holds for impossible.

Where the tokenizer has a token for every byte, the symbols are the model's tokens and nothing is added. Where it has
not, there is one more, the escape, which keeps 2^-16 of what the model gave away. A chunk that is written as bytes is
coded from the weights of the byte tokens among themselves. What the escape and the coder's floor cost together is told
by :func:`mass_kept`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from probes.compression.reading import Reader, Totals
from probes.compression.spelling import N_BYTES, Spelling, Way

ESCAPE_MASS: Final = 2.0**-16
"""Weight of the escape, as a share of all other symbols together."""
CODER_FLOOR: Final = 2.0**-24
"""The least probability that the coder gives a symbol."""
MOST_BYTES: Final = 1 << 22
"""Memory for distributions of steps that a writer codes together."""


def mass_kept(vocabulary: int, *, escape: bool) -> float:
    """Share of probability that is kept for symbols a model might give none: for the escape and by the coder's floor.

    Every symbol costs ``-log2(1 - mass)`` bits more than its ideal at most: .0045 bits for 50,000 tokens.

    >>> round(mass_kept(256, escape=True), 6), round(mass_kept(256, escape=False), 6)
    (3.1e-05, 1.5e-05)
    """
    return escape * ESCAPE_MASS + (vocabulary + escape) * CODER_FLOOR


def escape_bits(spelling: Spelling) -> float:
    """Bits by which every token's code is longer because there is an escape beside it."""
    return math.log2(1 + ESCAPE_MASS) if spelling.has_escape else 0.0


class Distributions:
    """Weights of the symbols of a group, step after step in the same memory.

    Args:
        reader: the model.
        spelling: what its tokens stand for.
        n_rows: rows of the group.
        n_steps: steps that are kept at a time, at most; fewer if they would need much memory.

    Attributes:
        n_steps: steps that are kept.
    """

    def __init__(self, reader: Reader, spelling: Spelling, n_rows: int, *, n_steps: int = 1) -> None:
        self._reader = reader
        self._escape = spelling.has_escape
        width = reader.vocabulary + self._escape
        self.n_steps = max(1, min(n_steps, MOST_BYTES // (8 * n_rows * width)))
        self._tokens = np.empty((self.n_steps * n_rows, width))
        self._bytes = np.full((self.n_steps * n_rows, N_BYTES), 1 / N_BYTES)
        self._known = np.flatnonzero(spelling.byte_tokens >= 0)
        self._byte_tokens = torch.from_numpy(spelling.byte_tokens[self._known])

    def put(self, logits: Float[Tensor, "rows vocabulary"], way: Way, at: int = 0) -> Totals:
        """Write the weights of some rows that are written the same way, and return their sums.

        Args:
            logits: of these rows.
            way: how they are written.
            at: rows that are kept before them.
        """
        if way == "bytes":
            return self._put_bytes(logits, self._bytes[at : at + len(logits)])
        weights = self._tokens[at : at + len(logits)]
        if not self._escape:
            return self._reader.weigh(logits, weights)
        totals = self._reader.weigh(logits, weights[:, :-1])
        weights[:, -1] = ESCAPE_MASS * totals
        return (1 + ESCAPE_MASS) * totals

    def kept(self, way: Way, n_rows: int) -> Float64[np.ndarray, "rows symbols"]:
        """Weights of the first rows that were written a way."""
        return (self._bytes if way == "bytes" else self._tokens)[:n_rows]

    def bits_of_rare(
        self, logits: Float[Tensor, "rows vocabulary"], way: Way, symbols: Int[np.ndarray, " rows"]
    ) -> Float64[np.ndarray, " rows"]:
        """Code lengths in bits where the weight of a symbol is too small for a number."""
        own, outside = logits.double().cpu(), ESCAPE_MASS
        beside = math.log2(1 + ESCAPE_MASS) if self._escape else 0.0
        if way == "bytes":
            own, outside, beside = own[:, self._byte_tokens], 1 / N_BYTES, -math.log2(len(self._known) / N_BYTES)
            places = np.full(N_BYTES, len(self._known))
            places[self._known] = np.arange(len(self._known))
            symbols = places[symbols]
        n = own.shape[1]
        bits = -own.log_softmax(-1).numpy()[np.arange(len(own)), np.minimum(symbols, n - 1)] / math.log(2) + beside
        return np.where(symbols == n, -math.log2(outside) + (beside if way == "tokens" else 0.0), bits)

    def _put_bytes(self, logits: Float[Tensor, "rows vocabulary"], sink: Float64[np.ndarray, "rows 256"]) -> Totals:
        """The model's weights of byte tokens among themselves; a byte without a token has one in 256."""
        tokens: Int64[Tensor, " known"] = self._byte_tokens.to(logits.device)
        if len(self._known) == N_BYTES:
            return self._reader.weigh(logits[:, tokens], sink)
        if len(self._known):
            own = np.empty((len(logits), len(self._known)))
            totals = self._reader.weigh(logits[:, tokens], own)
            sink[:, self._known] = own * np.expand_dims(len(self._known) / N_BYTES / np.asarray(totals), -1)
        return 1.0
