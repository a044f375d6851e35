"""Agreement of a partition with people's categories, corrected for chance, beside the most that it could be.

Adjusted mutual information (Vinh, Epps and Bailey 2010) is 0 in expectation for labels at random and 1 for the same
partition; scikit-learn computes it. An item that people put into two categories has one state, so no partition of
states agrees with both, and the ceiling is below 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int
from sklearn import metrics

from analyses.statistics.concepts.leaving_out import interval_over_items

SWEEPS: Final = 10  # over the items of several categories, when the ceiling is looked for


class Agreement(NamedTuple):
    """Agreement of two partitions.

    Attributes:
        ami: adjusted mutual information.
        nmi: normalised mutual information, which is above 0 by chance.
        ari: adjusted Rand index.
    """

    ami: float
    nmi: float
    ari: float


def agreement(labels: Int[np.ndarray, " n"], categories: Int[np.ndarray, " n"]) -> Agreement:
    """Agreement of labels with categories.

    >>> agreement(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1]))
    Agreement(ami=1.0, nmi=1.0, ari=1.0)
    """
    return Agreement(
        ami(labels, categories),
        float(metrics.normalized_mutual_info_score(categories, labels)),
        float(metrics.adjusted_rand_score(categories, labels)),
    )


def ami(labels: Int[np.ndarray, " n"], categories: Int[np.ndarray, " n"]) -> float:
    """Adjusted mutual information, the mean of the entropies as its scale."""
    return float(metrics.adjusted_mutual_info_score(categories, labels))


def ami_interval(
    labels: Int[np.ndarray, " n"], categories: Int[np.ndarray, " n"], rng: np.random.Generator
) -> tuple[float, float]:
    """95 % interval of the adjusted mutual information, by leaving out groups of items; the clustering is held fixed.

    Args:
        labels: of the clustering.
        categories: of people.
        rng: the source of chance: which items are left out together.
    """
    return interval_over_items(len(labels), lambda kept: ami(labels[kept], categories[kept]), rng)


def ami_ceiling(items: Sequence[Hashable], categories: Int[np.ndarray, " n"]) -> float:
    """The largest adjusted mutual information found for a partition that keeps equal items together.

    Every item begins in the first of its categories; then those with several move, one at a time, to the category, or
    to a cluster of their own, that agrees best, until none moves. It is exact where every item has one category.

    Args:
        items: one name per row; rows with one name have one state.
        categories: of the rows.

    >>> ami_ceiling(["apple", "pear", "tomato", "tomato", "leek", "kale"], np.array([0, 0, 0, 1, 1, 1])) < 1
    True
    """
    codes = {item: number for number, item in enumerate(dict.fromkeys(items))}
    item = np.array([codes[name] for name in items])
    choices = [np.unique(categories[item == code]) for code in range(len(codes))]
    label = np.array([categories[item == code][0] for code in range(len(codes))])
    several = [code for code, own in enumerate(choices) if len(own) > 1]
    best = ami(label[item], categories)
    for _ in range(SWEEPS):
        before = best
        for code in several:
            kept = label[code]
            for choice in (*choices[code], int(categories.max()) + 1 + code):
                label[code] = choice
                found = ami(label[item], categories)
                if found > best:
                    best, kept = found, choice
            label[code] = kept
        if best == before:
            break
    return best
