"""Random orders of the items that the design allows under the null hypothesis, one after another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from analyses.statistics.design import DesignKind


def exchanged(
    n: int, clusters: Int[np.ndarray, " n"], design: DesignKind, permutations: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, " n"]]:
    """Yield permutations of ``range(n)``: of all items, within clusters, or of whole clusters.

    Raises:
        ValueError: if whole clusters of different sizes are to change places.
    """
    by_cluster = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    if design == "clusters" and np.ptp(sizes):
        raise ValueError(
            f"whole clusters can only change places with clusters of their size; sizes are {set(sizes.tolist())}"
        )
    for _ in range(permutations):
        if design == "items":
            yield rng.permutation(n)
        elif design == "paired":
            # sorting by cluster and chance shuffles each cluster in its own places
            order = np.empty(n, dtype=np.int64)
            order[by_cluster] = np.lexsort((rng.random(n), clusters))
            yield order
        else:
            blocks = by_cluster.reshape(len(sizes), -1)
            order = np.empty(n, dtype=np.int64)
            order[blocks.reshape(-1)] = blocks[rng.permutation(len(sizes))].reshape(-1)
            yield order
