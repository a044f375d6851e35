"""The sixteen measures of Hurley & Rickard (2009), for completeness: those that depend on the scale of the vector.

In their signs, so that larger always counts as sparser, with c = |x|. Halving every activation changes each of them,
so none can tell a sparser vector from a smaller one; they are here to be compared with older work, never for a
finding. The non-linear ones are computed on the magnitudes as they came, in float64.
"""

from math import exp, inf, nan

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.measures.hurley_rickard import SOURCE
from sparsity.records import Interval, metric


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, float(d)),
    carrier="count",
    scale="none",
    at_zero=None,
    axioms={"magnitude": "nnwnwy", "energy": "nnwnwy"},
    source=SOURCE,
    equation="#{c <= epsilon}",
    parameters={"epsilon": Interval(0, inf)},
    min_width=1,
)
def near_zero_count(v: Vectors, /, *, epsilon: float) -> Column:
    r"""l0 with a threshold: number of magnitudes up to ``epsilon``, from 0 to d.

    .. math:: \#\{i : c_i \le \epsilon\}

    Higher is sparser. The threshold is in the unit of x, so the value depends on scale. NaN where the vector is not
    finite.

    >>> import numpy as np
    >>> near_zero_count(np.array([0.0, 0.1, 3.0]), epsilon=0.5)
    np.float64(2.0)
    """
    return v.double((v.wide <= epsilon).sum(-1))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (-inf, 0.0),
    carrier="magnitude",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "wnynnw", "energy": "ynynnw"},
    source=SOURCE,
    equation="-sum c",
    min_width=1,
)
def negative_l1(v: Vectors, /) -> Column:
    r"""Minus the L1 norm: 0 for a zero vector, without lower bound.

    .. math:: -\sum_i c_i

    Higher counts as sparser, but halving a vector changes it: it is a size. NaN where the vector is not finite.

    >>> import numpy as np
    >>> negative_l1(np.array([3.0, -4.0]))
    np.float64(-7.0)
    """
    return -v.sum(1) * v.size


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (-inf, 0.0),
    carrier="magnitude",
    scale="equivariant",
    at_zero=0.0,
    axioms={"magnitude": "ynynnw", "energy": "ynynnw"},
    source=SOURCE,
    equation="-(sum c^p)^(1/p)",
    parameters={"p": Interval(0, 1)},
    min_width=1,
)
def negative_lp(v: Vectors, /, *, p: float) -> Column:
    r"""Minus the Lp quasi-norm for 0 < p < 1: 0 for a zero vector, without lower bound.

    .. math:: -\Big(\sum_i c_i^p\Big)^{1/p}

    Higher counts as sparser, but halving a vector changes it: it is a size. NaN where the vector is not finite.

    >>> import numpy as np
    >>> negative_lp(np.array([1.0, 1.0]), p=0.5).round(6)
    np.float64(-4.0)
    """
    return -(v.sum(p) ** (1 / p)) * v.size


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (-float(d), 0.0),
    carrier="magnitude",
    scale="none",
    at_zero=0.0,
    axioms={"magnitude": "ynynnw", "energy": "ynynnw"},
    source=SOURCE,
    equation="-sum tanh((a c)^b)",
    parameters={"a": Interval(0, inf), "b": Interval(0, 1, closed=True)},
    min_width=1,
)
def negative_tanh(v: Vectors, /, *, a: float, b: float) -> Column:
    r"""Minus the sum of a saturating function: 0 for a zero vector, -d for a vector of large magnitudes.

    .. math:: -\sum_i \tanh\big((a c_i)^b\big)

    Higher counts as sparser. Depends on scale and saturates: beyond (a c)^b of about 20 a coordinate counts as 1. NaN
    where the vector is not finite.

    >>> import numpy as np
    >>> negative_tanh(np.array([0.0, 50.0]), a=1, b=1)
    np.float64(-1.0)
    """
    return -v.fn.tanh((a * v.wide) ** b).sum(-1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (-inf, 0.0),
    carrier="energy",
    scale="none",
    at_zero=0.0,
    axioms={"magnitude": "nnynnw", "energy": "ynynnw"},
    source=SOURCE,
    equation="-sum log(1 + c^2)",
    min_width=1,
)
def negative_log(v: Vectors, /) -> Column:
    r"""Minus the sum of log(1 + c^2): 0 for a zero vector, without lower bound.

    .. math:: -\sum_i \ln(1 + c_i^2)

    Higher counts as sparser. Depends on scale: convex below c = 1 and concave above. NaN where the vector is not
    finite.

    >>> import numpy as np
    >>> negative_log(np.array([0.0, 1.0]))
    np.float64(-0.6931471805599453)
    """
    return -v.fn.log1p(v.wide**2).sum(-1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (-inf, 0.0),
    carrier="magnitude",
    scale="none",
    at_zero=0.0,
    axioms={"magnitude": "nnnnyw", "energy": "nnnnyw"},
    source=SOURCE,
    equation="-sum of c^p over c != 0, p < 0",
    parameters={"p": Interval(-inf, 0)},
    min_width=1,
)
def negative_lp_minus(v: Vectors, /, *, p: float) -> Column:
    r"""Minus the sum of a negative power of the non-zero magnitudes: 0 for a zero vector, without lower bound.

    .. math:: -\sum_{c_i \ne 0} c_i^p, \qquad p < 0

    Higher counts as sparser. Depends on scale and rewards large magnitudes. NaN where the vector is not finite.

    >>> import numpy as np
    >>> negative_lp_minus(np.array([0.0, 2.0, 4.0]), p=-1)
    np.float64(-0.75)
    """
    present = v.wide > 0
    return -v.fn.where(present, v.fn.where(present, v.wide, 1.0) ** p, 0.0).sum(-1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (-inf, inf),
    carrier="magnitude",
    scale="none",
    at_zero=nan,
    axioms={"magnitude": "ynynn-", "energy": "ynynn-"},
    source=SOURCE,
    equation="-sum log c^2",
    min_width=1,
)
def gaussian_entropy(v: Vectors, /) -> Column:
    r"""H_G: minus the sum of log c^2, without bounds.

    .. math:: H_G = -\sum_i \ln c_i^2

    Higher counts as sparser. Depends on scale. Undefined (NaN) as soon as one coordinate is zero, or not finite.

    >>> import numpy as np
    >>> gaussian_entropy(np.array([1.0, np.e]))
    np.float64(-2.0)
    """
    nothing = (v.wide == 0).any(-1)
    return v.fn.where(nothing, nan, -2 * v.fn.log(v.fn.where(v.wide == 0, 1.0, v.wide)).sum(-1))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (-inf, 2 * d / exp(1)),
    carrier="magnitude",
    scale="none",
    at_zero=0.0,
    axioms={"magnitude": "nnnnnw", "energy": "nnnnnw"},
    source=SOURCE,
    equation="-sum c log c^2",
    min_width=1,
)
def modified_shannon_entropy(v: Vectors, /) -> Column:
    r"""H_S': minus the sum of c log c^2, without lower bound.

    .. math:: H_{S'} = -\sum_i c_i \ln c_i^2

    Higher counts as sparser by their sign. Depends on scale. A zero contributes nothing. NaN where the vector is not
    finite.

    >>> import numpy as np
    >>> modified_shannon_entropy(np.array([1.0, 0.0, np.e]))
    np.float64(-5.43656365691809)
    """
    present = v.fn.where(v.wide > 0, v.wide, 1.0)
    return -2 * (present * v.fn.log(present)).sum(-1)
