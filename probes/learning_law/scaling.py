r"""The scaling law of loss curves, fitted to several trainings at once.

.. math:: L(t) = L_0 + (B / t)^{\beta}

The floor is one for all trainings that are compared, as in the paper; B and beta are those of each. Intervals resample
whole seeds and fit again, so that they say how far another draw of data and start would move the numbers. The paper's
acceleration follows from two laws: the steps of the one over those in which the other comes to the same loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import least_squares

FIRST: Final = 0.1  # share of the steps that are left out at the beginning, before a power law can hold
RESAMPLES: Final = 200
MOST: Final = 100  # evaluations of a fit; curves that follow such a law need about 10
NUMBERS: Final = ("floor", "scale", "exponent", "acceleration")
POINTS: Final = 30  # of a curve, evenly in the logarithm of time


class Law(NamedTuple):
    """Scaling law of one kind of training.

    Attributes:
        floor: loss that no time gets below.
        scale: B.
        exponent: beta.
        explained: share of the variance of the curve that the law explains.
    """

    floor: float
    scale: float
    exponent: float
    explained: float

    def acceleration(self, other: Law, n_steps: int) -> float:
        """Steps over those after which the other law has this one's loss at their end.

        >>> Law(0.0, 1.0, 0.5, 1.0).acceleration(Law(0.0, 0.5, 0.5, 1.0), 100)
        2.0
        """
        over = (self.scale / n_steps) ** (self.exponent / other.exponent)
        return n_steps * over / other.scale


class Interval(NamedTuple):
    """An estimate with its 95 % percentile interval over resampled seeds."""

    value: float
    low: float
    high: float


def fit_laws(curves: Mapping[str, Float[np.ndarray, " steps"]]) -> dict[str, Law]:
    """Fit one floor and a scale and an exponent for every curve, by least squares of the losses.

    Args:
        curves: by name the losses after 1, 2, ... steps, each as many.
    """
    n_steps = len(next(iter(curves.values())))
    first = max(1.0, FIRST * n_steps)
    times = np.unique(np.geomspace(first, n_steps, POINTS).round().astype(np.int64))
    told = np.stack([np.asarray(curve, np.float64)[times - 1] for curve in curves.values()])
    ends = told.min()

    def fitted(free: Float[np.ndarray, " parameters"]) -> Float[np.ndarray, "curves times"]:
        floor, logs = free[0], free[1:].reshape(len(told), 2)
        return floor + np.exp(np.exp(logs[:, 1:]) * (logs[:, :1] - np.log(times)[None]))

    begin = [0.5 * ends]
    for curve in told:  # the line through both ends, above half the lowest loss
        high, low = np.log(curve[0] - begin[0]), np.log(curve[-1] - begin[0])
        slope = max((high - low) / np.log(times[-1] / times[0]), 1e-3)
        begin += [float(np.log(times[-1]) + low / slope), float(np.log(slope))]
    bounds = ([0.0] + [-np.inf] * (len(begin) - 1), [ends] + [np.inf] * (len(begin) - 1))
    found = least_squares(
        lambda free: (fitted(free) - told).ravel(), begin, bounds=bounds, x_scale="jac", max_nfev=MOST
    ).x
    left = ((fitted(found) - told) ** 2).sum(axis=1) / ((told - told.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    own = np.exp(found[1:].reshape(len(told), 2))
    return {
        name: Law(float(found[0]), float(scale), float(exponent), float(1 - rest))
        for name, (scale, exponent), rest in zip(curves, own, left, strict=True)
    }


def with_intervals(
    curves: Mapping[str, Float[np.ndarray, "seeds steps"]], reference: str, rng: np.random.Generator
) -> dict[str, dict[str, Interval]]:
    """Floor, scale, exponent and acceleration over a reference of every kind of training, with intervals over seeds.

    Args:
        curves: by name the losses of every seed after 1, 2, ... steps; seeds are paired.
        reference: whose loss at the end is to be reached.
        rng: of the resampling.
    """
    n_seeds, n_steps = next(iter(curves.values())).shape

    def numbers(rows: Int[np.ndarray, " drawn"]) -> dict[str, tuple[float, ...]]:
        laws = fit_laws({name: own[rows].mean(axis=0) for name, own in curves.items()})
        return {
            name: (law.floor, law.scale, law.exponent, laws[reference].acceleration(law, n_steps))
            for name, law in laws.items()
        }

    whole = numbers(np.arange(n_seeds, dtype=np.int64))
    drawn = [numbers(_drawn(n_seeds, rng)) for _ in range(RESAMPLES if n_seeds > 1 else 0)]
    found: dict[str, dict[str, Interval]] = {}
    for name, values in whole.items():
        bounds = np.full((2, len(values)), np.nan)
        if drawn:
            bounds = np.quantile(np.array([one[name] for one in drawn]), [0.025, 0.975], axis=0)
        found[name] = {
            what: Interval(value, float(low), float(high))
            for what, value, low, high in zip(
                ("floor", "scale", "exponent", "acceleration"), values, *bounds, strict=True
            )
        }
    return found


def _drawn(n: int, rng: np.random.Generator) -> Int[np.ndarray, " drawn"]:
    """As many seeds as there are, drawn with replacement."""
    return rng.integers(0, n, n, dtype=np.int64)
