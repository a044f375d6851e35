"""Planted scaling laws are found again, with intervals that hold them, and accelerations by counting steps."""

import numpy as np
import pytest

from probes.learning_law.contributions import acceleration
from probes.learning_law.scaling import Law, fit_laws, with_intervals

STEPS = np.arange(1, 2001)

# Curves without noise: the least-squares search ends within this of the law, far above rounding.
FITTED = 1e-3


def curve(floor: float, scale: float, exponent: float) -> np.ndarray:
    return floor + (scale / STEPS) ** exponent


def test_planted_laws_are_found_again():
    found = fit_laws({"a": curve(0.05, 2.0, 0.4), "b": curve(0.05, 0.7, 0.55)})
    assert found["a"] == pytest.approx(Law(0.05, 2.0, 0.4, 1.0), rel=FITTED)
    assert found["b"] == pytest.approx(Law(0.05, 0.7, 0.55, 1.0), rel=FITTED)


def test_acceleration_by_the_laws_is_that_of_counted_steps():
    slow, fast = curve(0.0, 2.0, 0.4), curve(0.0, 0.7, 0.5)
    laws = fit_laws({"slow": slow, "fast": fast})
    told = laws["slow"].acceleration(laws["fast"], len(STEPS))
    counted = acceleration(np_to_torch([np.inf, *fast]), slow[-1])
    assert told == pytest.approx(counted, rel=0.02)  # steps are whole numbers: one of about 50
    assert laws["slow"].acceleration(laws["slow"], 77) == pytest.approx(1)


def np_to_torch(values):
    import torch

    return torch.tensor(values, dtype=torch.float64)


def test_intervals_are_over_seeds():
    rng = np.random.default_rng(0)
    scales = rng.normal(2.0, 0.1, 8)
    curves = {
        "slow": np.stack([curve(0.1, scale, 0.4) for scale in scales]),
        "fast": np.stack([curve(0.1, scale / 3, 0.4) for scale in scales]),
    }
    found = with_intervals(curves, "slow", np.random.default_rng(1))
    assert found["fast"]["acceleration"].value == pytest.approx(3, rel=10 * FITTED)  # scale and exponent of both laws
    scale = found["slow"]["scale"]
    assert scale.low < 2.0 < scale.high
    # the standard error of a mean of eight, 1.96 each way
    assert scale.high - scale.low == pytest.approx(2 * 1.96 * scales.std(ddof=1) / np.sqrt(8), rel=0.4)
    alone = with_intervals({name: own[:1] for name, own in curves.items()}, "slow", np.random.default_rng(1))
    assert np.isnan(alone["slow"]["scale"].low)
