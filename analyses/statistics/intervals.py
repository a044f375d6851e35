"""Intervals for estimates that are far from normal: skewed ones, ratios, and groups that do not overlap at all.

Percentiles of resamples serve most estimates. They are one-sided where an estimate is skewed (bias-corrected and
accelerated intervals, Efron 1987), they have no width where two groups are completely separated (Newcombe 2006), and a
ratio of two estimates has the error of its denominator too (Fieller 1954).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from analyses.statistics.resampling import LEVEL, Interval, Way


def bca(
    estimate: Float[np.ndarray, " columns"],
    replicates: Float[np.ndarray, "draws columns"],
    left_out: Float[np.ndarray, "clusters columns"],
) -> Interval:
    """Interval from bootstrap replicates, corrected by the estimates with one cluster left out.

    The bias is read off the share of replicates below the estimate, the acceleration off the skewness of the jackknife.
    NaN where all replicates lie on one side of the estimate, or some are undefined.

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
    ordered, last = np.sort(replicates, axis=0), len(replicates) - 1
    bounds: list[np.ndarray] = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + float(stats.norm.ppf(share))
        place = last * np.asarray(stats.norm.cdf(bias + z / (1 - acceleration * z)), dtype=np.float64)
        below = np.where(np.isfinite(place), np.floor(place), 0).astype(np.int64)
        pair = np.take_along_axis(ordered, np.stack([below, np.minimum(below + 1, last)]), axis=0)
        bounds.append(pair[0] + (place - below) * (pair[1] - pair[0]))
    return Interval(bounds[0], bounds[1])


def separated(n_low: int, n_high: int) -> float:
    r"""Lower end of the 95 % interval of Cliff's delta where every item of one group lies above every one of the other.

    Newcombe (2006), method 5: the least area :math:`\theta` under the curve that is within 1.96 of its own standard
    errors of 1, with N = (m + n) / 2 - 1,

    .. math:: 1 - \theta = 1.96 \sqrt{\frac{\theta(1-\theta)}{mn}
              \left(1 + N\frac{1-\theta}{2-\theta} + N\frac{\theta}{1+\theta}\right)}

    and delta is :math:`2\theta - 1`.

    Args:
        n_low: items (clusters) of the lower group.
        n_high: of the higher group.

    >>> round(separated(10, 10), 2), round(separated(100, 100), 2)
    (0.6, 0.96)
    """
    if not n_low or not n_high:
        return float("nan")
    quantile, mean = float(stats.norm.ppf((1 + LEVEL) / 2)), (n_low + n_high) / 2 - 1

    def beyond(theta: float) -> float:
        spread = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        return (1 - theta) - quantile**2 * theta / (n_low * n_high) * spread

    return 2 * float(optimize.brentq(beyond, 0.0, 1.0)) - 1


def fieller(
    over: Float[np.ndarray, " two"], replicates: Float[np.ndarray, "draws two"], way: Way
) -> tuple[float, float]:
    r"""Interval of a ratio of two estimates by Fieller, from their replicates; the second is the denominator.

    All ratios :math:`\theta` for which :math:`a - \theta b` is within the quantile of its own standard error. NaN where
    the denominator is not told from zero, because then no ratio is excluded.

    Args:
        over: numerator and denominator.
        replicates: both under each weighting.
        way: how the weightings were made.
    """
    known = replicates[np.isfinite(replicates).all(axis=1)]
    n = len(known)
    if n < 2:
        return float("nan"), float("nan")
    deviations = known - known.mean(axis=0)
    few = way == "jackknife"
    spread = deviations.T @ deviations * ((n - 1) / n if few else 1 / (n - 1))
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) if few else stats.norm.ppf((1 + LEVEL) / 2))
    (a, b), (aa, ab, bb) = over, quantile**2 * spread[[0, 0, 1], [0, 1, 1]]
    if not b**2 > bb:
        return float("nan"), float("nan")
    root = float(np.sqrt(max((a * b - ab) ** 2 - (b**2 - bb) * (a**2 - aa), 0.0)))
    middle, scale = float(a * b - ab), float(b**2 - bb)
    return (middle - root) / scale, (middle + root) / scale
