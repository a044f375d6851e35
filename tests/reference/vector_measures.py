"""Every vector measure typed again from its equation: plain loops over Python floats, slow and independent.

Nothing here imports the package. Where a measure has two well-known forms, the other one is typed here than in the
package (the Gini index as a mean absolute difference, say), so that a slip in one cannot hide in the other.
"""

import math
from collections.abc import Callable, Sequence

Vector = Sequence[float]


def _magnitudes(x: Vector) -> list[float]:
    return [abs(value) for value in x]


def gini(x: Vector) -> float:
    a = _magnitudes(x)
    differences = sum(abs(first - second) for first in a for second in a)
    return differences / (2 * len(a) * sum(a))


def hoyer(x: Vector) -> float:
    a, d = _magnitudes(x), len(x)
    l2 = math.sqrt(math.fsum(value * value for value in a))
    return (math.sqrt(d) - math.fsum(a) / l2) / (math.sqrt(d) - 1)


def pq_index(x: Vector, p: float, q: float) -> float:
    a, d = _magnitudes(x), len(x)
    lp = math.fsum(value**p for value in a) ** (1 / p)
    lq = math.fsum(value**q for value in a) ** (1 / q)
    return 1 - d ** (1 / q - 1 / p) * lp / lq


def treves_rolls(x: Vector) -> float:
    a, d = _magnitudes(x), len(x)
    mean = math.fsum(a) / d
    mean_square = math.fsum(value * value for value in a) / d
    return 1 - mean * mean / mean_square


def vinje_gallant(x: Vector) -> float:
    return treves_rolls(x) / (1 - 1 / len(x))


def _perplexity(shares: Sequence[float]) -> float:
    product = 1.0
    for share in shares:
        if share > 0:
            product *= share**-share
    return product


def effective_dimension_l1(x: Vector) -> float:
    a = _magnitudes(x)
    return _perplexity([value / math.fsum(a) for value in a]) / len(a)


def effective_dimension_l2(x: Vector) -> float:
    energies = [value * value for value in x]
    return _perplexity([value / math.fsum(energies) for value in energies]) / len(x)


def _top(values: Sequence[float], fraction: float) -> float:
    """Walk down the ranking and take a whole unit of each, then what is left of the count of the next."""
    left, total = fraction * len(values), 0.0
    for value in sorted(values, reverse=True):
        taken = min(1.0, left)
        total += taken * value
        left -= taken
        if left <= 0:
            break
    return total / math.fsum(values)


def top_k_share(x: Vector, fraction: float) -> float:
    return _top(_magnitudes(x), fraction)


def top_k_energy(x: Vector, fraction: float) -> float:
    return _top([value * value for value in x], fraction)


def theil(x: Vector) -> float:
    a = _magnitudes(x)
    mean = math.fsum(a) / len(a)
    return math.fsum(value / mean * math.log(value / mean) for value in a if value > 0) / len(a)


def kurtosis(x: Vector) -> float:
    second = math.fsum(value**2 for value in x) / len(x)
    fourth = math.fsum(value**4 for value in x) / len(x)
    return fourth / second**2


def participation_ratio(x: Vector) -> float:
    energies = [value * value for value in x]
    shares = [value / math.fsum(energies) for value in energies]
    return 1 / (len(x) * math.fsum(share * share for share in shares))


def peak_to_rms(x: Vector) -> float:
    return max(_magnitudes(x)) / rms(x)


def zero_fraction(x: Vector) -> float:
    return sum(1 for value in x if value == 0) / len(x)


def near_zero_fraction(x: Vector, threshold: float, relative_to: str) -> float:
    size = {"rms": rms, "max": max_abs}[relative_to](x)
    return sum(1 for value in x if abs(value) <= threshold * size) / len(x)


def fraction_above_mean_plus_sd(x: Vector) -> float:
    a, d = _magnitudes(x), len(x)
    mean = math.fsum(a) / d
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in a) / (d - 1))
    return sum(1 for value in a if value > mean + sd) / d


def density_at_energy(x: Vector, retained: float) -> float:
    energies = sorted((value * value for value in x), reverse=True)
    wanted, count = retained * math.fsum(energies), 0.0
    for energy in energies:
        if energy >= wanted:
            return (count + wanted / energy) / len(x)
        wanted -= energy
        count += 1
    raise AssertionError("the energies hold all of their own sum")


def l1_norm(x: Vector) -> float:
    return math.fsum(abs(value) for value in x)


def l2_norm(x: Vector) -> float:
    return math.hypot(*x)


def max_abs(x: Vector) -> float:
    return max(_magnitudes(x))


def rms(x: Vector) -> float:
    return math.hypot(*x) / math.sqrt(len(x))


def zero_count(x: Vector) -> float:
    return float(sum(1 for value in x if value == 0))


def near_zero_count(x: Vector, epsilon: float) -> float:
    return float(sum(1 for value in x if abs(value) <= epsilon))


def negative_l1(x: Vector) -> float:
    return -l1_norm(x)


def negative_lp(x: Vector, p: float) -> float:
    return -(math.fsum(abs(value) ** p for value in x) ** (1 / p))


def l2_over_l1(x: Vector) -> float:
    return l2_norm(x) / l1_norm(x)


def negative_tanh(x: Vector, a: float, b: float) -> float:
    return -math.fsum(math.tanh((a * abs(value)) ** b) for value in x)


def negative_log(x: Vector) -> float:
    return -math.fsum(math.log(1 + value * value) for value in x)


def kappa4(x: Vector) -> float:
    return math.fsum(value**4 for value in x) / math.fsum(value**2 for value in x) ** 2


def u_theta(x: Vector, theta: float) -> float:
    c, n = sorted(_magnitudes(x)), len(x)
    held = math.ceil(n * theta)
    narrowest = min(c[start + held - 1] - c[start] for start in range(n - held + 1))
    return 1 - narrowest / (c[-1] - c[0])


def negative_lp_minus(x: Vector, p: float) -> float:
    return -math.fsum(abs(value) ** p for value in x if value != 0)


def gaussian_entropy(x: Vector) -> float:
    return -math.fsum(math.log(value * value) for value in x)


def shannon_entropy(x: Vector) -> float:
    energies = [value * value for value in x]
    shares = [value / math.fsum(energies) for value in energies]
    return math.fsum(share * math.log(share) for share in shares if share > 0)


def modified_shannon_entropy(x: Vector) -> float:
    return -math.fsum(abs(value) * math.log(value * value) for value in x if value != 0)


def pq_mean(x: Vector, p: float, q: float) -> float:
    a, n = _magnitudes(x), len(x)
    low = (math.fsum(value**p for value in a) / n) ** (1 / p)
    high = (math.fsum(value**q for value in a) / n) ** (1 / q)
    return -low / high


REFERENCES: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        gini, hoyer, pq_index, treves_rolls, vinje_gallant, effective_dimension_l1, effective_dimension_l2, top_k_share,
        top_k_energy, theil, kurtosis, participation_ratio, peak_to_rms, zero_fraction, near_zero_fraction,
        fraction_above_mean_plus_sd, density_at_energy, l1_norm, l2_norm, max_abs, rms, zero_count, near_zero_count,
        negative_l1, negative_lp, l2_over_l1, negative_tanh, negative_log, kappa4, u_theta, negative_lp_minus,
        gaussian_entropy, shannon_entropy, modified_shannon_entropy, pq_mean,
    )
}  # fmt: skip
