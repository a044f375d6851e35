"""One scale of bits: whatever assigns probabilities to the symbols of a text assigns the text a code length.

A language model, an n-gram table and a compressor disagree about symbols but not about texts: each needs some number of
bits to write the text down, and dividing by the bytes of the original (never by its tokens) makes the numbers
comparable. An arithmetic coder reaches the ideal code length ``sum of -log2 p`` within two bits for a whole text, so
the ideal is what is reported.

Not here: an actual coder, and anything that needs more of a predictor than the probability of what really came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int32

from probes.corpus.alphabet import Alphabet, encoded
from probes.errors import InputError

WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Probability that a predictor gave each symbol of a text before it saw it.

    Attributes:
        text: the text.
        starts: index of the first character of each symbol, -1 where unknown.
        ends: index after its last character, -1 where unknown.
        log2_p: log2-probability of each symbol given those before it; ``-inf`` for what was held impossible.
    """

    text: str
    starts: Int32[np.ndarray, " symbols"]
    ends: Int32[np.ndarray, " symbols"]
    log2_p: Float64[np.ndarray, " symbols"]

    @property
    def bits(self) -> float:
        """Ideal code length of the text: 0 for what was certain, ``inf`` for what was held impossible."""
        return -math.fsum(self.log2_p.tolist()) + 0.0


@runtime_checkable
class Coder(Protocol):
    """Anything that gives a text a length in bits."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    def bits(self, text: str) -> float:
        """Code length of one text."""
        ...


@runtime_checkable
class Predictor(Coder, Protocol):
    """A coder that says what each symbol costs."""

    def predict(self, text: str) -> Prediction:
        """Probabilities of the symbols of one text, each given those before it."""
        ...

    def bits(self, text: str) -> float:
        """Code length of one text."""
        return self.predict(text).bits


def bits_per_byte(coder: Coder, text: str) -> float:
    """Code length per byte of the text in UTF-8: 0 for what is known by heart, 8 for random bytes, more for surprises.

    Returns:
        Bits per byte, at least 0; NaN for the empty text.

    >>> from probes.corpus.alphabet import Bytes
    >>> bits_per_byte(Uniform(Bytes()), "naïve")
    8.0
    """
    n_bytes = len(encoded(text))
    return coder.bits(text) / n_bytes if n_bytes else math.nan


@dataclass(frozen=True)
class Uniform(Predictor):
    """Knows the alphabet and nothing else: the same probability for every symbol.

    Attributes:
        alphabet: what texts are written in.
    """

    alphabet: Alphabet

    @property
    def name(self) -> str:
        """``uniform``."""
        return "uniform"

    def predict(self, text: str) -> Prediction:
        """``-log2(size)`` for every symbol."""
        ids, starts, ends = self.alphabet.symbols(text)
        return Prediction(text, starts, ends, np.full(len(ids), -math.log2(self.alphabet.size)))


@dataclass(frozen=True)
class Mixture(Predictor):
    """Several predictors at once: their probabilities averaged with fixed weights.

    The code length of a text is at most that of any part plus ``-log2`` of its weight, per symbol.

    Attributes:
        parts: predictors over the same symbols.
        weights: one per part, not negative, with sum 1.
    """

    parts: Sequence[Predictor]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        """Refuse weights that do not make a distribution."""
        if len(self.parts) != len(self.weights) or not self.parts:
            raise InputError(f"a mixture needs one weight per predictor, got {len(self.weights)} for {len(self.parts)}")
        if min(self.weights) < 0 or abs(math.fsum(self.weights) - 1) > WEIGHT_TOLERANCE:
            raise InputError(f"weights of a mixture are not negative and add up to 1, got {list(self.weights)}")

    @property
    def name(self) -> str:
        """Weights and names of the parts."""
        return " + ".join(f"{weight:g} {part.name}" for weight, part in zip(self.weights, self.parts, strict=True))

    def predict(self, text: str) -> Prediction:
        """``log2`` of the weighted mean of the parts' probabilities.

        Raises:
            InputError: if the parts do not cut this text into the same symbols.
        """
        found = [part.predict(text) for part in self.parts]
        first = found[0]
        for other in found[1:]:
            if not (np.array_equal(first.starts, other.starts) and np.array_equal(first.ends, other.ends)):
                raise InputError(
                    f"predictors of a mixture must cut the text alike, got {len(first.log2_p)} symbols from "
                    f"{self.parts[0].name} and {len(other.log2_p)} from another"
                )
        with np.errstate(divide="ignore"):
            terms = [p.log2_p + np.log2(weight) for p, weight in zip(found, self.weights, strict=True)]
        return Prediction(text, first.starts, first.ends, np.logaddexp2.reduce(terms, axis=0))
