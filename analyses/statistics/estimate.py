"""One number with its 95 % interval, and a column of them: what every statistic here returns."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN where it, or an end of its interval, is not defined.

    >>> Estimate(0.3, 0.1, 0.5).sign, Estimate(0.3, -0.1, 0.7).sign
    (1, 0)
    """

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out zero, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class Estimates(NamedTuple):
    """One number per column with its 95 % interval."""

    value: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]


UNDEFINED: Final = Estimate(math.nan, math.nan, math.nan)
