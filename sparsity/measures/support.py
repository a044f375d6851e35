"""Number of coordinates that matter: counts against a threshold that is always stated.

The exact zero is the right question for ReLU and for sparse autoencoders and useless for gated activations, where
nothing is zero; every other count needs a threshold, which is a parameter and so part of the name under which a value
is stored. All are shares of the coordinates. Counting is not a measure of inequality, and most axioms fail or hold
only weakly.
"""

from math import nan

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors
from sparsity.records import Choice, Interval, metric


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (0.0, 1.0),
    carrier="count",
    scale="invariant",
    at_zero=1.0,
    axioms={"magnitude": "wywywy", "energy": "wywywy"},
    source="Hurley & Rickard (2009), Table I, l0, as a share",
    equation="#{a = 0} / d",
    min_width=1,
)
def zero_fraction(v: Vectors, /) -> Column:
    r"""Share of coordinates that are exactly zero: 0 when none is, 1 for a zero vector.

    .. math:: Z(x) = \#\{i : x_i = 0\} / d

    Higher is sparser. No unit; in [0, 1]; comparable across widths. Counted before any scaling, so that a subnormal
    number is not zero. What the seed paper calls L0 is :func:`fraction_above_mean_plus_sd`.

    NaN where the vector is not finite; ``ValueError`` if there are no coordinates. Source: Hurley & Rickard (2009),
    Table I.

    >>> import numpy as np
    >>> zero_fraction(np.array([0.0, 0.0, 3.0, 1.0]))
    np.float64(0.5)
    """
    return v.share(v.rows == 0)


@metric(
    version=1,
    sparser="higher",
    bounds=lambda _d, _p: (0.0, 1.0),
    carrier="count",
    scale="invariant",
    at_zero=1.0,
    axioms={"magnitude": "nywywn", "energy": "nywywn"},
    source="Hurley & Rickard (2009), Table I, l0 with a threshold, relative to the vector's own size and as a share",
    equation="#{a <= threshold * rms or max} / d",
    parameters={"threshold": Interval(0, 1), "relative_to": Choice(("rms", "max"))},
    min_width=1,
)
def near_zero_fraction(v: Vectors, /, *, threshold: float, relative_to: str) -> Column:
    r"""Share of coordinates that are small beside the vector's own size: 0 when none is, 1 for a zero vector.

    .. math:: Z_\epsilon(x) = \#\{i : |x_i| \le \epsilon\, r(x)\} / d, \qquad r = \mathrm{rms} \text{ or } \max

    Higher is sparser. No unit; in [0, 1]. A share steps by 1/d, so small changes of x can move it by nothing or by a
    step.

    NaN where the vector is not finite; ``ValueError`` unless 0 < threshold < 1 and ``relative_to`` is ``"rms"`` or
    ``"max"``.

    >>> import numpy as np
    >>> near_zero_fraction(np.array([0.0, 0.01, 0.1, 1.0]), threshold=0.05, relative_to="max")
    np.float64(0.5)
    """
    size = v.peak / v.size if relative_to == "max" else (v.sum(2) / v.width) ** 0.5
    return v.share(v.double(v.magnitudes) <= (threshold * size)[:, None])


@metric(
    version=1,
    sparser="lower",
    bounds=lambda _d, _p: (0.0, 0.5),
    carrier="count",
    scale="invariant",
    at_zero=0.0,
    axioms={"magnitude": "nywnnn", "energy": "nynnnn"},
    source="arXiv:2603.03415, rank.py, there called L0",
    equation="#{a > mean a + sd a} / d",
)
def fraction_above_mean_plus_sd(v: Vectors, /) -> Column:
    r"""Share of coordinates more than one standard deviation above the mean magnitude: 0 when all are equal, below 1/2.

    .. math:: L(x) = \#\{i : a_i > \bar a + s\} / d, \qquad s^2 = \tfrac{1}{d - 1} \textstyle\sum_i (a_i - \bar a)^2

    LOWER is sparser by the convention of the seed paper, which calls it L0. It counts no zeros, is 1/d for a one-hot
    vector and 0 for a flat one, and fails five of the six axioms; it is here so that their numbers can be compared.
    For Gaussian coordinates it tends to .16.

    NaN where the vector is not finite; ``ValueError`` if d < 2. Source: arXiv:2603.03415, rank.py.

    >>> import numpy as np
    >>> fraction_above_mean_plus_sd(np.array([1.0, 1.0, 1.0, 9.0]))
    np.float64(0.25)
    """
    magnitudes = v.double(v.magnitudes)
    deviation = magnitudes - magnitudes.mean(-1)[:, None]
    # Two passes: for equal magnitudes the rounding of the mean then sits inside the deviation it is compared with.
    sd = ((deviation * deviation).sum(-1) / (v.width - 1)) ** 0.5
    return v.share(deviation > sd[:, None])


@metric(
    version=1,
    sparser="lower",
    bounds=lambda d, p: (p["retained"] / d, p["retained"]),
    carrier="energy",
    scale="invariant",
    at_zero=nan,
    axioms={"magnitude": "nyyyyy", "energy": "wyyyyy"},
    source="inverse of top_k_energy; with hard thresholds, Zhang et al. (2024), 'ReLU^2 wins', arXiv:2402.03804",
    equation="smallest k / d whose largest a^2 hold retained * sum a^2",
    parameters={"retained": Interval(0, 1)},
)
def density_at_energy(v: Vectors, /, *, retained: float) -> Column:
    r"""Smallest share of coordinates that keeps ``retained`` of the energy: retained/d one-hot, retained when flat.

    .. math:: \rho_q(x) = \min\{f : T_f(x) \ge q\}

    with T the interpolated :func:`sparsity.top_k_energy`, of which this is the inverse. LOWER is sparser. No unit;
    comparable across widths.

    NaN where the vector is zero or not finite; ``ValueError`` unless 0 < retained < 1 and d >= 2.

    >>> import numpy as np
    >>> density_at_energy(np.array([3.0, 4.0, 0.0, 0.0]), retained=0.64)
    np.float64(0.25)
    """
    energy = v.double(v.fn.flip(v.ranked, (-1,))) ** 2
    held = v.fn.cumsum(energy, -1)
    target = retained * held[:, -1:]
    before = (held < target).sum(-1)[:, None]
    last = v.pick(energy, before)
    return (v.double(before) + 1 - (v.pick(held, before) - target) / last)[:, 0] / v.width
