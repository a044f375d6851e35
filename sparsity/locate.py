"""Where a change of sparsity sits: which coordinates, heads, experts or blocks carry it.

Problem: one coordinate of 100 sigma at d = 4096 moves Hoyer from .205 to .566, so a difference between two groups of
vectors may be the story of one dimension. Energy does not tell: the largest dimension need not be the one that
changes. Idea: substitution. Replace a part of every vector of one group by its values in the other group and see how
much of the change comes with it; do it in both directions and average. Parts are ranked by that share, and the
smallest leading set that makes half of the change is k50.

Leaving the largest dimensions out is the blunter tool, and honest only where they are outliers:
:func:`outlier_dimensions` says "not applicable" unless m dimensions hold more than five times their even share m/d of
the energy.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.arrays import A, Array
from sparsity.evaluation import evaluate
from sparsity.matrices import Matrix, as_matrix
from sparsity.specs import MetricSpec

# Below this multiple of the even share, removing dimensions removes signal rather than outliers.
OUTLIER_FACTOR = 5


class Localization(NamedTuple):
    """How the change of a measure from one group to another is made up.

    Attributes:
        change: mean of the shifted group minus mean of the reference group.
        shares: share of the change that each part carries, both directions averaged; they need not add up to 1.
        forward: share gained when the part of a reference vector is replaced by that of a shifted one.
        backward: share lost when the part of a shifted vector is replaced by that of a reference one.
        order: parts by decreasing share.
        k50: how many leading parts, substituted together, make half of the change; -1 if even all of them do not.
        p_values: for each part, how often a random split of the pooled vectors gives it an effect at least as large.
    """

    change: float
    shares: NDArray[np.float64]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    order: NDArray[np.int_]
    k50: int
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
) -> Localization:
    """Attribute the change of a measure between two groups of vectors to parts of the vector.

    Args:
        reference: (n, d) vectors of the reference group.
        shifted: (m, d) vectors of the other group; partners are drawn at random, each used as evenly as possible.
        spec: the measure.
        permutations: how many random splits of the pooled vectors give the null of each part's effect; 0 for none.
        rng: draws partners and splits.
        parts: index sets (heads, experts, blocks); by default every coordinate is a part.

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
    first, second = _partners(first, second, rng)
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
    k50 = _k50(first, second, spec, [indices[int(i)] for i in order], change)
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


def _partners(first: Matrix, second: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Pair the groups at random; the smaller one is repeated as evenly as possible."""
    n = max(len(first), len(second))
    one, other = (rng.permutation(np.resize(rng.permutation(len(rows)), n)) for rows in (first, second))
    return first[one], second[other]


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


def _k50(first: Matrix, second: Matrix, spec: MetricSpec, parts: Sequence[NDArray[np.int_]], change: float) -> int:
    """Substitute leading parts together, in both directions, until half of the change is made."""
    mixed_first, mixed_second = first.copy(), second.copy()
    before, after = _mean(first, spec), _mean(second, spec)
    for count, part in enumerate(parts, start=1):
        mixed_first[:, part], mixed_second[:, part] = second[:, part], first[:, part]
        made = (_mean(mixed_first, spec) - before + after - _mean(mixed_second, spec)) / 2
        if made / change >= 0.5:
            return count
    return -1
