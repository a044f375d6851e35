"""Weights that are not negative and sum to one: the nearest such point to any other, by sorting.

The reference code solves a quadratic program for every training step of every epoch. The answer has a closed form
(Held, Wolfe and Crowder 1974; Duchi et al. 2008): subtract one number from every coordinate and cut at zero. That
number follows from the sorted coordinates.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

AT_ONCE: Final = 8  # rows that are sorted together: a policy of millions of weights would not stay in the cache


def project(points: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    r"""Nearest point of the simplex to every row, in the Euclidean distance.

    .. math:: \arg\min_{w \ge 0, \sum w = 1} \lVert w - v \rVert^2 = \max(v - \tau, 0)

    >>> project(np.array([0.5, 0.9, -1.0]))
    array([0.3, 0.7, 0. ])
    """
    rows = np.asarray(points, np.float64).reshape(-1, points.shape[-1])
    found = np.empty_like(rows)
    for first in range(0, len(rows), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        found[part] = _projected(rows[part])
    return found.reshape(points.shape)


def _projected(rows: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, "rows n"]:
    falling = np.sort(rows, axis=-1)[:, ::-1]
    over = falling.cumsum(axis=-1)
    over -= 1.0
    over /= np.arange(1, rows.shape[-1] + 1, dtype=np.float64)  # the threshold if the k largest stay above zero
    stays = (falling > over).sum(axis=-1, keepdims=True)  # a prefix: the largest always stays
    return np.maximum(rows - np.take_along_axis(over, stays - 1, axis=-1), 0.0)
