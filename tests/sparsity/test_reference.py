"""Every measure equals an independent float64 loop typed from its equation, whatever precision it is stored in."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsity import DEFAULT_METRICS, METRICS, MetricSpec
from sparsity.kernels.accelerator import DeviceVectors, evaluate_on_device
from sparsity.kernels.arrays import as_rows
from sparsity.kernels.vectors import ACCUMULATION, Vectors
from tests.reference.vector_measures import REFERENCES
from tests.sparsity.cases import ALL, COUNTS, declared_range, evaluate
from tests.tolerances import BACK_ENDS, FLOAT32, FLOAT64, FLOAT64_NEAR_ZERO

pytestmark = pytest.mark.numeric


def vectors() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(20)
    heavy = rng.standard_t(2, 97)
    sparse = np.where(rng.random(96) < 0.8, 0.0, rng.standard_normal(96))
    outlier = rng.standard_normal(128)
    outlier[17] = 900.0
    return {
        "gaussian": rng.standard_normal(89),
        "heavy tails": heavy,
        "zeros": sparse,
        "outlier": outlier,
        "small": 1e-4 * rng.standard_normal(33),
        "two": np.array([1.0, -3.0]),
    }


def test_every_measure_has_a_reference():
    assert set(REFERENCES) == set(METRICS), "list each in REFERENCES of tests/reference/vector_measures.py"


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_equals_the_reference(spec: MetricSpec):
    for name, x in vectors().items():
        if spec.name == "gaussian_entropy" and not x.all():
            assert np.isnan(evaluate(spec, x))
        else:
            expected = REFERENCES[spec.name](x.tolist(), **spec.keywords)
            assert evaluate(spec, x) == pytest.approx(expected, rel=FLOAT64, abs=FLOAT64_NEAR_ZERO), name


def wide_vectors() -> NDArray[np.float32]:
    """Flat, Gaussian, heavy-tailed, and one coordinate that holds a twentieth of the energy over a flat rest."""
    rng, d = np.random.default_rng(3), 16_384
    massive = np.full(d, 0.3)
    massive[5] = 0.3 * (d / 19) ** 0.5
    return np.stack([np.full(d, 0.7), rng.standard_normal(d), rng.standard_t(1, d), massive]).astype(np.float32)


@pytest.mark.parametrize("block", [Vectors, lambda x: DeviceVectors(torch.from_numpy(x))], ids=["numpy", "torch"])
def test_sums_of_wide_float32_vectors_are_off_by_no_more_than_float64_adds_up_to(block: Callable[..., Vectors]):
    vectors = block(wide_vectors())
    for index, row in enumerate(np.asarray(vectors.magnitudes, np.float64).tolist()):
        for power in (1, 2, 4):
            exact = math.fsum(value**power for value in row)
            assert float(vectors.sum(power)[index]) == pytest.approx(exact, rel=ACCUMULATION)
        ranks = math.fsum((2 * k + 1 - len(row)) / len(row) * value for k, value in enumerate(sorted(row)))
        assert float(vectors.rank_sum()[index]) == pytest.approx(ranks, abs=ACCUMULATION * sum(row))


@pytest.mark.parametrize("spec", DEFAULT_METRICS, ids=str)
def test_a_float32_vector_is_the_same_numbers_in_float64_at_any_width(spec: MetricSpec):
    x = wide_vectors()
    low, high = spec.record.bounds(x.shape[1], spec.keywords)
    expected = evaluate(spec, x.astype(np.float64))
    scale = high - low if np.isfinite(high - low) else expected
    on_device = evaluate_on_device(as_rows(torch.from_numpy(x), spec.name), [spec.record.job(spec.keywords)])[0]
    for values in (evaluate(spec, x), np.asarray(on_device)):
        assert (np.abs(values - expected) <= FLOAT32 * scale).all()


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec not in COUNTS], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_half_and_single_precision_are_stored_and_not_computed_in(spec: MetricSpec, dtype: str):
    x = vectors()["outlier"].astype(dtype)
    expected = REFERENCES[spec.name](x.astype(np.float64).tolist(), **spec.keywords)
    unbounded = not np.isfinite(np.subtract(*spec.record.bounds(x.size, spec.keywords)))
    tolerance = BACK_ENDS * (abs(expected) if unbounded else declared_range(spec, x.size))
    assert abs(float(evaluate(spec, x)) - expected) <= tolerance
