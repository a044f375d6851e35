"""Many questions at once: what a p-value is worth when it is one of hundreds.

Two guarantees. Benjamini and Hochberg bound the share of false ones among the discoveries; weights make the measures of
one construct count once. Westfall and Young's max-T
bounds the chance of a single false one; because it permutes all columns together it knows that neighbouring layers
and measures of one construct move together, and costs far less power than Bonferroni's correction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import centred_within
from analyses.statistics.design import DesignKind, recode
from analyses.statistics.exchange import exchanged
from analyses.statistics.permutation import PERMUTATIONS


def benjamini_hochberg(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Adjusted p-values that bound the expected share of false discoveries; NaN stays NaN and does not count as a test.

    >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04])).round(3).tolist()
    [0.02, nan, 0.04]
    """
    adjusted = np.full_like(p, np.nan)
    defined = np.isfinite(p)
    if defined.any():
        adjusted[defined] = stats.false_discovery_control(p[defined])
    return adjusted


def weighted_benjamini_hochberg(
    p: Float[np.ndarray, " tests"], weights: Float[np.ndarray, " tests"]
) -> Float[np.ndarray, " tests"]:
    r"""The same where tests count for more or less: measures of one construct share the weight of one test.

    Benjamini and Hochberg (1997): with tests in ascending order of p and :math:`W_k` the sum of the first k weights,

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


def max_t_p(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    design: DesignKind = "items",
    permutations: int = PERMUTATIONS,
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """p-values of the rank trend of each column, adjusted for all columns at once (single-step max-T).

    Ranks are taken within clusters where sources are paired. A constant column is NaN and takes no part.

    Args:
        values: the measures, without missing values.
        levels: place on the axis.
        clusters: which items belong together.
        design: what may be exchanged; whole clusters must be of one size.
        permutations: how many random permutations.
        rng: the source of chance.
    """
    own = recode(clusters)
    everything = own if design == "paired" else np.zeros_like(own)
    ranks, level = centred_within(values, everything), centred_within(levels[:, None], everything)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = ranks / np.sqrt((ranks**2).sum(axis=0))
    observed = np.abs(level @ standard)
    largest = np.array(
        [
            np.nanmax(np.abs(level[order] @ standard), initial=0.0)
            for order in exchanged(len(level), own, design, permutations, rng)
        ]
    )
    reached = (largest[:, None] >= observed * (1 - 1e-12)).sum(axis=0)
    return np.where(np.isfinite(observed), (1 + reached) / (1 + permutations), np.nan)
