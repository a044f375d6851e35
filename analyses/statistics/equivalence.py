"""Equivalence tests: the effects that a non-significant result excludes, and those it could have detected.

"No difference" is a claim and needs a bound: an effect is called negligible only where its whole 90 % interval lies
inside the bound (two one-sided tests at 5 %). The bound must be declared; its default is the noise floor, the effect
that the same comparison shows between halves of items that should not differ.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

from analyses.statistics.association import cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.resampling import MANY_CLUSTERS, student

POWER: Final = 0.8
ALPHA: Final = 0.05
NORMAL_QUANTILE: Final = 1.959964


class Equivalence(NamedTuple):
    """Verdict on an effect against a bound: negligible, relevant or undecided.

    Attributes:
        bound: the largest effect that counts as negligible.
        verdict: ``negligible``, ``relevant`` (the interval lies outside the bound on one side) or ``undecided``.
        p: the larger of the two one-sided p-values.
    """

    bound: float
    verdict: Literal["negligible", "relevant", "undecided"]
    p: float


def equivalence(estimate: float, error: float, bound: float, *, freedom: float = math.inf) -> Equivalence:
    """Two one-sided tests of an estimate with its standard error against a bound.

    Args:
        estimate: the effect.
        error: its standard error.
        bound: the largest negligible effect, positive.
        freedom: degrees of freedom of the error; with G clusters G - 1.

    Raises:
        ValueError: if the bound is not positive.

    >>> equivalence(0.01, 0.02, 0.1).verdict, equivalence(0.01, 0.2, 0.1).verdict, equivalence(0.5, 0.05, 0.1).verdict
    ('negligible', 'undecided', 'relevant')
    """
    if not bound > 0:
        raise ValueError(f"an equivalence bound is a positive effect, got {bound}")
    if not (math.isfinite(estimate) and error > 0):
        return Equivalence(bound, "undecided", math.nan)
    p = max(_below(-(estimate + bound) / error, freedom), _below((estimate - bound) / error, freedom))
    half = student(1 - ALPHA / 2, freedom) * error
    if p < ALPHA:
        return Equivalence(bound, "negligible", p)
    outside = estimate - half > bound or estimate + half < -bound
    return Equivalence(bound, "relevant" if outside else "undecided", p)


def _below(value: float, freedom: float) -> float:
    """Distribution function of Student's law, without what `scipy.stats` checks at every call."""
    return float(special.stdtr(freedom, value))


def noise_floor(
    values: Float[np.ndarray, "n columns"],
    clusters: Int[np.ndarray, " n"],
    *,
    currency: Literal["delta", "correlation"] = "delta",
    splits: int = 200,
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """95th percentile of the effect between random halves of the same items, whole clusters on one side, per column.

    What a comparison of this size shows when there is nothing to show; smaller effects are not worth a name. An
    undefined value counts as a middling one. NaN for fewer than two clusters.

    Args:
        values: the measures.
        clusters: which items belong together.
        currency: absolute Cliff's delta of the halves, or absolute rank correlation with membership.
        splits: how many random halves.
        rng: the source of chance.
    """
    codes = recode(clusters)
    n_clusters = int(codes.max(initial=-1)) + 1
    if n_clusters < 2:
        return np.full((values.shape[1],), np.nan, dtype=np.float64)
    ranks = np.asarray(stats.rankdata(values, axis=0, nan_policy="omit"), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        centred = np.where(np.isfinite(ranks), ranks - (np.isfinite(ranks).sum(axis=0) + 1) / 2, 0.0)
    sums = cluster_sums(centred, codes)
    if n_clusters < MANY_CLUSTERS:
        half = np.arange(n_clusters) < n_clusters // 2
        side = rng.permuted(np.broadcast_to(half, (splits, n_clusters)), axis=1)
    else:
        side = rng.random((splits, n_clusters), dtype=np.float32) < 0.5  # halves to within a few per cent
    sizes = np.bincount(codes)
    n, n_first = len(codes), side @ sizes
    first = side @ sums  # ranks are centred, so the other half holds the rest of zero
    if currency == "delta":
        effects = 2 * first * (1 / n_first + 1 / (n - n_first))[:, None] / n
    else:
        spread = np.sqrt((n_first * (n - n_first) / n)[:, None] * (centred**2).sum(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            effects = first / spread
    return np.asarray(np.quantile(np.abs(effects), 0.95, axis=0), dtype=np.float64)


def minimum_detectable(error: float, *, freedom: float = math.inf, power: float = POWER) -> float:
    """The effect that a two-sided test at 5 % with this standard error finds with the given power.

    >>> round(minimum_detectable(0.1), 3)
    0.28
    """
    return error * (student(1 - ALPHA / 2, freedom) + student(power, freedom))
