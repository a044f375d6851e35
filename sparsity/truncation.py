"""How few hidden units a gated MLP needs: density tied to the output, not to the activations.

Gated activations are never exactly zero, so counting small ones needs a threshold, and a threshold on activations
ignores what the down projection makes of them. Idea (CETT, the cumulative error of tail truncation): rank the hidden
units of one token by the size of what each adds to the output, drop from the smallest, and stop before the output is
off by more than a stated share.
"""

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array
from sparsity.kernels.matrices import as_matrix

BLOCK_UNITS = 512


def truncation_density(hidden: Array, down: Array, *, tolerance: float) -> NDArray[np.float64]:
    """Share of hidden units to keep for the output to stay within ``tolerance``: near 0 sparse, towards 1 dense.

    Units are dropped in increasing order of ``abs(h_i) * norm(w_i)``; the answer is the smallest share such that it
    and every larger one keep ``norm(y - y_kept) <= tolerance * norm(y)``, with y = hidden @ down.

    Args:
        hidden: (n, f) inputs of the down projection (site ``mlp_post``).
        down: (f, d) what one unit of each hidden unit adds to the output; transpose the weight of a torch ``Linear``.
        tolerance: largest relative error of the output, above 0 and below 1.

    Returns:
        One share per token; LOWER is sparser. NaN where the output is zero or not finite.

    Source: Zhang et al. (2024), "ReLU^2 wins", arXiv:2402.03804, CETT; Luo et al. (2024), arXiv:2411.02335.

    >>> import numpy as np
    >>> truncation_density(np.array([[10.0, 0.1, 0.1, 0.1]]), np.eye(4), tolerance=0.05)
    array([0.25])
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"truncation_density expects tolerance to be a number in (0, 1), got {tolerance!r}")
    units, weights = as_matrix(hidden, "truncation_density"), as_matrix(down, "truncation_density")
    if units.shape[1] != len(weights):
        raise ValueError(
            f"truncation_density expects down of shape ({units.shape[1]}, d), got {weights.shape}; transpose it"
        )
    norms = np.linalg.norm(weights, axis=1)
    return np.array([_kept_share(row, weights, norms, tolerance) for row in units])


def _kept_share(
    hidden: NDArray[np.float64], weights: NDArray[np.float64], norms: NDArray[np.float64], tolerance: float
) -> float:
    allowed = tolerance * float(np.linalg.norm(hidden @ weights))
    if not (np.isfinite(allowed) and allowed > 0):
        return np.nan
    order, dropped = np.argsort(np.abs(hidden) * norms, kind="stable"), 0
    lost = np.zeros(weights.shape[1])
    for start in range(0, len(order), BLOCK_UNITS):
        block = order[start : start + BLOCK_UNITS]
        tails = lost + np.cumsum(hidden[block, None] * weights[block], axis=0)
        over = np.flatnonzero(np.linalg.norm(tails, axis=1) > allowed)
        if len(over):
            return 1 - (dropped + int(over[0])) / len(order)
        dropped, lost = dropped + len(block), tails[-1]
    return 1 - dropped / len(order)
