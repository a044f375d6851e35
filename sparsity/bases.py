"""Principal axes: a basis that a set of states chooses for itself.

Sparsity is relative to a basis. The neuron basis is the one the model computes in; the principal axes of a group of
states are the one in which they vary most. A difference that holds in one and not in the other is a statement about
the basis.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array
from sparsity.kernels.matrices import Matrix, as_matrix


class PrincipalAxes(NamedTuple):
    """The axes of a covariance.

    Attributes:
        centre: (d,) mean of the vectors that they are fitted to.
        directions: (d, d) orthonormal columns, the direction of largest variance first.
    """

    centre: NDArray[np.float64]
    directions: Matrix


def principal_axes(vectors: Array, weights: NDArray[np.float64] | None = None) -> PrincipalAxes:
    """Axes of the covariance of a set of vectors ``(n, d)``, the direction of largest variance first.

    A weight says how much a vector counts. The axes are eigenvectors of the second moments: where a variance is below
    1e-16 of the largest (with n <= d vectors: of d - n + 1 directions at least), any direction will do as well.

    >>> import numpy as np
    >>> np.abs(principal_axes(np.array([[3.0, 0.1], [-3.0, 0.1], [0.0, 0.4]])).directions).round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    rows = as_matrix(vectors, "principal_axes")
    centre = np.average(rows, axis=0, weights=weights)
    rows = rows - centre
    moments = rows.T @ (rows if weights is None else rows * weights[:, None])
    return PrincipalAxes(np.asarray(centre), np.linalg.eigh(moments).eigenvectors[:, ::-1])
