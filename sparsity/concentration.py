"""How unequally a vector's magnitudes are shared out: measures whose wealth is |x|.

All are free of scale, sign and order, undefined (NaN) for a zero vector, and resist a single large coordinate better
than the measures of energy: one coordinate raised to 100 sigma at d = 4096 moves :func:`gini` from .414 to .431 and
:func:`hoyer`, whose denominator is an energy, from .205 to .566.
"""

from math import nan, sqrt

from sparsity.arrays import Column
from sparsity.records import metric
from sparsity.vectors import Vectors

HURLEY_RICKARD = "Hurley & Rickard (2009), IEEE Trans. Inf. Theory 55(10), arXiv:0811.4706"


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, 1 - 1 / d),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
    comparable=True,
    source=f"{HURLEY_RICKARD}, Table I",
    equation="1 - 2 sum_k (a_(k) / sum a) (d - k + 1/2) / d",
)
def gini(v: Vectors, /) -> Column:
    r"""Gini index of the magnitudes: 0 when all are equal, 1 - 1/d for a one-hot vector.

    .. math:: G(x) = 1 - 2 \sum_{k=1}^{d} \frac{|x|_{(k)}}{\|x\|_1} \, \frac{d - k + 1/2}{d}
                   = \sum_{k=1}^{d} \frac{2k - d - 1}{d} \, \frac{|x|_{(k)}}{\|x\|_1}

    Ascending order. Higher is sparser. No unit; in [0, 1 - 1/d]; comparable across widths. For Gaussian coordinates
    it tends to sqrt(2) - 1 = .4142. It is the population Gini of the economists, NOT the sample-corrected one, which
    is d / (d - 1) times larger.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Hurley & Rickard (2009), Table I.

    >>> import numpy as np
    >>> gini(np.array([0.0, 0.0, 0.0, 1.0]))
    np.float64(0.75)
    """
    return v.rank_sum() / v.sum(1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (0.0, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyynyy", "energy": "yyynyy"},
    comparable=False,
    source="Hoyer (2004), J. Mach. Learn. Res. 5, section 3.1",
    equation="(sqrt(d) - sum a / sqrt(sum a^2)) / (sqrt(d) - 1)",
)
def hoyer(v: Vectors, /) -> Column:
    r"""Hoyer's sparseness: 0 when all magnitudes are equal, 1 for a one-hot vector.

    .. math:: H(x) = \frac{\sqrt d - \|x\|_1 / \|x\|_2}{\sqrt d - 1}

    Higher is sparser. No unit; in [0, 1]. The normalisation that fixes both ends costs the Cloning axiom: a Gaussian
    vector has .2274 at d = 64, .2200 at d = 128 and .2021 only as d grows without bound, so compare widths through
    ``sparsity.nulls``.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Hoyer (2004), section 3.1.

    >>> import numpy as np
    >>> hoyer(np.array([[0.0, 0.0, 3.0, 0.0], [1.0, -1.0, 1.0, 1.0]]))
    array([1., 0.])
    """
    return (sqrt(v.width) - v.sum(1) / v.sum(2) ** 0.5) / (sqrt(v.width) - 1)


@metric(
    version=1,
    sparser="lower",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
    comparable=True,
    source="arXiv:2603.03415, rank.py: exponential of Shannon's entropy of |x| / sum |x|, divided by d",
    equation="exp(-sum p log p) / d, p = a / sum a",
)
def effective_dimension_l1(v: Vectors, /) -> Column:
    r"""Share of coordinates that the magnitudes effectively use: 1/d for a one-hot vector, 1 when all are equal.

    .. math:: D_1(x) = \frac1d \exp\Big(-\sum_i p_i \ln p_i\Big), \qquad p_i = |x_i| / \|x\|_1

    LOWER is sparser. No unit; in [1/d, 1]; comparable across widths. For Gaussian coordinates it tends to .7529. It
    concerns one vector; the effective rank of a matrix (``sparsity.population``) is another thing.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: the ranking code of arXiv:2603.03415,
    without its 1e-10 inside the logarithm.

    >>> import numpy as np
    >>> effective_dimension_l1(np.array([1.0, 1.0, 0.0, 0.0]))
    np.float64(0.5)
    """
    total = v.sum(1)
    return total * v.fn.exp(-v.log_sum(1) / total) / v.width
