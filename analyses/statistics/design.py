"""How the items of a panel depend on each other, and which of them a column can use.

Three designs cover what suites produce. *Items*: every item stands alone. *Clusters*: items share a source, and a whole
source sits at one level. *Paired*: the same source appears at several levels, so that what it is about cancels within
it. The design decides what may be exchanged under the null and over what an interval may generalise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

DesignKind = Literal["items", "clusters", "paired"]
PAIRED_SHARE = 0.5  # of the clusters that hold two items or more at all, the share that must span levels


class Pattern(NamedTuple):
    """Columns that are defined for the same items.

    Attributes:
        columns: their indices.
        rows: the items for which they are defined.
    """

    columns: Int[np.ndarray, " some"]
    rows: Int[np.ndarray, " rows"]


def design_of(levels: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> DesignKind:
    """Classify the dependence between items from their levels and clusters.

    >>> design_of(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
    'paired'
    >>> design_of(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    'clusters'
    >>> design_of(np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2]))
    'items'
    """
    _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if (sizes == 1).all():
        return "items"
    low = np.full(len(sizes), np.inf)
    high = np.full(len(sizes), -np.inf)
    np.minimum.at(low, codes, levels)
    np.maximum.at(high, codes, levels)
    several = sizes > 1
    items_in_spanning = sizes[high > low].sum()
    return "paired" if items_in_spanning >= PAIRED_SHARE * len(levels) and (high > low)[several].any() else "clusters"


def recode(clusters: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The same clusters numbered from 0 without gaps."""
    return np.unique(clusters, return_inverse=True)[1].reshape(-1)


def finite_patterns(values: Float[np.ndarray, "n columns"], usable: Bool[np.ndarray, " n"]) -> Iterator[Pattern]:
    """Group columns by the items for which they are defined, so that each group is computed in one pass."""
    defined = np.isfinite(values) & usable[:, None]
    packed = np.packbits(defined, axis=0)
    _, group = np.unique(packed, axis=1, return_inverse=True)
    group = group.reshape(-1)
    for code in range(int(group.max(initial=-1)) + 1):
        columns = np.flatnonzero(group == code)
        yield Pattern(columns, np.flatnonzero(defined[:, columns[0]]))
