"""Gaussian null of a measure: its value for a vector without structure, the line that is drawn in every figure.

An i.i.d. Gaussian vector of the same width is the reference: its expectation is also what any vector gives after a
random rotation, so an excess over it is structure along the coordinates, in either direction. Denser than Gaussian is a
finding too.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from probes.vocabulary.names import cett_sparsity
from sparsity import MetricSpec
from sparsity.nulls import gaussian

Side = Literal["sparser than Gaussian", "denser than Gaussian", "not significantly different from Gaussian"]


class Chance(NamedTuple):
    """Expectation and standard deviation of a measure of one Gaussian vector."""

    mean: float
    sd: float


OF_TAILS: Final = cett_sparsity(0.0).partition("(")[0]


@lru_cache(maxsize=1024)
def chance(metric: str, width: float) -> Chance | None:
    """The Gaussian reference of a measure at a width; None where it has none (sizes) or the width is not known."""
    if math.isnan(width) or metric.startswith(OF_TAILS):
        return None
    null = gaussian(MetricSpec.parse(metric), int(width))
    return Chance(float(null.mean), float(null.sd)) if math.isfinite(null.mean) else None


@lru_cache(maxsize=1024)
def sparser(metric: str) -> Literal["higher", "lower"] | None:
    """In which direction the measure says sparser; None for a measure of size."""
    if metric.startswith(OF_TAILS):  # of the controls: no measure of a vector alone
        return "higher"
    return MetricSpec.parse(metric).record.sparser


def side_of(low: float, high: float, direction: Literal["higher", "lower"]) -> Side:
    """On which side of the null an excess lies, by its interval.

    Args:
        low: lower end of the interval of the excess over the null.
        high: upper end.
        direction: which side the measure calls sparser.

    >>> side_of(-0.03, -0.01, "higher"), side_of(-0.03, 0.01, "higher")
    ('denser than Gaussian', 'not significantly different from Gaussian')
    """
    if not (low > 0 or high < 0):
        return "not significantly different from Gaussian"
    return "sparser than Gaussian" if (low > 0) == (direction == "higher") else "denser than Gaussian"
