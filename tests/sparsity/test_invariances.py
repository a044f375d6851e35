"""What must not move a measure: scale, sign, order, batching, storage, back end; and what is exactly proportional."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsity import MetricSpec
from sparsity.kernels.accelerator import evaluate_on_device
from sparsity.kernels.arrays import as_rows
from tests.sparsity.cases import ALL, COUNTS, INVARIANT, declared_range, evaluate
from tests.tolerances import BACK_ENDS, FLOAT64, FLOAT64_NEAR_ZERO

pytestmark = pytest.mark.numeric

# 1e-41 is a subnormal float32 number of 13 bits.
SUBNORMAL = 2.0**-13
STORED = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def activations(dtype: str = "float32", d: int = 200) -> NDArray:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((40, d))
    x[:10] **= 3
    x[10:20][rng.random((10, d)) < 0.7] = 0
    x[20, 5] = 700.0
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", INVARIANT, ids=str)
def test_powers_of_two_change_no_bit(spec: MetricSpec, dtype: str):
    x = activations(dtype)
    for exponent in (-60, -20, -1, 1, 30, 100):
        np.testing.assert_array_equal(evaluate(spec, np.ldexp(x, exponent)), evaluate(spec, x))


@pytest.mark.parametrize("spec", [spec for spec in INVARIANT if spec not in COUNTS], ids=str)
def test_any_factor_changes_rounding_only(spec: MetricSpec):
    x = activations("float64")
    np.testing.assert_allclose(evaluate(spec, 0.37 * x), evaluate(spec, x), rtol=FLOAT64, atol=FLOAT64_NEAR_ZERO)


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec.record.scale == "equivariant"], ids=str)
def test_sizes_scale_with_the_vector(spec: MetricSpec):
    x = activations("float64")
    np.testing.assert_array_equal(evaluate(spec, 8 * x), 8 * evaluate(spec, x))


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec.record.scale == "none"], ids=str)
def test_what_is_declared_to_depend_on_scale_does(spec: MetricSpec):
    x = np.random.default_rng(0).uniform(0.05, 1, (5, 30))
    assert (np.abs(evaluate(spec, 3 * x) / evaluate(spec, x) - 1) > 1e-3).all()
    assert (np.abs(evaluate(spec, 3 * x) / evaluate(spec, x) - 3) > 1e-3).any()


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_signs_do_not_matter(spec: MetricSpec):
    x = activations()
    signs = np.random.default_rng(1).choice([-1, 1], x.shape).astype(x.dtype)
    np.testing.assert_array_equal(evaluate(spec, signs * x), evaluate(spec, x))


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_order_does_not_matter(spec: MetricSpec):
    x = activations("float64")
    shuffled = np.random.default_rng(2).permuted(x, axis=1)
    np.testing.assert_allclose(evaluate(spec, shuffled), evaluate(spec, x), rtol=FLOAT64, atol=FLOAT64_NEAR_ZERO)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40).filter(any),
    st.integers(-60, 60),
    st.sampled_from(INVARIANT),
)
def test_powers_of_two_change_no_bit_of_any_vector(values: list[float], exponent: int, spec: MetricSpec):
    x = np.array(values)
    np.testing.assert_array_equal(evaluate(spec, np.ldexp(x, exponent)), evaluate(spec, x))


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_a_batch_is_a_loop(spec: MetricSpec):
    x = activations().reshape(5, 8, 200)
    batch = evaluate(spec, x)
    assert batch.shape == (5, 8)
    for index in np.ndindex(5, 8):
        np.testing.assert_array_equal(batch[index], evaluate(spec, x[index]))


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_strides_and_write_protection_do_not_matter(spec: MetricSpec):
    x = activations()
    plain = evaluate(spec, x)
    locked = x.copy()
    locked.flags.writeable = False
    for view in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1][::-1], locked, x.astype(">f4")):
        np.testing.assert_array_equal(evaluate(spec, view), plain)
    np.testing.assert_array_equal(x, activations())


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_a_tensor_on_the_cpu_equals_the_array(spec: MetricSpec):
    for dtype in STORED:
        tensor = torch.from_numpy(activations("float64")).to(dtype).requires_grad_()
        values = evaluate(spec, tensor)
        assert isinstance(values, torch.Tensor)
        assert values.dtype == torch.float64
        wide = tensor.detach().double() if dtype == torch.float64 else tensor.detach().float()
        np.testing.assert_array_equal(values.numpy(), evaluate(spec, wide.numpy()))


def on_device_route(spec: MetricSpec, tensor: torch.Tensor) -> NDArray:
    """Force the route that accelerators take, on the CPU."""
    return evaluate_on_device(as_rows(tensor, spec.name), [spec.record.job(spec.keywords)])[0].numpy()


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_back_ends_agree(spec: MetricSpec):
    unbounded = not np.isfinite(np.subtract(*spec.record.bounds(200, spec.keywords)))
    step = declared_range(spec, 200) / 200 if spec in COUNTS else 0.0
    for dtype in STORED:
        tensor = torch.from_numpy(activations("float64")).to(dtype)
        numpy_values, torch_values = evaluate(spec, tensor).numpy(), on_device_route(spec, tensor)
        undefined = np.isnan(numpy_values)
        np.testing.assert_array_equal(np.isnan(torch_values), undefined)
        scale = np.abs(numpy_values) if unbounded else declared_range(spec, 200)
        distance = np.abs(torch_values - numpy_values)
        assert (undefined | (distance <= BACK_ENDS * scale + step)).all(), dtype


def test_the_device_route_keeps_shape_and_handles_nothing_and_extremes():
    spec = MetricSpec("gini")
    assert on_device_route(spec, torch.zeros(2, 0, 7)).shape == (2, 0)
    huge = torch.tensor([[3e38, 1e38, 0.0], [3e-41, 1e-41, 0.0], [torch.inf, 1.0, 1.0]])
    values = on_device_route(spec, huge)
    np.testing.assert_allclose(values[:2], evaluate(spec, huge.double().numpy())[:2], rtol=SUBNORMAL)
    assert np.isnan(values[2])
