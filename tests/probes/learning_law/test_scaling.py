"""Planted scaling laws are found again, with intervals that hold them, and accelerations by counting steps."""

import numpy as np
import pytest

from probes.learning_law.contributions import acceleration
from probes.learning_law.scaling import FIRST, POINTS, RESAMPLES, Law, fit_laws, with_intervals
from tests.samples import ERRORS, of_quantile

STEPS = np.arange(1, 2001)
SD = 1e-5  # of the noise on every loss


def curve(floor: float, scale: float, exponent: float, rng: np.random.Generator | None = None) -> np.ndarray:
    exact = floor + (scale / STEPS) ** exponent
    return exact if rng is None else exact + rng.normal(0, SD, len(STEPS))


def covariance(*laws: Law) -> np.ndarray:
    """Of the floor and of the logarithms of each scale and exponent, fitted by least squares to losses with noise."""
    times = np.unique(np.geomspace(FIRST * len(STEPS), len(STEPS), POINTS).round())
    slopes = np.zeros((len(laws) * len(times), 1 + 2 * len(laws)))
    slopes[:, 0] = 1
    for number, law in enumerate(laws):
        rows = slice(number * len(times), (number + 1) * len(times))
        logs = law.exponent * np.log(law.scale / times)
        slopes[rows, 1 + 2 * number] = law.exponent * np.exp(logs)
        slopes[rows, 2 + 2 * number] = logs * np.exp(logs)
    return SD**2 * np.linalg.inv(slopes.T @ slopes)


def test_planted_laws_are_found_again():
    rng = np.random.default_rng(0)
    planted = {"a": Law(0.05, 2.0, 0.4, 1.0), "b": Law(0.05, 0.7, 0.55, 1.0)}
    found = fit_laws({name: curve(*law[:3], rng) for name, law in planted.items()})
    floor, *logs = ERRORS * np.sqrt(np.diag(covariance(*planted.values())))
    for law, own, errors in zip(planted.values(), found.values(), np.reshape(logs, (2, 2)), strict=True):
        assert own.floor == pytest.approx(law.floor, abs=floor)
        assert (np.abs(np.log([own.scale / law.scale, own.exponent / law.exponent])) < errors).all()
        assert own.explained > 0.999
    assert max(floor, *logs) < 0.1


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
        "slow": np.stack([curve(0.1, scale, 0.4, rng) for scale in scales]),
        "fast": np.stack([curve(0.1, scale / 3, 0.4, rng) for scale in scales]),
    }
    found = with_intervals(curves, "slow", np.random.default_rng(1))
    # its logarithm moves with those of both scales, and log(scale / steps) times with those of both exponents
    steps = np.log(2.0 / len(STEPS))
    turn = np.array([0, 1, steps, -1, -steps])
    error = np.sqrt(turn @ covariance(Law(0.1, 2.0, 0.4, 1.0), Law(0.1, 2.0 / 3, 0.4, 1.0)) @ turn / 8)
    assert np.log(found["fast"]["acceleration"].value / 3) == pytest.approx(0, abs=ERRORS * error)
    assert error < 0.01
    scale = found["slow"]["scale"]
    assert scale.low < 2.0 < scale.high
    # the standard error of a mean of eight, 1.96 each way, with the error of two quantiles of so many resamples
    error = scales.std() / np.sqrt(8)
    assert scale.high - scale.low == pytest.approx(
        2 * 1.96 * error, abs=np.sqrt(2) * of_quantile(0.975, RESAMPLES) * error
    )
    alone = with_intervals({name: own[:1] for name, own in curves.items()}, "slow", np.random.default_rng(1))
    assert np.isnan(alone["slow"]["scale"].low)
