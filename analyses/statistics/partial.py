"""Is there a trend beyond what covariates explain? Permutation test of a partial rank correlation by Freedman and Lane.

Permuting levels would break their tie with the covariates, and permuting values that of the values with them.
Freedman and Lane (1983) permute only what the covariates leave of the values: ranks of the values are regressed on
ranks of the covariates, residuals are exchanged as the design allows, the fit is added back, and the partial
correlation is computed anew. Under the null this exchanges nothing that is known to differ.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.design import DesignKind
from analyses.statistics.exchange import exchanged
from analyses.statistics.permutation import PERMUTATIONS

NUMBERS_AT_ONCE: Final = 1_000_000  # permuted values held at a time


def freedman_lane_p(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    covariates: Float[np.ndarray, "n covariates"],
    clusters: Int[np.ndarray, " n"],
    *,
    design: DesignKind = "items",
    permutations: int = PERMUTATIONS,
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """Two-sided p-value of the partial rank correlation of each column with the levels given the covariates.

    NaN where covariates explain the levels or the values completely.

    Args:
        values: the measures, without missing values.
        levels: place on the axis.
        covariates: what is held fixed.
        clusters: which items belong together, from 0.
        design: what may be exchanged: items, ranks within clusters (``paired``); whole clusters must be of one size.
        permutations: how many random permutations.
        rng: the source of chance.
    """
    ranks = _centred(values)
    basis = np.asarray(np.linalg.qr(_centred(covariates))[0], dtype=np.float64)
    fitted = basis @ (basis.T @ ranks)
    residual = ranks - fitted
    level = _centred(levels[:, None])[:, 0]
    level = level - basis @ (basis.T @ level)
    if (level**2).sum() < 1e-9 * len(level) ** 3:
        return np.full_like(ranks[0], np.nan)

    observed = _partial_size(ranks, basis, level)
    exceeded = np.zeros(values.shape[1], dtype=np.int64)
    orders = exchanged(len(values), clusters, design, permutations, rng)
    at_once = max(1, NUMBERS_AT_ONCE // values.size)
    while some := list(islice(orders, at_once)):
        exceeded += (_partial_size(fitted + residual[np.stack(some)], basis, level) >= observed * (1 - 1e-12)).sum(
            axis=0
        )
    explained = (residual**2).sum(axis=0) < 1e-9 * len(level) ** 3
    return np.where(explained, np.nan, (1 + exceeded) / (1 + permutations))


def _partial_size(
    values: Float[np.ndarray, "... n columns"], basis: Float[np.ndarray, "n covariates"], level: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "... columns"]:
    """Absolute correlation, up to a constant, of the levels with what the covariates leave of the values."""
    rest = values - basis @ (basis.T @ values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(level @ rest) / np.sqrt((rest**2).sum(axis=-2)), dtype=np.float64)


def _centred(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    return np.asarray(stats.rankdata(values, axis=0), dtype=np.float64) - (len(values) + 1) / 2
