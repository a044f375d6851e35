"""Distances that a number of a sample may have from that of what it was drawn from: four standard errors.

A normal number is further away once in 16,000 draws. Seeds are fixed, so each test draws once and for all; four errors
leave room for another version of a generator. Tolerances that rounding sets are in :mod:`tests.tolerances`.
"""

from __future__ import annotations

from math import exp, pi, sqrt
from statistics import NormalDist
from typing import Final

ERRORS: Final = 4.0


def of_mean(sd: float, n: float) -> float:
    """Mean of n draws with this standard deviation."""
    return ERRORS * sd / sqrt(n)


def of_share(p: float, n: float) -> float:
    """Share of n draws that succeed with probability p."""
    return of_mean(sqrt(p * (1 - p)), n)


def of_spread(n: float, kurtosis: float = 3.0) -> float:
    """Standard deviation of n draws, relative; that of its square is the root of (kurtosis - 1) / n."""
    return ERRORS * sqrt((kurtosis - 1) / (4 * n))


def of_correlation(n: float, r: float = 0.0) -> float:
    """Correlation of n pairs, and to a twentieth of it that of their ranks (Fieller, Hartley and Pearson 1957)."""
    return ERRORS * 1.03 * (1 - r * r) / sqrt(n - 3)


def of_quantile(p: float, n: float) -> float:
    """Quantile of n draws of a normal law, in its standard deviations."""
    z = NormalDist().inv_cdf(p)
    return of_mean(sqrt(p * (1 - p)), n) / (exp(-z * z / 2) / sqrt(2 * pi))
