"""Concentration of a vector's energy: measures whose wealth is x^2.

They answer "how few coordinates hold most of the squared norm", which is what a low-precision or pruned copy of the
vector would lose. They are also the measures that a single massive activation can own: raise one coordinate of a
Gaussian vector at d = 4096 to 100 sigma and ``top_k_energy(0.1)`` moves from .44 to .84,
:func:`effective_dimension_l2` from .482 to .004. Report them with ``sparsity.locate`` beside them. All are undefined
(NaN) for a zero vector.
"""

from math import nan, sqrt

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.records import Interval, metric


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, p: (p["fraction"], min(1.0, p["fraction"] * d)),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyww", "energy": "wyyyww"},
    source="arXiv:2603.03415, 'top-k% energy', with k not rounded down",
    equation="sum of the fraction * d largest a^2 / sum a^2",
    parameters={"fraction": Interval(0, 1)},
)
def top_k_energy(v: Vectors, /, *, fraction: float) -> Column:
    r"""Share of the energy held by the largest coordinates: ``fraction`` when all are equal, 1 for a one-hot vector.

    .. math:: T_f(x) = \frac{\sum_{j \le m} a_{(j)}^2 + (k - m)\, a_{(m + 1)}^2}{\sum_i a_i^2},
              \qquad k = f d, \; m = \lfloor k \rfloor

    with a = |x| in descending order. Higher is sparser. No unit; in [f, min(1, f d)]. A fractional k counts the last
    coordinate in proportion, so that 10 % of 896 is 89.6 coordinates and widths can be compared; code that rounds k
    down reads less. For Gaussian coordinates ``top_k_energy(0.1)`` tends to .440. The share of |x| instead of x^2 is
    :func:`sparsity.top_k_share`.

    NaN where the vector is zero or not finite; ``ValueError`` unless 0 < fraction < 1 and d >= 2.

    >>> import numpy as np
    >>> top_k_energy(np.array([3.0, 4.0, 0.0, 0.0]), fraction=0.25)
    np.float64(0.64)
    """
    return v.top_sum(2, fraction) / v.sum(2)


@metric(
    version=1,
    sparser="lower",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyyy", "energy": "yyyyyy"},
    source="arXiv:2603.03415, 'effective rank': exponential of Shannon's entropy of x^2 / sum x^2, divided by d",
    equation="exp(-sum p log p) / d, p = a^2 / sum a^2",
)
def effective_dimension_l2(v: Vectors, /) -> Column:
    r"""Share of coordinates that the energy effectively uses: 1/d for a one-hot vector, 1 when all are equal.

    .. math:: D_2(x) = \frac1d \exp\Big(-\sum_i p_i \ln p_i\Big), \qquad p_i = x_i^2 / \|x\|_2^2

    LOWER is sparser. No unit; in [1/d, 1]; comparable across widths. For Gaussian coordinates it tends to exp(-(2 -
    gamma - ln 2)) = .4821. It concerns one vector; the effective rank of a matrix (``sparsity.population``) is
    another thing.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: arXiv:2603.03415, divided by d,
    without its 1e-10 inside the logarithm.

    >>> import numpy as np
    >>> effective_dimension_l2(np.array([1.0, 1.0, 0.0, 0.0]))
    np.float64(0.5)
    """
    total = v.sum(2)
    return total * v.fn.exp(-2 * v.log_sum(2) / total) / v.width


@metric(
    version=1,
    sparser="lower",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyyy", "energy": "yyyyyy"},
    source="inverse participation ratio of Bell & Dean (1970), Discuss. Faraday Soc. 50, inverted and divided by d",
    equation="(sum a^2)^2 / (d sum a^4)",
)
def participation_ratio(v: Vectors, /) -> Column:
    r"""Share of coordinates that take part in the energy: 1/d for a one-hot vector, 1 when all magnitudes are equal.

    .. math:: R(x) = \frac{\big(\sum_i x_i^2\big)^2}{d \sum_i x_i^4}

    LOWER is sparser. No unit; in [1/d, 1]; comparable across widths. For Gaussian coordinates it tends to 1/3. One
    over it is the :func:`sparsity.kurtosis` about zero. It concerns one vector; that of a covariance is in
    ``sparsity.population``.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Bell & Dean (1970), inverted and
    divided by d.

    >>> import numpy as np
    >>> participation_ratio(np.array([1.0, 1.0, 0.0, 0.0]))
    np.float64(0.5)
    """
    return v.sum(2) ** 2 / (v.width * v.sum(4))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (1.0, float(d)),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyyy", "energy": "yyyyyy"},
    source="Pearson (1905); in Hurley & Rickard (2009) without the factor d",
    equation="d sum a^4 / (sum a^2)^2",
)
def kurtosis(v: Vectors, /) -> Column:
    r"""Kurtosis about zero: 1 when all magnitudes are equal, d for a one-hot vector.

    .. math:: K(x) = \frac{\frac1d \sum_i x_i^4}{\big(\frac1d \sum_i x_i^2\big)^2}

    Higher is sparser. No unit; in [1, d]; comparable across widths. For Gaussian coordinates it tends to 3. Moments
    are taken about zero, not about the mean, and 3 is not subtracted; centre the vectors first (``sparsity.bases``)
    for the statistician's. It is one over the :func:`participation_ratio`.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Pearson (1905).

    >>> import numpy as np
    >>> kurtosis(np.array([0.0, 0.0, 5.0, 0.0]))
    np.float64(4.0)
    """
    return v.width * v.sum(4) / v.sum(2) ** 2


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (1.0, sqrt(d)),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyyy", "energy": "wyyyyy"},
    source="crest factor of signal processing",
    equation="max a / sqrt(sum a^2 / d)",
)
def peak_to_rms(v: Vectors, /) -> Column:
    r"""Largest magnitude over the root mean square: 1 when all magnitudes are equal, sqrt(d) for a one-hot vector.

    .. math:: C(x) = \max_i |x_i| \Big/ \Big(\frac1d \sum_i x_i^2\Big)^{1/2}

    Higher is sparser. No unit; in [1, sqrt(d)]. It is what one coordinate does; for Gaussian coordinates it grows like
    sqrt(2 ln d), so compare widths through ``sparsity.nulls``.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: the crest factor of signal processing.

    >>> import numpy as np
    >>> peak_to_rms(np.array([0.0, 0.0, 5.0, 0.0]))
    np.float64(2.0)
    """
    return v.peak / v.size * (v.width / v.sum(2)) ** 0.5
