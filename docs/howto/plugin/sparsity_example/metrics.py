"""A metric: one function over a block of vectors, with a record of what it promises."""

from __future__ import annotations

import math

import sparsity
from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors


@sparsity.metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=math.nan,
    axioms={"magnitude": "wyynyw", "energy": "wyynyw"},
    source="sparsity-example",
    equation="max a / sum a",
)
def largest_share(v: Vectors, /) -> Column:
    """Share of the magnitudes that the largest coordinate holds: 1/d when all are equal, 1 for a one-hot vector."""
    return v.ranked[:, -1] / v.sum(1)
