"""Declared bounds hold for every vector and are attained at flat and one-hot vectors, or where the docstring says."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsity import MetricSpec
from tests.sparsity.cases import ALL, INVARIANT, evaluate
from tests.tolerances import FLOAT32, FLOAT32_ENDS, FLOAT64

pytestmark = pytest.mark.numeric

# What ends a range for these is not a flat or a one-hot vector, or nothing attains it.
ELSEWHERE = {"zero_fraction", "near_zero_fraction", "fraction_above_mean_plus_sd", "zero_count", "u_theta"}


@cache
def extremes(d: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(d)
    return np.concatenate([
        rng.standard_normal((60, d)),
        rng.standard_t(1, (60, d)),
        np.eye(d)[:5] + 1e-6 * rng.standard_normal((min(d, 5), d)),
        1 + 1e-6 * rng.standard_normal((20, d)),
        np.ones((1, d)),
        np.eye(d)[:1],
        np.where(rng.random((20, d)) < 0.9, 0, rng.standard_normal((20, d))),
    ]).astype(np.float32)  # fmt: skip


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_no_vector_leaves_the_bounds(spec: MetricSpec):
    for d in (2, 16, 97, 1000):
        low, high = spec.record.bounds(d, spec.keywords)
        margin = FLOAT32 * (high - low if np.isfinite(high - low) else 1)
        values = evaluate(spec, extremes(d))
        values = values[~np.isnan(values)]
        assert values.size
        assert values.min() >= low - margin
        assert values.max() <= high + margin


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", [spec for spec in INVARIANT if spec.name not in ELSEWHERE], ids=str)
def test_flat_and_one_hot_vectors_are_the_two_ends(spec: MetricSpec, dtype: str):
    tolerance = FLOAT64 if dtype == "float64" else FLOAT32_ENDS
    for d, value in product([2, 7, 768, 5000], [1.0, 0.7, 3.1e-5]):
        flat, one_hot = np.full(d, value, dtype), np.zeros(d, dtype)
        one_hot[d // 2] = -value
        low, high = spec.record.bounds(d, spec.keywords)
        dense, sparse = (low, high) if spec.record.sparser == "higher" else (high, low)
        assert evaluate(spec, flat) == pytest.approx(dense, abs=tolerance * max(1, high - low))
        assert evaluate(spec, one_hot) == pytest.approx(sparse, abs=tolerance * max(1, high - low))


def test_the_ends_of_counts():
    x = np.array([[0.0, 0.0, 5.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    near = MetricSpec("near_zero_fraction", (0.1, "max"))
    np.testing.assert_array_equal(evaluate(MetricSpec("zero_fraction"), x), [0.75, 0, 1])
    np.testing.assert_array_equal(evaluate(MetricSpec("zero_count"), x), [3, 0, 4])
    np.testing.assert_array_equal(evaluate(near, x), [0.75, 0, 1])
    np.testing.assert_array_equal(evaluate(MetricSpec("fraction_above_mean_plus_sd"), x), [0.25, 0, 0])


def test_flat_vectors_have_nothing_above_the_mean_whatever_rounding_does():
    flat = np.full((3, 777), 1.0) * np.array([[0.1], [0.7], [1e-30]])
    assert not evaluate(MetricSpec("fraction_above_mean_plus_sd"), flat).any()
    assert not evaluate(MetricSpec("fraction_above_mean_plus_sd"), flat.astype(np.float32)).any()
