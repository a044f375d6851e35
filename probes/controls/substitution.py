"""Share of each coordinate in a change of Hoyer sparsity between two groups of states, with intervals.

Substitution as in :mod:`sparsity.locate`, whose pairs and whose k50 these are: give a reference vector a coordinate of
a vector of the other group and see how much of the change comes with it (forward); give the other vector the
reference's and see how much goes (backward). Here for one measure, in closed form: exchanging a coordinate changes the
two sums that Hoyer is made of, so all coordinates, and all leading sets of them, take one pass over the pairs, and
intervals are affordable.

A share is a quotient with the change below it: where the change does not differ from zero (its interval holds zero)
there is nothing to have a share of, and all shares are NaN.

Coordinates are ranked on one half of the items and the curve of leading sets is measured on the other, so that it does
not rise by selection alone. Intervals resample the items of both groups; for the curve the two rankings are held as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from sparsity import hoyer
from sparsity.locate import Pairs, first_half, paired_halves
from sparsity.measures.concentration import hoyer_of_sums

RESAMPLES: Final = 200
LEVELS: Final = (2.5, 97.5)
MOST_NUMBERS: Final = 1 << 22  # of a matrix pairs x coordinates: 32 MB; pairs beyond it are left out

Matrix = Float64[np.ndarray, "n d"]
Parts = Float64[np.ndarray, "n parts"]  # a column per coordinate, or per block of them


class Estimate(NamedTuple):
    """A number, or several side by side, with a 95 % interval; NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Substitution(NamedTuple):
    """Decomposition by coordinates of the change of mean Hoyer from the reference to a group.

    Attributes:
        change: mean of the group minus mean of the reference, in units of Hoyer. Where its interval holds zero, all
            others but `order` are NaN.
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


def substitute(
    reference: Float64[np.ndarray, "n d"],
    group: Float64[np.ndarray, "m d"],
    reference_item: Int64[np.ndarray, " n"],
    group_item: Int64[np.ndarray, " m"],
    rng: np.random.Generator,
    blocks: int | None = None,
) -> Substitution:
    """Attribute the change of mean Hoyer between two groups of vectors to coordinates, or to blocks of them.

    Args:
        reference: vectors of the reference group, finite.
        group: vectors of the other group, finite.
        reference_item: the item each vector belongs to (several tokens of one text are not independent).
        group_item: the same for the other group.
        rng: draws halves, partners and resamples.
        blocks: exchange so many equal blocks of coordinates that follow each other (the heads of ``attn_z``, groups of
            experts) instead of single coordinates; d is then their number in everything that is returned.

    Returns:
        Shares in units of the change; NaN where the change does not differ from zero. With fewer than two items in a
        group there are no halves: everything is NaN.
    """
    width, d = reference.shape[1], blocks or reference.shape[1]
    halves = paired_halves(reference, group, reference_item, group_item, rng, max(64, MOST_NUMBERS // width // 2))
    if len(halves) < 2 or d < 2:
        nan, nans = np.array(np.nan), np.full(d, np.nan)
        empty, rows = Estimate(nan, nan, nan), Estimate(nans, nans, nans)
        return Substitution(empty, rows, rows, rows, empty, np.arange(d))
    weights = _weights(halves, rng)
    effects = [exchanged(half.first, half.second, blocks) for half in halves]
    changes = [hoyer(half.second) - hoyer(half.first) for half in halves]
    orders = [_order(*effect, change) for effect, change in zip(effects, changes, strict=True)]
    paths = [leading(half.first, half.second, order, blocks) for half, order in zip(halves, orders[::-1], strict=True)]
    gained, lost = (np.concatenate(both) for both in zip(*effects, strict=True))
    change = np.concatenate(changes)
    total = weights @ change
    moved = _estimate(total / np.where(weights.any(axis=1), weights.sum(axis=1), np.nan))
    is_told = moved.low > 0 or moved.high < 0
    # no change has no shares, nor has a resample without pairs
    unit = np.where(is_told & (total != 0), total, np.nan)[:, None]
    curve = (weights @ np.concatenate(paths)) / unit
    return Substitution(
        change=moved,
        forward=_estimate((weights @ gained) / unit),
        backward=_estimate((weights @ lost) / unit),
        curve=_estimate(curve),
        k50=_estimate(first_half(curve)),
        order=_order(gained, lost, change),
    )


class _Sums(NamedTuple):
    """The two sums of each vector that Hoyer is made of, as columns."""

    magnitude: Matrix
    energy: Matrix

    @classmethod
    def of(cls, x: Matrix) -> _Sums:
        return cls(np.abs(x).sum(axis=1, keepdims=True), np.square(x).sum(axis=1, keepdims=True))


def exchanged(one: Matrix, other: Matrix, blocks: int | None = None) -> tuple[Parts, Parts]:
    """Effect of each coordinate (or block) alone on Hoyer: gained by ``one`` when it gets the other's, or lost."""
    return _effects(one, other, *_differences(one, other, blocks))


def leading(one: Matrix, other: Matrix, order: Int64[np.ndarray, " parts"], blocks: int | None = None) -> Parts:
    """Effect of the first m coordinates (or blocks) of an order together, m = 1 .. d: mean of gain and loss."""
    magnitude, energy = (np.cumsum(found[:, order], axis=1) for found in _differences(one, other, blocks))
    gained, lost = _effects(one, other, magnitude, energy)
    return (gained + lost) / 2


def _differences(one: Matrix, other: Matrix, blocks: int | None) -> tuple[Parts, Parts]:
    """Differences of magnitude and of energy, coordinate by coordinate or summed over blocks."""
    found = np.abs(other) - np.abs(one), np.square(other) - np.square(one)
    if blocks is None:
        return found
    magnitude, energy = (own.reshape(len(own), blocks, -1).sum(axis=2) for own in found)
    return magnitude, energy


def _effects(one: Matrix, other: Matrix, magnitude: Parts, energy: Parts) -> tuple[Parts, Parts]:
    """Gain of ``one`` and loss of ``other`` when both sums change by so much."""
    d = one.shape[1]
    of_one, of_other = _Sums.of(one), _Sums.of(other)
    gained = _hoyer(of_one.magnitude + magnitude, of_one.energy + energy, d) - _hoyer(*of_one, d)
    lost = _hoyer(*of_other, d) - _hoyer(of_other.magnitude - magnitude, of_other.energy - energy, d)
    return gained, lost


def _hoyer(magnitude: Matrix, energy: Matrix, d: int) -> Matrix:
    # rounding of the running sums may leave a tiny negative rest where everything was exchanged
    with np.errstate(divide="ignore", invalid="ignore"):
        return hoyer_of_sums(np.maximum(magnitude, 0), np.maximum(energy, 0), d)


def _order(gained: Parts, lost: Parts, change: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " parts"]:
    """Coordinates by decreasing share of the change."""
    return np.argsort(-(gained + lost).mean(axis=0) * np.sign(change.mean()), kind="stable")


def _weights(halves: Sequence[Pairs], rng: np.random.Generator) -> Float64[np.ndarray, "r n"]:
    """Times that each pair counts in each resample of the items of both groups; the first row is the sample itself."""
    weights = np.ones((1 + RESAMPLES, sum(len(half.first) for half in halves)))
    for of in ([half.first_item for half in halves], [half.second_item for half in halves]):
        names, index = np.unique(np.concatenate(of), return_inverse=True)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
        weights[1:] *= counts[:, index]
    return weights


def _estimate(values: np.ndarray) -> Estimate:
    """The first row and the interval of the others, as far as they are defined."""
    defined = np.where(np.isfinite(values), values, np.nan)
    low, high = _percentiles(defined[1:])
    return Estimate(np.asarray(defined[0]), low, high)


def _percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles :data:`LEVELS` down each column, NaN left out; NaN for a column that has nothing else.

    >>> _percentiles(np.array([[0.0, np.nan], [np.nan, np.nan], [1.0, np.nan]]))
    (array([0.025,   nan]), array([0.975,   nan]))
    """
    ordered = np.sort(values, axis=0)  # NaN last; numpy's own for NaN goes column by column in Python
    last = np.maximum((~np.isnan(ordered)).sum(axis=0) - 1, 0)

    def at(level: float) -> np.ndarray:
        place = np.asarray(level / 100 * last)
        below = np.floor(place).astype(int)
        low, high = (
            np.take_along_axis(ordered, np.asarray(index)[None], axis=0)[0]
            for index in (below, np.minimum(below + 1, last))
        )
        return np.asarray(low + (high - low) * (place - below))

    low, high = map(at, LEVELS)
    return low, high
