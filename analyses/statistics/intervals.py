"""Bias-corrected and accelerated bootstrap intervals (Efron 1987), for estimates skewed near an end of their range."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from analyses.statistics.resampling import LEVEL, Interval


def bca(
    estimate: Float[np.ndarray, " columns"],
    replicates: Float[np.ndarray, "draws columns"],
    left_out: Float[np.ndarray, "clusters columns"],
) -> Interval:
    """Interval from bootstrap replicates, corrected by the estimates with one cluster left out.

    The bias is read off the share of replicates below the estimate, the acceleration off the skewness of the jackknife.
    NaN where all replicates lie on one side of the estimate.

    Args:
        estimate: from all items.
        replicates: under resampled clusters.
        left_out: with each cluster left out in turn.
    """
    below = (replicates < estimate).mean(axis=0) + 0.5 * (replicates == estimate).mean(axis=0)
    bias = np.asarray(stats.norm.ppf(below), dtype=np.float64)
    deviations = left_out.mean(axis=0) - left_out
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = (deviations**3).sum(axis=0) / (6 * (deviations**2).sum(axis=0) ** 1.5)
    bounds = np.full((2, len(estimate)), np.nan)
    for row, share in enumerate(((1 - LEVEL) / 2, (1 + LEVEL) / 2)):
        z = bias + float(stats.norm.ppf(share))
        place = np.asarray(stats.norm.cdf(bias + z / (1 - acceleration * z)), dtype=np.float64)
        for column in np.flatnonzero(np.isfinite(place)):
            bounds[row, column] = np.quantile(replicates[:, column], place[column])
    return Interval(bounds[0], bounds[1])
