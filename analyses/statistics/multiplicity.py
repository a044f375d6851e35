"""Many questions at once: what a p-value is worth when it is one of hundreds.

Two guarantees. Benjamini and Hochberg bound the share of false ones among the discoveries; weights make the measures of
one construct count once. Westfall and Young's max-T
bounds the chance of a single false one; because it permutes all columns together it knows that neighbouring layers
and measures of one construct move together, and costs far less power than Bonferroni's correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.association import centred_within, cluster_sums
from analyses.statistics.design import DesignKind, exchanged, recode

FAMILY_PERMUTATIONS: Final = 999
NUMBERS_AT_ONCE: Final = 1_000_000  # permuted levels held at a time


def weighted_benjamini_hochberg(
    p: Float[np.ndarray, " tests"], weights: Float[np.ndarray, " tests"]
) -> Float[np.ndarray, " tests"]:
    r"""Adjusted p-values that bound the expected share of false discoveries, where tests count for more or less.

    Measures of one construct share the weight of one test. NaN stays NaN and does not count. Benjamini and Hochberg
    (1997): with tests in ascending order of p and :math:`W_k` the sum of the first k weights,

    .. math:: \tilde p_i = \min_{k \ge i} p_k W / W_k

    so that the expected *weighted* share of false discoveries is bounded. Equal weights give the plain procedure.

    >>> p = np.array([0.01, np.nan, 0.04])
    >>> weighted_benjamini_hochberg(p, np.ones(3)).round(3).tolist()
    [0.02, nan, 0.04]
    >>> weighted_benjamini_hochberg(np.array([0.01, 0.01, 0.5]), np.array([0.5, 0.5, 1.0])).round(3).tolist()
    [0.02, 0.02, 0.5]
    """
    adjusted = np.full_like(p, np.nan)
    defined = np.flatnonzero(np.isfinite(p))
    if len(defined):
        order = defined[np.argsort(p[defined], kind="stable")]
        raised = p[order] * weights[order].sum() / np.cumsum(weights[order])
        adjusted[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return adjusted


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Adjusted p-values that bound the probability of a single false one, by Holm (1979); NaN counts as 1.

    >>> holm(np.array([0.01, 0.04, np.nan])).tolist()
    [0.03, 0.08, 1.0]
    """
    filled = np.where(np.isfinite(p), p, 1.0)
    order = np.argsort(filled, kind="stable")
    raised = np.maximum.accumulate(filled[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(filled)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


class MaxT(NamedTuple):
    """The tests of one set of items, to be joined with those of others.

    Attributes:
        observed: size of each column's trend in standard deviations of its permutations; NaN for a constant column.
        largest: the largest of all columns under each permutation.
    """

    observed: Float[np.ndarray, " columns"]
    largest: Float[np.ndarray, " permutations"]


def max_t(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    design: DesignKind = "items",
    permutations: int = FAMILY_PERMUTATIONS,
    rng: np.random.Generator,
) -> MaxT:
    """Trends of all columns under permutations that move them together.

    Ranks are taken within clusters where sources are paired; an undefined value has the middle rank. A constant column
    takes no part.

    Args:
        values: the measures.
        levels: place on the axis; 0 and 1 make it a contrast.
        clusters: which items belong together.
        design: what is exchanged: items, ranks within clusters, whole clusters.
        permutations: how many random permutations.
        rng: the source of chance.
    """
    own = recode(clusters)
    everything = own if design == "paired" else np.zeros_like(own)
    ranks, level = centred_within(values, everything), centred_within(levels[:, None], everything)[:, 0]
    ranks = np.where(np.isfinite(ranks), ranks, 0.0)
    sizes = np.bincount(own)
    if design == "clusters":  # a whole cluster moves with all it holds, whatever its size
        ranks, level = cluster_sums(ranks, own), cluster_sums(level[:, None], own)[:, 0] / sizes

    def trends(levels: Float[np.ndarray, "permutations units"]) -> Float[np.ndarray, "permutations columns"]:
        if design != "clusters":
            return levels @ ranks  # the same mean and spread in any order
        centred = levels - (levels @ sizes / sizes.sum())[:, None]
        return centred @ ranks / np.sqrt((centred**2) @ sizes)[:, None]

    unit = own if design != "clusters" else np.arange(len(level))
    orders = exchanged(len(level), unit, "paired" if design == "paired" else "items", permutations, rng)
    at_once = max(1, NUMBERS_AT_ONCE // len(level))
    null = np.concatenate([trends(level[np.stack(some)]) for some in iter(lambda: list(islice(orders, at_once)), [])])
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(np.ptp(ranks, axis=0) > 0, null.std(axis=0), np.nan)
        size, largest = np.abs(trends(level[None])[0]) / spread, np.abs(null) / spread
    return MaxT(size, np.where(np.isfinite(largest), largest, 0.0).max(axis=1, initial=0.0))


def family_p(parts: Sequence[MaxT]) -> list[Float[np.ndarray, " columns"]]:
    """p-values of every column of every part, adjusted for all of them at once (single-step max-T).

    Parts are permuted apart. Where they share no items that is what joint permutation gives; where they do, their
    statistics rise together and p-values are too large rather than too small (Sidak 1967).
    """
    if not parts:
        return []
    largest = np.max([part.largest for part in parts], axis=0)
    reached = [(largest[:, None] >= part.observed * (1 - 1e-12)).sum(axis=0) for part in parts]
    return [
        np.where(np.isfinite(part.observed), (1 + count) / (1 + len(largest)), np.nan)
        for part, count in zip(parts, reached, strict=True)
    ]
