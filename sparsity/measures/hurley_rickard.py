"""The sixteen measures of Hurley & Rickard (2009), for completeness: those that are free of scale.

Their Table I in their signs, so that larger always means sparser, with c = |x| and N = d. Two of the sixteen are
recommended measures and live elsewhere: :func:`sparsity.gini` and :func:`sparsity.hoyer`. Most of those here repeat a
measure of this package in another normalisation; they are registered and tested like all others, but nothing else
uses them. The eight that depend on scale are in ``sparsity.measures.hurley_rickard_scaled``.
"""

from math import ceil, inf, log, nan, sqrt

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.measures.concentration import HURLEY_RICKARD
from sparsity.records import Interval, metric

SOURCE = f"{HURLEY_RICKARD}, Table I"


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, float(d)),
    carrier="count",
    scale="invariant",
    at_zero=None,
    axioms={"magnitude": "wywnwy", "energy": "wywnwy"},
    source=SOURCE,
    equation="#{c = 0}",
    min_width=1,
)
def zero_count(v: Vectors, /) -> Column:
    r"""l0: number of coordinates that are exactly zero, from 0 to d.

    .. math:: \#\{i : c_i = 0\}

    Higher is sparser. Scale-free. As a share of the width, which satisfies Cloning, it is
    :func:`sparsity.zero_fraction`. NaN where the vector is not finite.

    >>> import numpy as np
    >>> zero_count(np.array([0.0, 0.0, 3.0]))
    np.float64(2.0)
    """
    return v.double((v.rows == 0).sum(-1))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (1 / sqrt(d), 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyynyw", "energy": "yyynyw"},
    source=SOURCE,
    equation="||c||_2 / ||c||_1",
    min_width=2,
)
def l2_over_l1(v: Vectors, /) -> Column:
    r"""L2 over L1 norm: 1/sqrt(d) when all magnitudes are equal, 1 for a one-hot vector.

    .. math:: \|c\|_2 / \|c\|_1

    Higher is sparser. Scale-free; :func:`sparsity.hoyer` before its ends are fixed. NaN where the vector is zero or
    not finite.

    >>> import numpy as np
    >>> l2_over_l1(np.array([3.0, -4.0, 0.0]))
    np.float64(0.7142857142857143)
    """
    return v.sum(2) ** 0.5 / v.sum(1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyynyw", "energy": "yyynyw"},
    source=SOURCE,
    equation="sum c^4 / (sum c^2)^2",
    min_width=2,
)
def kappa4(v: Vectors, /) -> Column:
    r"""Kurtosis about zero divided by d: 1/d when all magnitudes are equal, 1 for a one-hot vector.

    .. math:: \sum_i c_i^4 \Big/ \Big(\sum_i c_i^2\Big)^2

    Higher is sparser. Scale-free; with the factor d, which satisfies Cloning and Babies, it is
    :func:`sparsity.kurtosis`. NaN where the vector is zero or not finite.

    >>> import numpy as np
    >>> kappa4(np.array([1.0, 1.0]))
    np.float64(0.5)
    """
    return v.sum(4) / v.sum(2) ** 2


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (0.0, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nywywn", "energy": "nynywn"},
    source=SOURCE,
    equation="1 - min (c_(i + ceil(theta N) - 1) - c_(i)) / (c_(N) - c_(1))",
    parameters={"theta": Interval(0, 1)},
    min_width=2,
)
def u_theta(v: Vectors, /, *, theta: float) -> Column:
    r"""One minus the narrowest share of the range holding ``theta`` of the magnitudes: 0 evenly spread, 1 bunched.

    .. math:: 1 - \min_i \frac{c_{(i + \lceil \theta N \rceil - 1)} - c_{(i)}}{c_{(N)} - c_{(1)}}

    Higher is sparser. Scale-free. Undefined (NaN) when all magnitudes are equal, zero or not finite.

    >>> import numpy as np
    >>> u_theta(np.array([0.0, 0.0, 0.0, 3.0]), theta=0.5)
    np.float64(1.0)
    """
    held = ceil(theta * v.width)
    widths = v.double(v.ranked[:, held - 1 :]) - v.double(v.ranked[:, : v.width - held + 1])
    span = v.double(v.ranked[:, -1]) - v.double(v.ranked[:, 0])
    return 1 - v.fn.where(span > 0, v.smallest(widths) / v.fn.where(span > 0, span, 1.0), nan)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (-log(d), 0.0),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyynyw", "energy": "yyynyw"},
    source=SOURCE,
    equation="sum p log p, p = c^2 / sum c^2",
    min_width=2,
)
def shannon_entropy(v: Vectors, /) -> Column:
    r"""H_S: minus the Shannon entropy of the energy shares as printed, 0 for a one-hot vector, -ln d when flat.

    .. math:: -H_S = \sum_i p_i \ln p_i, \qquad p_i = c_i^2 / \|c\|_2^2

    Higher is sparser. Scale-free, in nats. The printed sign would make larger mean denser; this is its negative.
    exp(-S)/d is :func:`sparsity.effective_dimension_l2`. NaN where the vector is zero or not finite.

    >>> import numpy as np
    >>> shannon_entropy(np.array([1.0, 0.0]))
    np.float64(0.0)
    """
    return 2 * v.log_sum(2) / v.sum(2) - v.fn.log(v.sum(2))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, p: (-1.0, -(d ** (1 / p["q"] - 1 / p["p"]))),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
    source=SOURCE,
    equation="-(mean c^p)^(1/p) / (mean c^q)^(1/q)",
    parameters={"p": Interval(0, 1, closed=True), "q": Interval(1, inf)},
    min_width=2,
)
def pq_mean(v: Vectors, /, *, p: float, q: float) -> Column:
    r"""Minus the ratio of two power means: -1 when all magnitudes are equal, towards 0 as the vector gets sparser.

    .. math:: -\Big(\tfrac1N \sum_i c_i^p\Big)^{1/p} \Big(\tfrac1N \sum_i c_i^q\Big)^{-1/q}, \qquad p \le 1 < q

    Higher is sparser. Scale-free; with :func:`sparsity.gini` one of the two of the sixteen that satisfy all six
    axioms. It is :func:`sparsity.pq_index` minus 1. NaN where the vector is zero or not finite.

    >>> import numpy as np
    >>> pq_mean(np.array([1.0, 1.0]), p=1, q=2)
    np.float64(-1.0)
    """
    return -((v.sum(p) / v.width) ** (1 / p)) / (v.sum(q) / v.width) ** (1 / q)
