r"""Kendall's tau-b and Somers' D: how much more often two items are in the order of their levels than against it.

Unlike Spearman's rho they are chances, which people can picture. Both are ratios of sums over pairs, so their errors
follow from what each cluster contributes to those sums (the delta method), clusters kept whole.

.. math:: \tau_b = \frac{S}{\sqrt{P_x P_y}}, \qquad D_{y|x} = \frac{S}{P_x}

with S the concordant less the discordant pairs and P the pairs that are not tied on one side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import Estimate, cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.resampling import LEVEL

BLOCK = 2048


class Concordance(NamedTuple):
    """Both coefficients of every column."""

    tau_b: Estimate
    somers_d: Estimate


def concordance(
    values: Float[np.ndarray, "n columns"], levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]
) -> Concordance:
    """Coefficients with Student's intervals over clusters.

    Args:
        values: the measures, without missing values.
        levels: place on the axis.
        clusters: which items belong together.
    """
    codes = recode(clusters)
    n_clusters = int(codes.max()) + 1
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, max(n_clusters - 1, 1)))
    tau, somers = np.full((2, 3, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        pairs = _pair_sums(values[:, column], levels)
        s, p_x, p_y = pairs.sum(axis=0)
        if n_clusters < 2 or not p_x or not p_y:
            continue
        # each pair is counted at both of its items, so a cluster's derivative of log(sum) is twice its share
        shares = 2 * cluster_sums(pairs, codes)
        d_s, d_x, d_y = shares.T
        for into, value, change in (
            (tau, s / np.sqrt(p_x * p_y), (d_s - s / 2 * (d_x / p_x + d_y / p_y)) / np.sqrt(p_x * p_y)),
            (somers, s / p_x, (d_s - s * d_x / p_x) / p_x),
        ):
            error = np.sqrt(n_clusters / (n_clusters - 1) * ((change - change.mean()) ** 2).sum())
            into[:, column] = value, max(value - quantile * error, -1.0), min(value + quantile * error, 1.0)
    return Concordance(Estimate(*tau), Estimate(*somers))


def _pair_sums(values: Float[np.ndarray, " n"], levels: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """What each item adds to S, P_x and P_y, as sums over all other items."""
    n = len(values)
    sums = np.empty((n, 3))
    for start in range(0, n, BLOCK):
        x = np.sign(levels[start : start + BLOCK, None] - levels).astype(np.int8)
        y = np.sign(values[start : start + BLOCK, None] - values).astype(np.int8)
        sums[start : start + BLOCK, 0] = (x * y).sum(axis=1, dtype=np.int64)
        sums[start : start + BLOCK, 1] = np.count_nonzero(x, axis=1)
        sums[start : start + BLOCK, 2] = np.count_nonzero(y, axis=1)
    return sums
