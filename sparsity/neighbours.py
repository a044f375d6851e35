"""Intrinsic dimension from nearest neighbours, safe against duplicates.

TwoNN reads the dimension of a set from the ratio of each vector's distances to its second and first neighbour. A
repeated vector has a first distance of zero and an infinite ratio; implementations that let it through are silently
biased upwards (a true 20 came out as 21.8 with 30 % duplicates). One that a model computed twice, in batches of other
shapes, differs from itself by rounding: its first distance is tiny instead of zero, and the answer goes to zero (.13
for 5.3). Here both kinds are merged first and counted in the answer. Distances are found by matrix products on centred
float64 data and then recomputed from differences, because the products cancel when a common offset is large.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array
from sparsity.kernels.matrices import Matrix, as_matrix

BLOCK_ROWS = 1024
# Candidates whose distances are recomputed exactly: rounding of the products can swap near ties, not four of them.
CANDIDATES = 4
# Of a vector's length: what float32 rounding may put between two computations of one state, 64 roundings in a row.
REPEATED: Final = 2.0**-18


class IntrinsicDimension(NamedTuple):
    """An estimate, how many distinct vectors it rests on, and how many repeated ones were left out."""

    value: float
    n_used: int
    n_duplicates: int


def two_nn(x: Array, *, discarded: float) -> IntrinsicDimension:
    """Estimate the intrinsic dimension by TwoNN: 1 on a curve, d when the set fills all directions.

    The ratios mu of second to first neighbour distance follow F(mu) = 1 - mu^(-dimension); the slope of -log(1 - F)
    on log mu through the origin is the estimate, after leaving out the ``discarded`` share of largest ratios. Vectors
    repeat each other where they differ by no more than 2^-18 of their length, which is rounding in float32; states of
    a half-precision model that was run in batches of other shapes may differ by more and then count as distinct.

    Args:
        x: the set, (n, d), with at least three distinct vectors.
        discarded: share of the largest ratios to leave out, in (0, 1); the authors use 0.1.

    Returns:
        The estimate with what it used and dropped; NaN for a set that is not finite.

    Source: Facco et al. (2017), Scientific Reports 7, 12140. Equal to scikit-dimension's TwoNN on data without
    duplicates.
    """
    if not 0 < discarded < 1:
        raise ValueError(f"two_nn expects discarded to be a number in (0, 1), got {discarded!r}")
    rows = as_matrix(x, "two_nn", 3)
    if not np.isfinite(rows).all():
        return IntrinsicDimension(np.nan, 0, 0)
    return dimension(neighbourhood(rows), discarded=discarded)


class Neighbourhood(NamedTuple):
    """Vectors that differ by more than rounding, in no order, and how far their nearest others are.

    Attributes:
        n: vectors of the set, repeated ones included.
        distinct: how many of them are left.
        first: distance of each of these to its nearest other one.
        second: to the next; both are empty below three.
    """

    n: int
    distinct: int
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def neighbourhood(rows: Matrix) -> Neighbourhood:
    """Merge repeated vectors of a finite set, and find the neighbours of those that are left."""
    own = np.unique(rows, axis=0)
    if len(own) > 1:
        first, second = nearest_distances(own)
        near = first <= REPEATED * np.linalg.norm(own, axis=1)
        if near.any():
            own = np.concatenate([own[~near], _merged(own[near])])
            first, second = nearest_distances(own) if len(own) > 2 else (first, second)
        if len(own) > 2:
            return Neighbourhood(len(rows), len(own), first, second)
    return Neighbourhood(len(rows), len(own), np.empty(0), np.empty(0))


def dimension(found: Neighbourhood, *, discarded: float) -> IntrinsicDimension:
    """The estimate of :func:`two_nn` from the neighbours of a set.

    Raises:
        ValueError: below three distinct vectors.
    """
    if found.distinct < 3:
        raise ValueError(f"two_nn expects at least 3 distinct vectors, got {found.distinct}")
    ratios = np.sort(found.second / found.first)
    n = len(ratios)
    kept = min(int(n * (1 - discarded)), n - 1)
    log_mu, height = np.log(ratios[:kept]), -np.log(1 - np.arange(1, kept + 1) / n)
    slope = float(log_mu @ height / (log_mu @ log_mu)) if log_mu.any() else np.nan
    return IntrinsicDimension(slope, n, found.n - n)


def _merged(rows: Matrix) -> Matrix:
    """Vectors of which no two differ by rounding alone: each one stands for the later ones that are so near to it."""
    left = rows
    kept: list[Matrix] = []
    while len(left):
        kept.append(left[:1])
        left = left[np.linalg.norm(left - left[0], axis=1) > REPEATED * np.linalg.norm(left[0])]
    return np.concatenate(kept)


def nearest_distances(rows: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from every row to its first and second nearest other row."""
    centred = rows - rows.mean(axis=0)
    squares = np.square(centred).sum(axis=1)
    nearest = np.empty((len(rows), 2))
    for start in range(0, len(rows), BLOCK_ROWS):
        block = centred[start : start + BLOCK_ROWS]
        distance = block @ centred.T  # of a single block half the work: the product is symmetric
        distance *= -2
        distance += squares
        distance += squares[start : start + BLOCK_ROWS, None]
        distance[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        count = min(CANDIDATES, len(rows) - 1)
        candidates = np.argpartition(distance, count - 1, axis=1)[:, :count]
        apart = centred[candidates]
        apart -= block[:, None]
        exact = np.sqrt(np.einsum("ijk,ijk->ij", apart, apart))
        nearest[start : start + BLOCK_ROWS] = np.sort(exact, axis=1)[:, :2]
    return nearest[:, 0], nearest[:, 1]
