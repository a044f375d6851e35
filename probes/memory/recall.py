"""Questions to a memory, and the share of the prediction that is left to it.

A memory beside a language model has a distribution of its own over the next token; what counts is the interpolation
``weight * p_memory + (1 - weight) * p_model``, as in kNN-LM (Khandelwal et al. 2020, arXiv:1911.00172, eq. 3). The
weight is found on validation text, never guessed: the code length of an interpolation is a convex function of the
weight, so the best one is where its derivative changes sign, found by bisection, and it is never worse on that text
than either part alone. A memory that looks things up also knows how far away the nearest was; the weight may then be
another one for near than for far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from probes.errors import InputError
from probes.vocabulary.prompt import Prompt

HALVINGS: Final = 60  # of [0, 1]: the bracket is then narrower than float64 can tell apart
DISTANCE_BINS: Final = 8


class Recall(NamedTuple):
    """Probability that a memory gave each token of a prompt before it came.

    Attributes:
        log2_p: at several temperatures; ``-inf`` for what it held impossible, NaN at index 0, before which is nothing.
        distance: from the state that the token was predicted from to the nearest key; NaN at index 0 and for memories
            that look nothing up.
    """

    log2_p: Float64[np.ndarray, "temperatures tokens"]
    distance: Float64[np.ndarray, " tokens"]


@runtime_checkable
class Memory(Protocol):
    """Something that predicts the next token beside a language model, in the tokens of that model."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def fingerprint(self) -> str:
        """The same for two memories iff they predict the same."""
        ...

    @property
    def n_bytes(self) -> int:
        """Bytes that have to be stored."""
        ...

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Temperatures worth trying on validation text."""
        ...

    def recall(self, prompts: Sequence[Prompt], temperatures: Sequence[float]) -> list[Recall]:
        """Its probabilities of the tokens of some prompts; long ones are read in windows."""
        ...


@dataclass(frozen=True, slots=True)
class Weight:
    """The share of the memory in the prediction, everywhere the same or by retrieval distance.

    Attributes:
        shares: 0 for the model alone, 1 for the memory alone; the first where the nearest key is near.
        edges: distances at which the next share begins, ascending; none if there is one share.

    >>> Weight((0.5, 0.1), (2.0,)).at(np.array([1.0, 3.0])).tolist()
    [0.5, 0.1]
    """

    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if len(self.shares) != len(self.edges) + 1 or not all(0 <= share <= 1 for share in self.shares):
            raise InputError(
                f"a weight is a share from 0 to 1 and one more per edge, got {self.shares} for {len(self.edges)} edges"
            )

    def at(self, distance: Float64[np.ndarray, " tokens"]) -> Float64[np.ndarray, " tokens"]:
        """The share for each token."""
        return np.array(self.shares)[np.searchsorted(np.array(self.edges), distance, side="right")]


class Fit(NamedTuple):
    """A memory tuned on validation text: at which temperature, with which weight, and the bits of the text with it."""

    temperature: float
    weight: Weight
    bits: float


def mixed(
    log2_base: Float64[np.ndarray, " tokens"],
    log2_memory: Float64[np.ndarray, " tokens"],
    share: Float64[np.ndarray, " tokens"],
) -> Float64[np.ndarray, " tokens"]:
    """Log2-probability under the interpolation; exactly the one or the other where the share is 0 or 1.

    >>> mixed(np.array([-1.0, -1.0]), np.array([-np.inf, -3.0]), np.array([0.5, 0.0])).tolist()
    [-2.0, -1.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        both = np.logaddexp2(np.log2(1 - share) + log2_base, np.log2(share) + log2_memory)
    return np.where(share == 0, log2_base, np.where(share == 1, log2_memory, both))


def best_share(log2_base: Float64[np.ndarray, " tokens"], log2_memory: Float64[np.ndarray, " tokens"]) -> float:
    """The weight that codes these tokens in the fewest bits.

    The derivative of the code length, ``sum (p_base - p_memory) / p_mixed``, never falls as the weight grows; where it
    changes sign is the answer, or the end towards which it points.

    Returns:
        From 0 (the memory does not help) to 1; 0 for no tokens.

    >>> round(best_share(np.log2([0.5, 0.5]), np.log2([1.0, 0.25])), 9)
    0.5
    """
    ratio = np.exp2(np.clip(log2_memory - log2_base, -1000, 1000)) - 1  # p_memory / p_base - 1

    def slope(share: float) -> float:
        with np.errstate(divide="ignore"):
            return -float((ratio / (1 + share * ratio)).sum())

    low, high = 0.0, 1.0
    if not len(ratio) or slope(low) >= 0:
        return 0.0
    if slope(high) <= 0:
        return 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return low


def fit_weight(
    log2_base: Float64[np.ndarray, " tokens"],
    recall: Recall,
    temperatures: Sequence[float],
    *,
    by_distance: bool = False,
) -> Fit:
    """The temperature and weight with which a memory codes validation tokens in the fewest bits.

    Args:
        log2_base: what the model gives each token.
        recall: what the memory gives it at each temperature.
        temperatures: these.
        by_distance: whether to find a share of its own for each eighth of the tokens by retrieval distance.

    Raises:
        InputError: if there are no tokens, or one whose probability is not a number.
    """
    if not len(log2_base) or not np.isfinite(log2_base).all() or np.isnan(recall.log2_p).any():
        raise InputError(
            f"a weight is found on tokens to which the model gives a probability, and of these {len(log2_base)} "
            "validation tokens some have none (text that the tokenizer cannot write?): hand in other text"
        )
    edges: tuple[float, ...] = ()
    if by_distance and np.isfinite(recall.distance).all():
        quantiles = np.quantile(recall.distance, np.arange(1, DISTANCE_BINS) / DISTANCE_BINS)
        edges = tuple(float(edge) for edge in np.unique(quantiles))
    where = np.searchsorted(np.array(edges), recall.distance, side="right")
    found: list[Fit] = []
    for temperature, log2_memory in zip(temperatures, recall.log2_p, strict=True):
        shares = tuple(
            best_share(log2_base[where == number], log2_memory[where == number]) for number in range(len(edges) + 1)
        )
        weight = Weight(shares, edges)
        bits = -math.fsum(mixed(log2_base, log2_memory, weight.at(recall.distance)).tolist())
        found.append(Fit(float(temperature), weight, bits))
    return min(found, key=lambda fit: fit.bits)
