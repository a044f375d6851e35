"""Levels of difficulty: a score cut into as many equally filled levels as its ties allow, the easiest first.

Two ways. :func:`cut_points` and :func:`level_of` are total (every finite score has a level), monotone (a harder score
never has an easier level) and keep ties together, whichever end of the score is hard. :class:`PublishedBins` does what
the published code of arXiv:2603.03415 does, faults included, so that its rule can be compared as it ran: equal scores
may lie in different bins, and of a measure whose low end is hard a score between two bins is called very easy.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from probes.errors import InputError

Harder = Literal["higher", "lower"]


def hardness(scores: Float64[np.ndarray, " n"], harder: Harder) -> Float64[np.ndarray, " n"]:
    """Scores turned so that more is harder."""
    return scores if harder == "higher" else -scores


def cut_points(pool: Float64[np.ndarray, " n"], levels: int) -> Float64[np.ndarray, " cuts"]:
    """Beginnings of the levels of a pool, the easiest left out; every level between them has a member.

    Args:
        pool: hardness of each item; NaN is left out.
        levels: how many levels to make at most. Ties make fewer: equal scores share a level, and where there are no
            more values than levels every value is one.

    Returns:
        Ascending values of hardness; a level begins at each of them. Empty where all scores are equal.

    Raises:
        InputError: if fewer than two levels are asked for, or no score is defined.

    >>> cut_points(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist(), cut_points(np.array([1.0, 1.0, 1.0, 2.0]), 4).tolist()
    ([3.0], [2.0])
    """
    if levels < 2:
        raise InputError(f"levels should be at least 2 and is {levels}")
    ordered = np.sort(pool[np.isfinite(pool)])
    if not len(ordered):
        raise InputError("no item of the pool has this score, so it makes no levels")
    distinct = np.unique(ordered)
    if len(distinct) <= levels:
        return distinct[1:]
    starts = np.unique(ordered[(np.arange(1, levels) * len(ordered)) // levels])
    return starts[starts > ordered[0]]


def level_of(scores: Float64[np.ndarray, " n"], cuts: Float64[np.ndarray, " cuts"]) -> Int64[np.ndarray, " n"]:
    """The level of each hardness, 0 the easiest; -1 where it is NaN. Scores beyond the pool are in its end levels.

    >>> level_of(np.array([-9.0, 3.0, 99.0, np.nan]), np.array([3.0])).tolist()
    [0, 1, 1, -1]
    """
    found = np.searchsorted(cuts, scores, side="right").astype(np.int64)
    found[np.isnan(scores)] = -1
    return found


class PublishedBins(NamedTuple):
    """Bins of equal counts by rank, the easiest first, and their least and largest scores.

    Attributes:
        low: least score in each bin.
        high: largest score in each bin.
        of_pool: the bin of each item of the pool, counted from 1; -1 where it has no score.
    """

    low: Float64[np.ndarray, " bins"]
    high: Float64[np.ndarray, " bins"]
    of_pool: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, scores: Float64[np.ndarray, " n"], harder: Harder, bins: int) -> PublishedBins:
        """Sort from easy to hard and cut; what is left over goes to the last bin.

        Raises:
            InputError: if there are fewer scores than bins.
        """
        order = np.argsort(hardness(scores, harder), kind="stable")
        order = order[np.isfinite(scores[order])]
        size = len(order) // bins
        if not size:
            raise InputError(f"{bins} levels need {bins} items with a score, and the pool has {len(order)}")
        of_pool = np.full(len(scores), -1, dtype=np.int64)
        of_pool[order] = np.minimum(np.arange(len(order)) // size, bins - 1) + 1
        members = [scores[of_pool == level] for level in range(1, bins + 1)]
        return cls(np.array([own.min() for own in members]), np.array([own.max() for own in members]), of_pool)

    def level(self, score: float) -> int:
        """The bin that the published lookup gives a score, counted from 1.

        The first bin whose span holds it; else the first bin if it lies below that bin's least score; else the last
        bin if it lies above the last one's largest; else the bin with the nearest middle. This is right where high
        scores are hard. Where low scores are hard, what no span holds is called easiest if it lies below the first
        bin, that is almost always.

        >>> bins = PublishedBins.of(np.array([4.0, 3.0, 2.0, 1.0]), "lower", 2)  # high is easy
        >>> bins.level(3.5), bins.level(1.5), bins.level(0.0), bins.level(2.5)
        (1, 2, 1, 1)
        """
        inside = np.flatnonzero((self.low <= score) & (score <= self.high))
        if len(inside):
            return int(inside[0]) + 1
        if score < self.low[0]:
            return 1
        if score > self.high[-1]:
            return len(self.high)
        return int(np.abs((self.low + self.high) / 2 - score).argmin()) + 1
