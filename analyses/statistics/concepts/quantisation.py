r"""Partitions of states that lose little: k-means for a number of clusters, and the best found for so many bits.

Clusters are looked for on the leading principal axes, where distances are nearly those of the whole space, and what is
found is read in the whole space (:mod:`analyses.statistics.concepts.distortion`): a search that misses something makes
regret too small, never too large. For a bound on the entropy an item goes to the cluster c with the least
:math:`\|x - m_c\|^2 - \lambda \log_2 p_c` (entropy-constrained quantisation, Chou, Lookabaugh and Gray 1989), and
:math:`\lambda` is the least that meets the bound.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans

from analyses.statistics.concepts.distortion import label_bits
from analyses.statistics.concepts.resemblance import leading_axes
from analyses.statistics.design import recode

AXES: Final = 64
STARTS: Final[Any] = 4  # typed as a word in scikit-learn's stubs, which know the default alone
ROUNDS: Final = 50  # of moving items and means; k-means of a thousand items settles in twenty
HALVINGS: Final = 12  # of the penalty's range: entropy is met to a fraction of an item
CURVE: Final = 12  # numbers of clusters on a curve


def principal(vectors: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n axes"]:
    """States on their leading principal axes, moved to mean 0 and scaled to mean squared length 1.

    NaN-free input is expected. States without variance stay at 0.
    """
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    size = float(np.sqrt((centred**2).sum() / len(vectors)))
    return centred @ leading_axes(centred, AXES).T / size if size > 0 else np.zeros((len(vectors), 1))


def k_means(points: Float[np.ndarray, "n axes"], k: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Labels of the best of a few runs of k-means; no more clusters than there are different points."""
    different = len(np.unique(points.round(12), axis=0))
    if min(k, different) < 2:
        return np.zeros(len(points), dtype=np.int64)
    if k >= different:
        return np.unique(points.round(12), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    found = KMeans(k, n_init=STARTS, random_state=int(rng.integers(2**31))).fit(points)
    return recode(np.asarray(found.labels_, dtype=np.int64))


def numbers_of_clusters(k: int, n: int) -> tuple[int, ...]:
    """Numbers of clusters for a curve around k: evenly spaced on a scale of ratios from 2 to 4 k, k among them.

    >>> numbers_of_clusters(18, 492)
    (2, 3, 4, 5, 7, 10, 14, 18, 27, 38, 52, 72)
    """
    most = max(2, min(4 * k, n))
    spaced = np.unique(np.geomspace(2, most, CURVE).round().astype(int)).tolist()
    nearest = min(spaced, key=lambda own: abs(np.log(own / k)))
    return tuple(sorted({k if own == nearest else own for own in spaced}))


def curve_around(
    points: Float[np.ndarray, "n axes"], k: int, rng: np.random.Generator
) -> dict[int, Int[np.ndarray, " n"]]:
    """Clusterings by number of clusters, ascending, on a curve around k; one into k is always there."""
    numbers = sorted({*numbers_of_clusters(k, len(points)), k})
    return {number: k_means(points, number, rng) for number in numbers}


def better_partitions(
    vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"], rng: np.random.Generator
) -> list[Int[np.ndarray, " n"]]:
    """Rivals of a partition, looked for in some states from nothing."""
    points, codes = principal(vectors), recode(labels)
    return rivals(points, codes, list(curve_around(points, int(codes.max()) + 1, rng).values()))


def squeezed(
    points: Float[np.ndarray, "n axes"], labels: Int[np.ndarray, " n"], bits: float
) -> Int[np.ndarray, " n"] | None:
    """A partition near a given one whose label has at most so many bits; None where the search finds none."""
    if label_bits(settled := _settled(points, labels, 0.0)) <= bits:
        return settled
    low, high = 0.0, 1.0
    found = _settled(points, labels, high)
    while label_bits(found) > bits and high < 1e3:
        high *= 4
        found = _settled(points, labels, high)
    if label_bits(found) > bits:
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = _settled(points, labels, middle)
        low, high, found = (low, middle, tried) if label_bits(tried) <= bits else (middle, high, found)
    return found


def rivals(
    points: Float[np.ndarray, "n axes"], labels: Int[np.ndarray, " n"], curve: list[Int[np.ndarray, " n"]]
) -> list[Int[np.ndarray, " n"]]:
    """Partitions of no greater entropy than a given one, made from it and from those of a curve.

    Args:
        points: the states on their principal axes.
        labels: the partition that is judged.
        curve: clusterings by number of clusters, ascending.
    """
    bits = label_bits(labels)
    entropies = [label_bits(own) for own in curve]
    above = [own for own, entropy in zip(curve, entropies, strict=True) if entropy > bits][:2]
    fair = [own for own, entropy in zip(curve, entropies, strict=True) if entropy <= bits][-2:]
    made = [squeezed(points, start, bits) for start in (labels, *above)]
    return [*fair, *(own for own in made if own is not None)]


def _settled(
    points: Float[np.ndarray, "n axes"], labels: Int[np.ndarray, " n"], penalty: float
) -> Int[np.ndarray, " n"]:
    """Labels at rest, if going to a cluster costs the squared distance and a penalty for each bit of its label."""
    codes, n = recode(labels), len(labels)
    squares = (points**2).sum(axis=1)[:, None]
    for _ in range(ROUNDS):
        sizes = np.bincount(codes)
        member = np.zeros((n, len(sizes)))
        member[np.arange(n), codes] = 1.0
        means = (member.T @ points) / sizes[:, None]
        cost = squares - 2 * points @ means.T + (means**2).sum(axis=1) - penalty * np.log2(sizes / n)
        moved = recode(cost.argmin(axis=1))
        if np.array_equal(moved, codes):
            break
        codes = moved
    return codes
