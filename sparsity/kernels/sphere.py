"""Exact expectations for a direction drawn uniformly on the sphere in d dimensions.

Problem: a measure of a Gaussian vector is often quoted as d grows without bound, and the limit is wrong for the
widths in use (Hoyer: .2274 at d = 64, .2021 in the limit). Idea: independent Gaussian coordinates divided by their
norm are uniform on the sphere, and a measure free of scale cannot tell the two apart; so expectations over the sphere
follow from one-dimensional Gaussian integrals. Two devices suffice. The norm is independent of the direction, which
turns ratios with a power of the norm below into products. Any other denominator B > 0 is removed by 1 / B = integral
of exp(-t B) over t > 0, under which the coordinates factorise.

These are also the averages of a measure over all rotations of ANY vector, whatever produced it.
"""

from collections.abc import Callable, Mapping
from math import exp, lgamma, log, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_norm_ratio(d: int) -> float:
    """Expected L1 / L2 norm: d times the expected magnitude of one coordinate of the direction.

    >>> round(mean_norm_ratio(2), 6) == round(4 / pi, 6)
    True
    """
    return d * exp(lgamma(d / 2) - lgamma((d + 1) / 2)) / sqrt(pi)


def mean_square_norm_ratio(d: int) -> float:
    """Expected (L1 / L2)^2."""
    return 1 + (d - 1) * 2 / pi


def mean_fourth_norm_ratio(d: int) -> float:
    """Expected (L1 / L2)^4, from the moments of a sum of half-normal variables."""
    m1, m2, m3, m4 = sqrt(2 / pi), 1.0, 2 * sqrt(2 / pi), 3.0
    pairs, triples, quadruples = d * (d - 1), d * (d - 1) * (d - 2), d * (d - 1) * (d - 2) * (d - 3)
    fourth = d * m4 + 4 * pairs * m3 * m1 + 3 * pairs * m2**2 + 6 * triples * m2 * m1**2 + quadruples * m1**4
    return fourth / (d * (d + 2))


def hoyer_moments(d: int) -> tuple[float, float]:
    """Mean and standard deviation of Hoyer's sparseness."""
    mean = mean_norm_ratio(d)
    variance = mean_square_norm_ratio(d) - mean**2
    return (sqrt(d) - mean) / (sqrt(d) - 1), sqrt(variance) / (sqrt(d) - 1)


def treves_rolls_moments(d: int) -> tuple[float, float]:
    """Mean and standard deviation of the Treves-Rolls sparseness 1 - (L1 / L2)^2 / d."""
    square = mean_square_norm_ratio(d)
    return 1 - square / d, sqrt(mean_fourth_norm_ratio(d) - square**2) / d


def vinje_gallant_moments(d: int) -> tuple[float, float]:
    """Mean and standard deviation of the Vinje-Gallant sparseness, Treves-Rolls divided by 1 - 1/d."""
    mean, sd = treves_rolls_moments(d)
    return mean / (1 - 1 / d), sd / (1 - 1 / d)


def kurtosis_moments(d: int) -> tuple[float, float]:
    """Mean and standard deviation of d sum u^4."""
    mean = 3 * d / (d + 2)
    square = d * d * (105 + 9 * (d - 1)) / ((d + 2) * (d + 4) * (d + 6))
    return mean, sqrt(square - mean**2)


def gini_mean(d: int) -> float:
    """Expected Gini index: (d - 1) / 2 times the integral over t of E[|a - b| exp(-t (a + b))] E[exp(-t a)]^(d - 2)."""
    from scipy.integrate import quad  # noqa: PLC0415 -- scipy stays out of `import sparsity`
    from scipy.special import erfcx  # noqa: PLC0415 -- same

    def integrand(s: float) -> float:
        t = s / d
        pair = 4 / pi * (sqrt(pi) * erfcx(t) - sqrt(pi / 2) * erfcx(t / sqrt(2)))
        return float(pair * erfcx(t / sqrt(2)) ** (d - 2))

    return (d - 1) / (2 * d) * float(quad(integrand, 0, np.inf, epsabs=1e-12, epsrel=1e-11, limit=200)[0])


def participation_ratio_mean(d: int) -> float:
    """Expected (sum x^2)^2 / (d sum x^4), with 1 / sum x^4 as an integral over exp(-t sum x^4)."""
    from scipy.special import gamma, hyperu  # noqa: PLC0415 -- scipy stays out of `import sparsity`

    # In log t the integrand decays exponentially on both sides, so the trapezoid rule converges geometrically.
    log_t = np.linspace(-45 - log(d), 5 + 120 / d, 1200)
    t = np.exp(log_t)

    def moment(j: int) -> NDArray[Any]:
        nu = j + 0.5
        return gamma(nu) / sqrt(2 * pi) * (4 * t) ** (-nu / 2) * hyperu(nu / 2, 0.5, 1 / (16 * t))

    one, second, fourth = moment(0), moment(1), moment(2)
    integrand = (fourth * one + (d - 1) * second**2) * one ** (d - 2) * t
    return float(np.trapezoid(integrand, log_t))


def top_k_energy_mean(d: int, fraction: float) -> float:
    """Expected share of the energy in the ``fraction * d`` largest coordinates, linear between whole counts."""
    count = fraction * d
    whole = int(count)
    part = count - whole
    return (1 - part) * _top_energy(d, whole) + (part * _top_energy(d, whole + 1) if part else 0.0)


def _top_energy(d: int, k: int) -> float:
    """Integrate the energy in a Gaussian tail over the mass of that tail beyond the k-th largest, Beta(k, d - k)."""
    from scipy.special import betaincinv, ndtri  # noqa: PLC0415 -- scipy stays out of `import sparsity`

    if k in (0, d):
        return k / d
    nodes, weights = np.polynomial.legendre.leggauss(400)
    tail = betaincinv(k, d - k, (nodes + 1) / 2)
    z = -ndtri(tail / 2)
    energy = 2 * z * np.exp(-z * z / 2) / sqrt(2 * pi) + tail
    return float(weights @ energy / 2)


def energy_entropy_mean(d: int) -> float:
    """Expected entropy of the energy shares, which are Dirichlet(1/2, ..., 1/2)."""
    from scipy.special import digamma  # noqa: PLC0415 -- scipy stays out of `import sparsity`

    return float(digamma(d / 2 + 1) - digamma(1.5))


Moments = Callable[[int, Mapping[str, Any]], tuple[float, float | None]]

# Mean and standard deviation by measure; None where only the mean is known in closed form or as one integral.
EXACT: Mapping[str, Moments] = {
    "hoyer": lambda d, _: hoyer_moments(d),
    "treves_rolls": lambda d, _: treves_rolls_moments(d),
    "vinje_gallant": lambda d, _: vinje_gallant_moments(d),
    "kurtosis": lambda d, _: kurtosis_moments(d),
    "zero_fraction": lambda _d, _p: (0.0, 0.0),
    "gini": lambda d, _: (gini_mean(d), None),
    "participation_ratio": lambda d, _: (participation_ratio_mean(d), None),
    "top_k_energy": lambda d, p: (top_k_energy_mean(d, p["fraction"]), None),
}
