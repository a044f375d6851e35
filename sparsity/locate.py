"""Localization of a change of sparsity: the coordinates, heads, experts or blocks that carry it.

Problem: one coordinate of 100 sigma at d = 4096 moves Hoyer from .205 to .566, so a difference between two groups of
vectors may be the story of one dimension. Energy does not tell: the largest dimension need not be the one that
changes. Idea: substitution. Replace a part of every vector of one group by its values in the other group and see how
much of the change comes with it; do it in both directions and average. Parts are ranked by that share, and the
smallest leading set that makes half of the change is k50. A ranking fits the vectors it was made on, so parts are
ranked on one half of the items and their leading sets measured on the other (:func:`paired_halves`): k50 has no
advantage from selection. ``probes.controls`` computes the same for Hoyer in closed form, with intervals.

Leaving the largest dimensions out is the blunter tool, and honest only where they are outliers:
:func:`outlier_dimensions` says "not applicable" unless m dimensions hold more than five times their even share m/d of
the energy.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import A, Array
from sparsity.kernels.evaluation import evaluate
from sparsity.kernels.matrices import Matrix, as_matrix
from sparsity.specs import MetricSpec

# Below this multiple of the even share, removing dimensions removes signal rather than outliers.
OUTLIER_FACTOR = 5


class Localization(NamedTuple):
    """Parts of the change of a measure from one group to another.

    Attributes:
        change: mean of the shifted group minus mean of the reference group.
        shares: share of the change that each part carries, both directions averaged; they need not add up to 1.
        forward: share gained when the part of a reference vector is replaced by that of a shifted one.
        backward: share lost when the part of a shifted vector is replaced by that of a reference one.
        order: parts by decreasing share.
        k50: how many leading parts, substituted together, make half of the change, ranked on one half of the items and
            measured on the other; NaN if all of them do not, or a group has fewer than two items.
        p_values: for each part, how often a random split of the pooled vectors gives it an effect at least as large.
    """

    change: float
    shares: NDArray[np.float64]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    order: NDArray[np.int_]
    k50: float
    p_values: NDArray[np.float64]


class OutlierDimensions(NamedTuple):
    """The m dimensions of largest mean-square energy and whether they are outliers at all."""

    dimensions: tuple[int, ...]
    energy_share: float
    applicable: bool


def substitution_shares(
    reference: Array,
    shifted: Array,
    spec: MetricSpec | str,
    *,
    permutations: int,
    rng: np.random.Generator,
    parts: Sequence[Sequence[int]] | None = None,
    reference_item: NDArray[np.int_] | None = None,
    shifted_item: NDArray[np.int_] | None = None,
) -> Localization:
    """Attribute the change of a measure between two groups of vectors to parts of the vector.

    Args:
        reference: (n, d) vectors of the reference group.
        shifted: (m, d) vectors of the other group; partners are drawn at random, each used as evenly as possible.
        spec: the measure.
        permutations: how many random splits of the pooled vectors give the null of each part's effect; 0 for none.
        rng: draws partners and splits.
        parts: index sets (heads, experts, blocks); by default every coordinate is a part.
        reference_item: the item that each vector belongs to, where several tokens of one text are vectors; by default
            every vector is an item of its own.
        shifted_item: the same for the other group.

    Returns:
        Shares in units of the change; NaN if the means are equal.
    """
    spec = MetricSpec.parse(spec) if isinstance(spec, str) else spec
    first, second = as_matrix(reference, "substitution_shares"), as_matrix(shifted, "substitution_shares")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"substitution_shares expects groups of one width, got d = {first.shape[1]} and d = {second.shape[1]}"
        )
    indices: list[NDArray[np.int_]] = (
        [np.array([j]) for j in range(first.shape[1])] if parts is None else [np.asarray(p) for p in parts]
    )
    first_item, second_item = (
        np.arange(len(rows)) if own is None else np.asarray(own)
        for rows, own in ((first, reference_item), (second, shifted_item))
    )
    pairs = paired_halves(first, second, first_item, second_item, rng)
    first, second = np.concatenate([half.first for half in pairs]), np.concatenate([half.second for half in pairs])
    gained, lost = _effects(first, second, spec, indices)
    change = _mean(second, spec) - _mean(first, spec)
    effects = (gained + lost) / 2
    pooled, exceeded = np.concatenate([first, second]), np.zeros(len(indices))
    for _ in range(permutations):
        split = rng.permutation(pooled)
        null = np.add(*_effects(split[: len(first)], split[len(first) :], spec, indices)) / 2
        exceeded += np.abs(null) >= np.abs(effects)
    p_values = (1 + exceeded) / (1 + permutations) if permutations else np.full(len(indices), np.nan)
    unit = change or np.nan
    order = np.argsort(-effects / unit, kind="stable")
    k50 = _k50(pairs, spec, indices, change)
    return Localization(change, effects / unit, gained / unit, lost / unit, order, k50, p_values)


def outlier_dimensions(reference: Array, *, m: int) -> OutlierDimensions:
    """Find the ``m`` dimensions of largest mean-square energy, and say whether they hold enough to be called outliers.

    >>> import numpy as np
    >>> x = np.ones((3, 100)); x[:, 7] = 50.0
    >>> outlier_dimensions(x, m=1).dimensions, outlier_dimensions(x, m=1).applicable
    ((7,), True)
    """
    rows = as_matrix(reference, "outlier_dimensions")
    d = rows.shape[1]
    if not 0 < m < d:
        raise ValueError(f"outlier_dimensions expects 0 < m < {d}, got m = {m}")
    energy = np.square(rows).sum(axis=0)
    largest = np.argsort(-energy, kind="stable")[:m]
    share = float(energy[largest].sum() / energy.sum()) if energy.sum() > 0 else np.nan
    return OutlierDimensions(tuple(int(j) for j in largest), share, bool(share > OUTLIER_FACTOR * m / d))


def without(x: A, dimensions: Sequence[int]) -> A:
    """Leave dimensions out: a measure then sees d - m coordinates, and no zeros in place of those that went.

    >>> import numpy as np
    >>> without(np.array([[1.0, 2.0, 3.0]]), [1])
    array([[1., 3.]])
    """
    kept = [j for j in range(x.shape[-1]) if j not in set(dimensions)]
    return cast("A", cast("Any", x)[..., kept])


class Pairs(NamedTuple):
    """Vectors of two groups side by side, and the item that each comes from."""

    first: Matrix
    second: Matrix
    first_item: NDArray[np.int_]
    second_item: NDArray[np.int_]


def paired_halves(
    first: Matrix,
    second: Matrix,
    first_item: NDArray[np.int_],
    second_item: NDArray[np.int_],
    rng: np.random.Generator,
    most: int | None = None,
) -> tuple[Pairs, ...]:
    """Split the items of both groups in halves and pair the vectors within a half at random.

    Within a half the smaller group is repeated as evenly as possible.

    Args:
        first: (n, d) vectors of one group.
        second: (m, d) vectors of the other.
        first_item: the item that each vector belongs to; an item is never in both halves.
        second_item: the same for the other group.
        rng: draws halves and partners.
        most: at most so many pairs in a half.

    Returns:
        Two halves; or all pairs together, once, where a group has fewer than two items.
    """
    halves = [_halves(items, rng) for items in (first_item, second_item)]
    sides = (False, True) if all(half is not None for half in halves) else (None,)
    found: list[Pairs] = []
    for side in sides:
        one, other = (
            np.arange(len(of)) if side is None else np.flatnonzero(half == side)
            for of, half in zip((first_item, second_item), halves, strict=True)
        )
        n = min(max(len(one), len(other)), most or len(first_item) + len(second_item))
        one, other = (rng.permutation(np.resize(rng.permutation(rows), n)) for rows in (one, other))
        found.append(Pairs(first[one], second[other], first_item[one], second_item[other]))
    return tuple(found)


def first_half(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest m at which each curve ``(r, d)`` reaches one half; NaN where it never does.

    >>> import numpy as np
    >>> first_half(np.array([[0.2, 0.6, 1.0], [0.1, 0.2, 0.3]]))
    array([ 2., nan])
    """
    reached = curve >= 0.5
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.nan)


def _halves(items: NDArray[np.int_], rng: np.random.Generator) -> NDArray[np.bool_] | None:
    """Half into which each vector's item fell; None if there are not two items."""
    names, index = np.unique(items, return_inverse=True)
    return None if len(names) < 2 else (rng.permutation(len(names)) % 2).astype(bool)[index]


def _mean(rows: Matrix, spec: MetricSpec) -> float:
    return float(np.nanmean(evaluate(rows, [spec.record.job(spec.keywords)])[0]))


def _effects(
    first: Matrix, second: Matrix, spec: MetricSpec, parts: Sequence[NDArray[np.int_]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain of the reference group and loss of the shifted group when each part in turn is exchanged."""
    before, after = _mean(first, spec), _mean(second, spec)
    gained, lost = np.empty(len(parts)), np.empty(len(parts))
    for index, part in enumerate(parts):
        mixed_first, mixed_second = first.copy(), second.copy()
        mixed_first[:, part], mixed_second[:, part] = second[:, part], first[:, part]
        gained[index], lost[index] = _mean(mixed_first, spec) - before, after - _mean(mixed_second, spec)
    return gained, lost


def _k50(pairs: Sequence[Pairs], spec: MetricSpec, parts: Sequence[NDArray[np.int_]], change: float) -> float:
    """Substitute the parts that lead in the other half together, both ways, until half of the change is made."""
    if len(pairs) < 2 or not change:
        return np.nan
    effects = [np.add(*_effects(half.first, half.second, spec, parts)) for half in pairs]
    orders = [np.argsort(-effect * np.sign(change), kind="stable") for effect in effects][::-1]
    mixed = [(half.first.copy(), half.second.copy()) for half in pairs]
    before = [_mean(half.first, spec) - _mean(half.second, spec) for half in pairs]
    share = np.array([len(half.first) for half in pairs]) / sum(len(half.first) for half in pairs)
    for count in range(len(parts)):
        made = np.empty(len(pairs))
        for index, (half, order, (one, other)) in enumerate(zip(pairs, orders, mixed, strict=True)):
            part = parts[int(order[count])]
            one[:, part], other[:, part] = half.second[:, part], half.first[:, part]
            made[index] = (_mean(one, spec) - _mean(other, spec) - before[index]) / 2
        if share @ made / change >= 0.5:
            return count + 1.0
    return np.nan
