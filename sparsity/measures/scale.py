"""Size of a vector: measures of scale, never called sparsity.

They stand here because a change of norm is the first thing to rule out when a measure of sparsity moves, and because
the seed paper's first "sparsity" was an L1 norm. They have no direction (``sparser`` is None) and are 0 for a zero
vector. A value that exceeds float64 is infinite.
"""

from math import inf

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.records import metric


@metric(
    version=1,
    sparser=None,
    bounds=lambda _d, _p: (0.0, inf),
    carrier="magnitude",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "wnnnyw", "energy": "nnnnyw"},
    source="textbook",
    equation="sum a",
    min_width=1,
)
def l1_norm(v: Vectors, /) -> Column:
    r"""Sum of the magnitudes: 0 for a zero vector, without upper bound.

    .. math:: \|x\|_1 = \sum_i |x_i|

    In the unit of x; a size, not a sparsity: doubling the vector doubles it. It grows with the width.

    NaN where the vector is not finite; ``ValueError`` if there are no coordinates.

    >>> import numpy as np
    >>> l1_norm(np.array([3.0, -4.0]))
    np.float64(7.0)
    """
    return v.sum(1) * v.size


@metric(
    version=1,
    sparser=None,
    bounds=lambda _d, _p: (0.0, inf),
    carrier="energy",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "ynnnyw", "energy": "wnnnyw"},
    source="textbook",
    equation="sqrt(sum a^2)",
    min_width=1,
)
def l2_norm(v: Vectors, /) -> Column:
    r"""Euclidean length: 0 for a zero vector, without upper bound.

    .. math:: \|x\|_2 = \Big(\sum_i x_i^2\Big)^{1/2}

    In the unit of x; a size, not a sparsity. It grows with the square root of the width.

    NaN where the vector is not finite; ``ValueError`` if there are no coordinates.

    >>> import numpy as np
    >>> l2_norm(np.array([3.0, -4.0]))
    np.float64(5.0)
    """
    return v.sum(2) ** 0.5 * v.size


@metric(
    version=1,
    sparser=None,
    bounds=lambda _d, _p: (0.0, inf),
    carrier="magnitude",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "wnnyyw", "energy": "wnnyyw"},
    source="textbook",
    equation="max a",
    min_width=1,
)
def max_abs(v: Vectors, /) -> Column:
    r"""Largest magnitude: 0 for a zero vector, without upper bound.

    .. math:: \|x\|_\infty = \max_i |x_i|

    In the unit of x; a size, not a sparsity. Exact.

    NaN where the vector is not finite; ``ValueError`` if there are no coordinates.

    >>> import numpy as np
    >>> max_abs(np.array([3.0, -4.0]))
    np.float64(4.0)
    """
    return v.peak


@metric(
    version=1,
    sparser=None,
    bounds=lambda _d, _p: (0.0, inf),
    carrier="energy",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "ynnyyn", "energy": "wnnyyn"},
    source="textbook",
    equation="sqrt(sum a^2 / d)",
    min_width=1,
)
def rms(v: Vectors, /) -> Column:
    r"""Root mean square of the coordinates: 0 for a zero vector, without upper bound.

    .. math:: \mathrm{rms}(x) = \Big(\frac1d \sum_i x_i^2\Big)^{1/2}

    In the unit of x; a size, not a sparsity: the L2 norm that does not grow with the width.

    NaN where the vector is not finite; ``ValueError`` if there are no coordinates.

    >>> import numpy as np
    >>> rms(np.array([1.0, -7.0]))
    np.float64(5.0)
    """
    return (v.sum(2) / v.width) ** 0.5 * v.size
