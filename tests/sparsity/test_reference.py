"""Every measure equals an independent float64 loop typed from its equation, whatever precision it is stored in."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsity import METRICS, MetricSpec
from tests.reference.vector_measures import REFERENCES
from tests.sparsity.cases import ALL, COUNTS, declared_range, evaluate

# Float32 elementwise work leaves at most 4e-7 of the range on the vectors below; a wrong formula leaves 1e-3 and more.
TOLERANCE = 1e-6


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
    assert set(REFERENCES) == set(METRICS)


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_equals_the_reference(spec: MetricSpec):
    for name, x in vectors().items():
        if spec.name == "gaussian_entropy" and not x.all():
            assert np.isnan(evaluate(spec, x))
        else:
            expected = REFERENCES[spec.name](x.tolist(), **spec.keywords)
            assert evaluate(spec, x) == pytest.approx(expected, rel=1e-12, abs=1e-13), name


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec not in COUNTS], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_half_and_single_precision_are_stored_and_not_computed_in(spec: MetricSpec, dtype: str):
    x = vectors()["outlier"].astype(dtype)
    expected = REFERENCES[spec.name](x.astype(np.float64).tolist(), **spec.keywords)
    unbounded = not np.isfinite(np.subtract(*spec.record.bounds(x.size, spec.keywords)))
    tolerance = TOLERANCE * (abs(expected) if unbounded else declared_range(spec, x.size))
    assert abs(float(evaluate(spec, x)) - expected) <= tolerance
