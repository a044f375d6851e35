"""Concentration of a vector's magnitudes: measures whose wealth is |x|.

All are free of scale, sign and order, undefined (NaN) for a zero vector, and resist a single large coordinate better
than the measures of energy: one coordinate raised to 100 sigma at d = 4096 moves :func:`gini` from .414 to .431 and
:func:`hoyer`, whose denominator is an energy, from .205 to .566.
"""

from math import inf, log, nan, sqrt

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.records import Interval, metric

HURLEY_RICKARD = "Hurley & Rickard (2009), IEEE Trans. Inf. Theory 55(10), arXiv:0811.4706"


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, 1 - 1 / d),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
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
    return hoyer_of_sums(v.sum(1), v.sum(2), v.width)


def hoyer_of_sums(total: Column, squares: Column, width: int) -> Column:
    """Hoyer's sparseness of vectors whose magnitudes add up to ``total`` and their squares to ``squares``.

    For whoever changes single coordinates and keeps the two sums (substitution does); elsewhere use :func:`hoyer`.

    >>> float(hoyer_of_sums(3.0, 9.0, 4))
    1.0
    """
    return (sqrt(width) - total / squares**0.5) / (sqrt(width) - 1)


@metric(
    version=1,
    sparser="lower",
    bounds=lambda d, _: (1 / d, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
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


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, p: (0.0, 1 - d ** (1 / p["q"] - 1 / p["p"])),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
    source="Diao et al. (2023), 'Pruning deep neural networks from a sparsity perspective', ICLR, definition 3.1",
    equation="1 - d^(1/q - 1/p) ||a||_p / ||a||_q",
    parameters={"p": Interval(0, 1, closed=True), "q": Interval(1, inf)},
)
def pq_index(v: Vectors, /, *, p: float, q: float) -> Column:
    r"""PQ index: 0 when all magnitudes are equal, 1 - d^(1/q - 1/p) for a one-hot vector.

    .. math:: I_{p,q}(x) = 1 - d^{1/q - 1/p} \, \frac{\|x\|_p}{\|x\|_q}, \qquad 0 < p \le 1 < q

    Higher is sparser. No unit; comparable across widths. It is 1 plus the pq-mean of Hurley & Rickard; with p = 1, q
    = 2 it is Hoyer's numerator over sqrt(d), and 1 - (1 - I)^2 is :func:`treves_rolls`.

    NaN where the vector is zero or not finite; ``ValueError`` unless 0 < p <= 1 < q and d >= 2. Source: Diao et al.
    (2023).

    >>> import numpy as np
    >>> pq_index(np.array([1.0, 0.0, 0.0, 0.0]), p=1, q=2)
    np.float64(0.5)
    """
    return 1 - v.width ** (1 / q - 1 / p) * v.sum(p) ** (1 / p) / v.sum(q) ** (1 / q)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, 1 - 1 / d),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "yyyyyy"},
    source="Treves & Rolls (1991), Network 2, as one minus their activity ratio (Rolls & Tovee 1995)",
    equation="1 - (sum a / d)^2 / (sum a^2 / d)",
)
def treves_rolls(v: Vectors, /) -> Column:
    r"""Treves-Rolls sparseness: 0 when all magnitudes are equal, 1 - 1/d for a one-hot vector.

    .. math:: S(x) = 1 - \frac{\big(\frac1d \sum_i |x_i|\big)^2}{\frac1d \sum_i x_i^2}

    Higher is sparser. No unit; in [0, 1 - 1/d]; comparable across widths. For Gaussian coordinates it tends to 1 -
    2/pi = .3634. Their activity ratio, often called sparseness too, is one minus this and runs the other way;
    :func:`vinje_gallant` stretches it to reach 1.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Treves & Rolls (1991); Rolls & Tovee
    (1995).

    >>> import numpy as np
    >>> treves_rolls(np.array([1.0, 0.0, 0.0, 0.0]))
    np.float64(0.75)
    """
    return 1 - v.sum(1) ** 2 / (v.width * v.sum(2))


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (0.0, 1.0),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyynyy", "energy": "yyynyy"},
    source="Vinje & Gallant (2000), Science 287, equation 1",
    equation="(1 - (sum a / d)^2 / (sum a^2 / d)) / (1 - 1/d)",
)
def vinje_gallant(v: Vectors, /) -> Column:
    r"""Vinje-Gallant sparseness: 0 when all magnitudes are equal, 1 for a one-hot vector.

    .. math:: S(x) = \frac{d}{d - 1} \Big(1 - \frac{\big(\sum_i |x_i|\big)^2}{d \sum_i x_i^2}\Big)

    Higher is sparser. No unit; in [0, 1]. Dividing by 1 - 1/d costs the Cloning axiom; without it this is
    :func:`treves_rolls`.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Vinje & Gallant (2000), equation 1.

    >>> import numpy as np
    >>> vinje_gallant(np.array([1.0, 0.0, 0.0, 0.0]))
    np.float64(1.0)
    """
    return (1 - v.sum(1) ** 2 / (v.width * v.sum(2))) / (1 - 1 / v.width)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, p: (p["fraction"], min(1.0, p["fraction"] * d)),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "wyyyww", "energy": "nyyyww"},
    source="arXiv:2603.03415, rank.py, 'top-k% ratio', with k not rounded down; a point of the Lorenz curve",
    equation="sum of the fraction * d largest a / sum a",
    parameters={"fraction": Interval(0, 1)},
)
def top_k_share(v: Vectors, /, *, fraction: float) -> Column:
    r"""Share of the L1 norm held by the largest coordinates: ``fraction`` when all are equal, 1 for a one-hot vector.

    .. math:: S_f(x) = \frac{\sum_{j \le m} a_{(j)} + (k - m)\, a_{(m + 1)}}{\sum_i a_i},
              \qquad k = f d, \; m = \lfloor k \rfloor

    with a = |x| in descending order. Higher is sparser. No unit; in [f, min(1, f d)]; comparable across widths. The
    same share of x^2 is :func:`sparsity.top_k_energy`; the literature calls both "top-k energy".

    NaN where the vector is zero or not finite; ``ValueError`` unless 0 < fraction < 1 and d >= 2.

    >>> import numpy as np
    >>> top_k_share(np.array([3.0, 1.0, 0.0, 0.0]), fraction=0.25)
    np.float64(0.75)
    """
    return v.top_sum(1, fraction) / v.sum(1)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda d, _: (0.0, log(d)),
    carrier="magnitude",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "yyyyyy", "energy": "nyyyyy"},
    source="Theil (1967), Economics and Information Theory, chapter 4, index T",
    equation="sum (a / mean a) log(a / mean a) / d",
)
def theil(v: Vectors, /) -> Column:
    r"""Theil's T index of the magnitudes: 0 when all are equal, ln d for a one-hot vector.

    .. math:: T(x) = \frac1d \sum_i \frac{|x_i|}{\mu} \ln \frac{|x_i|}{\mu}, \qquad \mu = \|x\|_1 / d

    Higher is sparser. In nats; in [0, ln d]; comparable across widths. It is -ln of :func:`effective_dimension_l1`.

    NaN where the vector is zero or not finite; ``ValueError`` if d < 2. Source: Theil (1967).

    >>> import numpy as np
    >>> theil(np.array([1.0, 1.0, 0.0, 0.0])) == np.log(2)
    np.True_
    """
    return v.log_sum(1) / v.sum(1) - v.fn.log(v.sum(1) / v.width)
