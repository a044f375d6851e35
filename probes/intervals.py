"""The mean of a few independent values with Student's interval: over seeds of a training, over chunks of a file.

What needs resampling, groups or a p-value is in `analyses.statistics`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats


class MeanInterval(NamedTuple):
    """The mean of n values and the ends of its 95 % interval; the ends are NaN below two values, all is NaN of none."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Float[np.ndarray, " values"]) -> MeanInterval:
    r"""Mean of independent values with its 95 % interval; what is not finite is left out and not counted in n.

    .. math:: \bar x \pm t_{0.975, n-1} \frac{s}{\sqrt n}

    Values that are all the same give an interval without width.

    >>> [round(number, 2) for number in mean_interval(np.array([1.0, 2.0, 3.0, np.nan]))]
    [2.0, -0.48, 4.48, 3]
    """
    there = np.asarray(values, np.float64)
    there = there[np.isfinite(there)]
    n = len(there)
    mean = float(there.mean()) if n else math.nan
    if n < 2:
        return MeanInterval(mean, math.nan, math.nan, n)
    half = float(stats.t.ppf(0.975, n - 1) * there.std(ddof=1) / math.sqrt(n))
    return MeanInterval(mean, mean - half, mean + half, n)
