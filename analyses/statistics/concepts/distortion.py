r"""Rate and distortion of a partition: the bits that a cluster label takes, and what the label does not tell of states.

With n items, each as likely, the label of a partition has :math:`I(X; C) = H(C)` bits. Distortion is the share of the
total variance inside clusters. It does not change when states are turned, moved or scaled, so that partitions can be
compared across layers and models. The objective of "From Tokens to Thoughts" (arXiv:2505.17117),
:math:`L = I(X; C) + \beta D` with D the mean squared distance, adds bits to squared units of the states: which of two
partitions has the lower L depends on the unit (:func:`paper_objective`).

People's categories lose something at their rate, and any clustering of the states themselves loses less, because that
is what clustering minimises. So the distance to the best partition of no greater entropy (regret) stands beside what
random partitions with clusters of the same sizes lose.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.design import recode

DRAWS: Final = 200
AT_ONCE: Final = 50  # random partitions in one matrix product


class Point(NamedTuple):
    """One partition on the plane of rate and distortion.

    Attributes:
        n_clusters: how many clusters.
        bits: entropy of the label.
        share: share of the total variance that is inside clusters.
    """

    n_clusters: int
    bits: float
    share: float


class Regret(NamedTuple):
    """Distortion of a partition beside the best one of no greater entropy and beside chance.

    Attributes:
        share: of the partition.
        best: the lowest that was found at no greater entropy.
        null: mean of random partitions with clusters of the same sizes.
        sd: their standard deviation.
    """

    share: float
    best: float
    null: float
    sd: float

    @property
    def difference(self) -> float:
        """Share of the variance that a better partition of no greater entropy would explain besides."""
        return self.share - self.best

    @property
    def normalised(self) -> float:
        """0 where no better partition was found, 1 where it is no better than random ones; NaN if those are the best.

        >>> round(Regret(share=0.7, best=0.6, null=0.9, sd=0.01).normalised, 3)
        0.333
        """
        return self.difference / (self.null - self.best) if self.null > self.best else float("nan")

    @property
    def z(self) -> float:
        """Standard deviations above random partitions of the same sizes; negative where it explains more."""
        return (self.share - self.null) / self.sd if self.sd > 0 else float("nan")


def label_bits(labels: Int[np.ndarray, " n"]) -> float:
    """Entropy of a label in bits, which is its information about the item, I(X; C).

    >>> label_bits(np.array([0, 0, 1, 1])), label_bits(np.arange(8)), label_bits(np.zeros(5, dtype=np.int64))
    (1.0, 3.0, 0.0)
    """
    shares = np.bincount(recode(labels)) / len(labels)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def unexplained(vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"]) -> float:
    """Share of the variance that is inside clusters: 0 where every item is its own, 1 for one; NaN without variance.

    >>> unexplained(np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([0, 0, 1, 1])).__round__(4)
    0.0099
    """
    total = _within(vectors, np.zeros(len(vectors), dtype=np.int64))
    return _within(vectors, labels) / total if total > 0 else float("nan")


def paper_objective(vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"], *, beta: float) -> float:
    r"""The paper's :math:`L = I(X; C) + \beta D`, D the mean squared distance to the cluster's mean.

    It is for comparison with the paper alone: states twice as long have four times the distortion and the same
    information.

    >>> states = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> halves, odd = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    >>> [paper_objective(states * unit, halves, beta=1.0) < paper_objective(states * unit, odd, beta=1.0)
    ...  for unit in (1, 0.01)]
    [True, False]
    """
    return label_bits(labels) + beta * _within(vectors, labels) / len(vectors)


def point(vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"]) -> Point:
    """A partition as a point on the plane of rate and distortion."""
    return Point(len(np.unique(labels)), label_bits(labels), unexplained(vectors, labels))


def regret(
    vectors: Float[np.ndarray, "n width"],
    labels: Int[np.ndarray, " n"],
    rivals: Iterable[Int[np.ndarray, " n"]],
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Regret:
    """Distortion of a partition beside that of rivals of no greater entropy and of random partitions.

    Args:
        vectors: the states.
        labels: the partition.
        rivals: other partitions; those with a greater entropy are left out. The partition itself is always one.
        rng: the source of chance.
        draws: how many random partitions.
    """
    bits, share = label_bits(labels), unexplained(vectors, labels)
    fair = [unexplained(vectors, rival) for rival in rivals if label_bits(rival) <= bits]
    random = random_shares(vectors, labels, rng, draws=draws)
    return Regret(share, min([share, *fair]), float(random.mean()), float(random.std(ddof=1)))


def random_shares(
    vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"], rng: np.random.Generator, *, draws: int
) -> Float[np.ndarray, " draws"]:
    """Distortion of random partitions with clusters of the same sizes, all draws in one matrix product.

    Their mean is (n - k) / (n - 1), whatever the states: k clusters of n items explain that little by chance.
    """
    codes, n = recode(labels), len(labels)
    k = int(codes.max()) + 1
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    total = float((centred**2).sum())
    if not total > 0:
        return np.full(draws, np.nan)
    explained = np.empty(draws)
    for start in range(0, draws, AT_ONCE):
        some = min(AT_ONCE, draws - start)
        member = np.zeros((some, k, n))
        for draw in range(some):
            member[draw, rng.permutation(codes), np.arange(n)] = 1.0
        sums = (member.reshape(some * k, n) @ centred).reshape(some, k, -1)
        explained[start : start + some] = ((sums**2).sum(axis=-1) / np.bincount(codes)).sum(axis=-1) / total
    return 1 - explained


def merged(vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " n"]]:
    """A partition and what comes of it when the two clusters that lose least are joined, again and again, down to one.

    Joining clusters of sizes a and b whose means are r apart adds :math:`ab r^2 / (a + b)` to the distortion (Ward).
    """
    codes = recode(labels)
    found = [codes]
    sizes = np.bincount(codes).astype(np.float64)
    means = _sums(vectors, codes) / sizes[:, None]
    while len(sizes) > 1:
        apart = ((means[:, None] - means[None]) ** 2).sum(axis=-1)
        loss = sizes[:, None] * sizes[None] / (sizes[:, None] + sizes[None]) * apart
        np.fill_diagonal(loss, np.inf)
        one, other = sorted(int(at) for at in np.unravel_index(int(loss.argmin()), loss.shape))
        means[one] = (sizes[one] * means[one] + sizes[other] * means[other]) / (sizes[one] + sizes[other])
        sizes[one] += sizes[other]
        means, sizes = np.delete(means, other, axis=0), np.delete(sizes, other)
        codes = np.where(codes == other, one, codes)
        codes = codes - (codes > other)
        found.append(codes)
    return found


def _within(vectors: Float[np.ndarray, "n width"], labels: Int[np.ndarray, " n"]) -> float:
    """Sum of squared distances to the mean of the own cluster; a cluster of one item adds exactly 0."""
    codes = recode(labels)
    numbers = vectors.astype(np.float64, copy=False)
    means = _sums(numbers, codes) / np.bincount(codes)[:, None]
    return float(((numbers - means[codes]) ** 2).sum())


def _sums(vectors: Float[np.ndarray, "n width"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "k width"]:
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(int(codes.max()) + 1))
    return np.add.reduceat(vectors[order].astype(np.float64, copy=False), starts, axis=0)
