"""Many questions at once: what a p-value is worth when it is one of hundreds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats


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
