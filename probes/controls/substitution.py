"""Which coordinates carry a change of Hoyer sparsity between two groups of states, and how surely.

Substitution as in :mod:`sparsity.locate`: give a reference vector a coordinate of a vector of the other group and see
how much of the change comes with it (forward); give the other vector the reference's and see how much goes (backward).
Here for one measure, in closed form: exchanging a coordinate changes the two sums that Hoyer is made of, so all
coordinates, and all leading sets of them, take one pass over the pairs, and intervals are affordable.

Both groups are split in halves by item. Pairs are drawn within a half; coordinates are ranked on one half and the curve
of leading sets is measured on the other, so that it does not rise by selection alone. Intervals resample the items of
both groups; for the curve the two rankings are held as they are.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES: Final = 200
LEVELS: Final = (2.5, 97.5)
MOST_NUMBERS: Final = 1 << 22  # of a matrix pairs x coordinates: 32 MB; pairs beyond it are left out

Matrix = Float64[np.ndarray, "n d"]
Items = Int64[np.ndarray, " n"]


class Estimate(NamedTuple):
    """A number, or several side by side, with a 95 % interval; NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Substitution(NamedTuple):
    """How the change of mean Hoyer from the reference to a group is made up.

    Attributes:
        change: mean of the group minus mean of the reference, in units of Hoyer.
        forward: (d,) share of the change gained when a reference vector gets that coordinate from the group.
        backward: (d,) share lost when a vector of the group gets that coordinate from the reference.
        curve: (d,) share carried by the m leading coordinates together, m = 1 .. d, both directions averaged; 1 at d.
        k50: the smallest m with a share of at least one half.
        order: (d,) coordinates by decreasing share over all pairs.
    """

    change: Estimate
    forward: Estimate
    backward: Estimate
    curve: Estimate
    k50: Estimate
    order: Int64[np.ndarray, " d"]


class _Pairs(NamedTuple):
    """Vectors of the reference (one) and of the group (other) side by side, and the items they come from."""

    one: Matrix
    other: Matrix
    one_item: Items
    other_item: Items


def substitute(
    reference: Float64[np.ndarray, "n d"],
    group: Float64[np.ndarray, "m d"],
    reference_item: Int64[np.ndarray, " n"],
    group_item: Int64[np.ndarray, " m"],
    rng: np.random.Generator,
) -> Substitution:
    """Attribute the change of mean Hoyer between two groups of vectors to coordinates.

    Args:
        reference: vectors of the reference group, finite.
        group: vectors of the other group, finite.
        reference_item: the item each vector belongs to (several tokens of one text are not independent).
        group_item: the same for the other group.
        rng: draws halves, partners and resamples.

    Returns:
        Shares in units of the change. With fewer than two items in a group there are no halves: everything is NaN.
    """
    d = reference.shape[1]
    halves = [_halves(items, rng) for items in (reference_item, group_item)]
    if any(half is None for half in halves) or d < 2:
        nan, nans = np.array(np.nan), np.full(d, np.nan)
        empty, rows = Estimate(nan, nan, nan), Estimate(nans, nans, nans)
        return Substitution(empty, rows, rows, rows, empty, np.arange(d))
    pairs: list[_Pairs] = []
    for half in (False, True):
        one, other = (np.flatnonzero(of == half) for of in halves)
        one, other = _partners(one, other, max(64, MOST_NUMBERS // d // 2), rng)
        pairs.append(_Pairs(reference[one], group[other], reference_item[one], group_item[other]))
    both = _Pairs(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)))
    weights = _weights(both, rng)
    change = hoyer(both.other) - hoyer(both.one)
    gained, lost = exchanged(both.one, both.other)
    total = weights @ change
    unit = np.where(total == 0, np.nan, total)[:, None]  # no change has no shares, nor has a resample without pairs
    forward, backward = ((weights @ effects) / unit for effects in (gained, lost))
    orders = [_order(*exchanged(half.one, half.other), hoyer(half.other) - hoyer(half.one)) for half in pairs]
    paths = np.concatenate(
        [leading(half.one, half.other, order) for half, order in zip(pairs, orders[::-1], strict=True)]
    )
    curve = (weights @ paths) / unit
    return Substitution(
        change=_estimate(total / np.where(weights.any(axis=1), weights.sum(axis=1), np.nan)),
        forward=_estimate(forward),
        backward=_estimate(backward),
        curve=_estimate(curve),
        k50=_estimate(first_half(curve)),
        order=_order(gained, lost, change),
    )


def hoyer(x: Matrix) -> Float64[np.ndarray, " n"]:
    """Hoyer sparsity of each row; NaN for a zero row."""
    return _hoyer(np.abs(x).sum(axis=1), np.square(x).sum(axis=1), x.shape[1])


def exchanged(one: Matrix, other: Matrix) -> tuple[Matrix, Matrix]:
    """What each coordinate alone does to Hoyer: gained by ``one`` when it gets the other's, lost by ``other``."""
    d = one.shape[1]
    magnitude = np.abs(other) - np.abs(one)
    energy = np.square(other) - np.square(one)
    sums = [(np.abs(x).sum(axis=1)[:, None], np.square(x).sum(axis=1)[:, None]) for x in (one, other)]
    gained = _hoyer(sums[0][0] + magnitude, sums[0][1] + energy, d) - hoyer(one)[:, None]
    lost = hoyer(other)[:, None] - _hoyer(sums[1][0] - magnitude, sums[1][1] - energy, d)
    return gained, lost


def leading(one: Matrix, other: Matrix, order: Int64[np.ndarray, " d"]) -> Matrix:
    """What the first m coordinates of an order do together, m = 1 .. d: mean of gain and loss."""
    d = one.shape[1]
    magnitude = np.cumsum((np.abs(other) - np.abs(one))[:, order], axis=1)
    energy = np.cumsum((np.square(other) - np.square(one))[:, order], axis=1)
    sums = [(np.abs(x).sum(axis=1)[:, None], np.square(x).sum(axis=1)[:, None]) for x in (one, other)]
    gained = _hoyer(sums[0][0] + magnitude, sums[0][1] + energy, d) - hoyer(one)[:, None]
    lost = hoyer(other)[:, None] - _hoyer(sums[1][0] - magnitude, sums[1][1] - energy, d)
    return (gained + lost) / 2


def first_half(curve: Float64[np.ndarray, "r d"]) -> Float64[np.ndarray, " r"]:
    """The smallest m at which each curve reaches one half; NaN where it never does.

    >>> first_half(np.array([[0.2, 0.6, 1.0], [0.1, 0.2, 0.3]]))
    array([ 2., nan])
    """
    reached = curve >= 0.5
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.nan)


def _hoyer(l1: np.ndarray, squares: np.ndarray, d: int) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        # rounding of the running sums may leave a tiny negative rest where everything was exchanged
        ratio = np.maximum(l1, 0) / np.sqrt(np.maximum(squares, 0))
    return (np.sqrt(d) - ratio) / (np.sqrt(d) - 1)


def _order(gained: Matrix, lost: Matrix, change: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " d"]:
    """Coordinates by decreasing share of the change."""
    return np.argsort(-(gained + lost).mean(axis=0) * np.sign(change.mean()), kind="stable")


def _halves(items: Items, rng: np.random.Generator) -> np.ndarray | None:
    """Which half each vector's item fell into; None if there are not two items."""
    names, index = np.unique(items, return_inverse=True)
    if len(names) < 2:
        return None
    return (rng.permutation(len(names)) % 2).astype(bool)[index]


def _partners(
    one: Int64[np.ndarray, " n"], other: Int64[np.ndarray, " m"], most: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Pair two sets at random, the smaller one repeated as evenly as possible."""
    n = min(max(len(one), len(other)), most)
    first, second = (rng.permutation(np.resize(rng.permutation(rows), n)) for rows in (one, other))
    return first, second


def _weights(pairs: _Pairs, rng: np.random.Generator) -> Float64[np.ndarray, "r n"]:
    """How often each pair counts in each resample of the items of both groups; the first row is the sample itself."""
    weights = np.ones((1 + RESAMPLES, len(pairs.one)))
    for items in (pairs.one_item, pairs.other_item):
        names, index = np.unique(items, return_inverse=True)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
        weights[1:] *= counts[:, index]
    return weights


def _estimate(values: np.ndarray) -> Estimate:
    """The first row and the interval of the others."""
    defined = np.where(np.isfinite(values), values, np.nan)
    known = (~np.isnan(defined[1:])).any(axis=0)
    filled = np.where(known, defined[1:], 0.0)
    percentile = np.nanpercentile if np.isnan(filled).any() else np.percentile  # the first is a hundred times slower
    low, high = percentile(filled, LEVELS, axis=0)
    return Estimate(np.asarray(defined[0]), np.where(known, low, np.nan), np.where(known, high, np.nan))
