"""Nulls: the value of a measure when the coordinates mean nothing.

Problem: .22 is a high Hoyer at d = 4096 and below chance at d = 64. Idea: the null of "no preferred coordinates" is a
direction uniform on the sphere, equivalently independent Gaussian coordinates of one variance; its mean and spread at
the width in use turn a value into a signed excess (positive: sparser than chance, negative: denser) and a z.

What a null cannot do: a random rotation of ANY vector is uniform on the sphere, so "the sparsity is gone after
rotation" holds for every vector and is evidence of nothing.
"""

from functools import lru_cache
from math import nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity.fused import profile
from sparsity.kernels import sphere
from sparsity.specs import MetricSpec, parse_metrics

SEED = 20260316
DRAWN_NUMBERS = 1 << 20
MOST_DRAWN = 1 << 15
# Beyond this width the spread of one vector falls as 1 / sqrt(d) to better than the simulation resolves.
WIDEST_SIMULATED = 1024


class Null(NamedTuple):
    """Value of a measure for a random direction.

    Attributes:
        mean: expected value of one vector.
        sd: standard deviation of one vector.
        mean_error: standard error of ``mean``, 0 where it is exact; ``sd`` is good to 3 % where it is simulated.
    """

    mean: float
    sd: float
    mean_error: float = 0.0


def gaussian(spec: MetricSpec | str, d: int) -> Null:
    """Mean and standard deviation of a measure over random directions in d dimensions.

    Exact (closed form or one integral, good to 1e-7) where ``sparsity.kernels.sphere`` has it; elsewhere a seeded
    simulation whose mean is corrected by regression on the measures with exact means. NaN for a measure that depends on
    scale.

    Args:
        spec: the measure, as a spec or in text.
        d: the width; at least 2.

    >>> round(gaussian("hoyer", 64).mean, 4), round(gaussian("hoyer", 128).mean, 4)
    (0.2274, 0.22)
    """
    if d < 2:
        raise ValueError(f"a null needs at least 2 coordinates, got d = {d}")
    return _gaussian(MetricSpec.parse(spec) if isinstance(spec, str) else spec, d)


def excess(values: NDArray[Any], spec: MetricSpec | str, d: int) -> NDArray[np.float64]:
    """Sparsity above that of a random direction, in the unit of the measure: positive sparser, negative denser.

    >>> import numpy as np
    >>> [bool(excess(np.array([0.3]), name, 64)[0] > 0) for name in ("hoyer", "participation_ratio")]
    [True, True]
    """
    spec = MetricSpec.parse(spec) if isinstance(spec, str) else spec
    if spec.record.sparser is None:
        raise ValueError(f"{spec} measures size and has no direction; ask for the excess of a measure of sparsity")
    sign = 1 if spec.record.sparser == "higher" else -1
    return sign * (np.asarray(values, np.float64) - gaussian(spec, d).mean)


def z_score(values: NDArray[Any], spec: MetricSpec | str, d: int) -> NDArray[np.float64]:
    """:func:`excess` in standard deviations of one random direction."""
    return excess(values, spec, d) / gaussian(spec, d).sd


@lru_cache(maxsize=4096)
def _gaussian(spec: MetricSpec, d: int) -> Null:
    if spec.record.scale != "invariant":
        return Null(nan, nan, nan)
    exact = sphere.EXACT.get(spec.name)
    if exact is None:
        return _simulated(spec, d)
    mean, sd = exact(d, spec.keywords)
    return Null(mean, _simulated_sd(spec, d) if sd is None else sd, 0.0)


def _simulated(spec: MetricSpec, d: int) -> Null:
    """Regress on measures whose mean is exact: what they miss by in this sample is known and taken out."""
    names, means = _controls(d)
    drawn = profile(_directions(d), [*(name for name in names if name != str(spec)), spec])
    values = drawn.pop(str(spec))
    design = np.column_stack([drawn[name] - mean for name, mean in zip(names, means, strict=True)])
    if spec.name == "effective_dimension_l2":
        design = np.column_stack([design, np.log(d * values) - sphere.energy_entropy_mean(d)])
    design = np.column_stack([design, np.ones(len(values))])
    weights, *_ = np.linalg.lstsq(design, values, rcond=1e-10)
    residual = values - design @ weights
    return Null(float(weights[-1]), _simulated_sd(spec, d), float(residual.std() / sqrt(len(values))))


def _controls(d: int) -> tuple[list[str], list[float]]:
    names = [str(spec) for spec in parse_metrics(["hoyer", "gini", "participation_ratio", "top_k_energy(0.1)"])]
    return names, [gaussian(name, d).mean for name in names]


@lru_cache(maxsize=4096)
def _simulated_sd(spec: MetricSpec, d: int) -> float:
    width = min(d, WIDEST_SIMULATED)
    return float(np.std(profile(_directions(width), [spec])[str(spec)])) * sqrt(width / d)


@lru_cache(maxsize=2)
def _directions(d: int) -> NDArray[np.float32]:
    count = min(max(DRAWN_NUMBERS // d, 256), MOST_DRAWN)
    return np.random.default_rng(SEED).standard_normal((count, d), dtype=np.float32)
