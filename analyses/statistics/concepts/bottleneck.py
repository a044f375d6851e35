r"""Agglomerative information bottleneck: which items may share a label so that it still says what comes next.

Relevance is the model's own next-token distribution after each item, so no geometry is assumed and everything is in
bits. Joining clusters a and b costs :math:`(p_a + p_b) \, \mathrm{JS}(a, b)` of :math:`I(C; Y)`, the Jensen-Shannon
divergence of their distributions weighted by their shares; the cheapest pair is joined until one is left (Slonim and
Tishby 1999). Greedy joining is not the optimum for a number of clusters, but its curve is a bound that can be reached.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.concepts.distortion import label_bits
from analyses.statistics.design import recode

DRAWS: Final = 50  # random partitions
POINTS: Final = 14  # of the curve


class Bottleneck(NamedTuple):
    """Joined clusters, from every item alone to all items together.

    Attributes:
        merges: the two clusters joined at each step; the cluster of item i is i, that of step s is n + s.
        bits: information of the label about the next token, I(C; Y), with n, n - 1, ..., 1 clusters.
    """

    merges: Int[np.ndarray, "steps 2"]
    bits: Float[np.ndarray, " n"]

    def labels(self, k: int) -> Int[np.ndarray, " n"]:
        """The partition into k clusters."""
        n = len(self.bits)
        if not 1 <= k <= n:
            raise ValueError(f"labels: expected 1 to {n} clusters, got {k}")
        cluster = np.arange(n)
        for step, pair in enumerate(self.merges[: n - k]):
            cluster[np.isin(cluster, pair)] = n + step
        return recode(cluster)


def relevant_bits(chances: Float[np.ndarray, "n outcomes"], labels: Int[np.ndarray, " n"]) -> float:
    """I(C; Y): what the label tells of the next token, in bits, items being equally likely.

    >>> told = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> relevant_bits(told, np.array([0, 0, 1, 1])), relevant_bits(told, np.array([0, 1, 0, 1]))
    (1.0, 0.0)
    """
    codes = recode(labels)
    member = np.zeros((int(codes.max()) + 1, len(codes)))
    member[codes, np.arange(len(codes))] = 1 / len(codes)
    joint = member @ _normalised(chances)
    shares = joint.sum(axis=1)
    inside = float(shares @ _entropy(joint / shares[:, None]))
    return max(float(_entropy(joint.sum(axis=0, keepdims=True))[0]) - inside, 0.0)


def bottleneck(chances: Float[np.ndarray, "n outcomes"]) -> Bottleneck:
    """Join the two clusters that lose the least information about the outcome, again and again.

    Args:
        chances: the distribution of the outcome after each item; rows are brought to sum 1.
    """
    rows = _normalised(chances)
    n = len(rows)
    share, name = np.full(n, 1 / n), np.arange(n)
    entropy = _entropy(rows)
    loss = np.full((n, n), np.inf)
    for at in range(n - 1):
        loss[at, at + 1 :] = _losses(rows, share, entropy, at, slice(at + 1, n))
    alive, merges = np.ones(n, dtype=bool), np.zeros((max(n - 1, 0), 2), dtype=np.int64)
    bits = [relevant_bits(rows, np.arange(n))]
    for step in range(n - 1):
        one, other = (int(at) for at in np.unravel_index(int(loss.argmin()), loss.shape))
        merges[step] = name[one], name[other]
        bits.append(max(bits[-1] - float(loss[one, other]), 0.0))
        both = share[one] + share[other]
        rows[one] = (share[one] * rows[one] + share[other] * rows[other]) / both
        share[one], name[one], entropy[one] = both, n + step, _entropy(rows[[one]])[0]
        alive[other] = False
        loss[other, :] = loss[:, other] = np.inf
        rest = np.flatnonzero(alive)
        rest = rest[rest != one]
        found = _losses(rows, share, entropy, one, rest)
        loss[np.minimum(rest, one), np.maximum(rest, one)] = found
    return Bottleneck(merges, np.array(bits))


class Told(NamedTuple):
    """Information of labels about the outcome, in bits.

    Attributes:
        bits: entropy of the label of the partition that is judged.
        each: of every item by itself, the most that a label can tell.
        people: of that partition.
        joined: of the joined partition of the greatest entropy that is no greater.
        null: mean of random partitions with clusters of the same sizes.
        sd: their standard deviation.
        curve: entropy of the label and what it tells, for fewer and fewer joined clusters.
    """

    bits: float
    each: float
    people: float
    joined: float
    null: float
    sd: float
    curve: tuple[tuple[float, float], ...]

    @property
    def regret(self) -> float:
        """0 where the partition tells as much as joined clusters of no greater entropy, 1 where as little as chance."""
        return (self.joined - self.people) / (self.joined - self.null) if self.joined > self.null else float("nan")


def told_by(
    chances: Float[np.ndarray, "n outcomes"],
    labels: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Told:
    """Information of a partition beside that of joined clusters and of chance.

    Args:
        chances: the distribution of the outcome after each item.
        labels: the partition.
        rng: the source of chance.
        draws: how many random partitions.
    """
    bits, found, n = label_bits(labels), bottleneck(chances), len(labels)
    low, high = 1, n  # a join lowers the entropy, so the last partition of no greater entropy is found by halving
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if label_bits(found.labels(middle)) <= bits else (low, middle - 1)
    random = np.array([relevant_bits(chances, rng.permutation(labels)) for _ in range(draws)])
    numbers = np.unique(np.geomspace(2, n, POINTS).round().astype(int)) if n > 2 else np.array([n])
    return Told(
        bits,
        float(found.bits[0]),
        relevant_bits(chances, labels),
        float(found.bits[n - low]),
        float(random.mean()),
        float(random.std(ddof=1)),
        tuple((label_bits(found.labels(int(k))), float(found.bits[n - int(k)])) for k in numbers),
    )


def _losses(
    rows: Float[np.ndarray, "n outcomes"],
    share: Float[np.ndarray, " n"],
    entropy: Float[np.ndarray, " n"],
    at: int,
    rest: slice | Int[np.ndarray, " some"],
) -> Float[np.ndarray, " some"]:
    both = share[at] + share[rest]
    mixed = (share[at] * rows[at] + share[rest, None] * rows[rest]) / both[:, None]
    lost = both * _entropy(mixed) - share[at] * entropy[at] - share[rest] * entropy[rest]
    return np.maximum(lost, 0.0)


def _entropy(rows: Float[np.ndarray, "n outcomes"]) -> Float[np.ndarray, " n"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(rows > 0, rows * np.log2(rows), 0.0).sum(axis=-1)


def _normalised(chances: Float[np.ndarray, "n outcomes"]) -> Float[np.ndarray, "n outcomes"]:
    rows = chances.astype(np.float64)
    return rows / rows.sum(axis=1, keepdims=True)
