"""Intervals over items for numbers of a partition, by leaving out groups of items while the clustering is held fixed.

Items are left out rather than drawn with replacement: an item drawn twice agrees with itself, and has no distance to
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Bool
from scipy import stats

from analyses.statistics.resampling import LEVEL

GROUPS: Final = 20  # of items, left out one at a time


def interval_over_items(
    n: int, statistic: Callable[[Bool[np.ndarray, " n"]], float], rng: np.random.Generator
) -> tuple[float, float]:
    """95 % interval of a statistic of all items, around its value; NaN below two items or where it is undefined.

    Args:
        n: how many items.
        statistic: the number from a mask of the items that are kept.
        rng: the source of chance: which items are left out together.

    >>> values = np.arange(40.0)
    >>> low, high = interval_over_items(40, lambda kept: float(values[kept].mean()), np.random.default_rng(0))
    >>> bool(low < 19.5 < high)
    True
    """
    n_groups = min(GROUPS, n)
    if n_groups < 2:
        return float("nan"), float("nan")
    group = rng.permutation(n) % n_groups
    left = np.array([statistic(group != out) for out in range(n_groups)])
    variance = (n_groups - 1) / n_groups * float(((left - left.mean()) ** 2).sum())
    half = float(stats.t(n_groups - 1).ppf((1 + LEVEL) / 2)) * variance**0.5
    value = statistic(np.ones(n, dtype=bool))
    return value - half, value + half
