"""Bad and extreme input: a clear error, a NaN in its own slot, or the right number; never a wrong one."""

import numpy as np
import pytest
import torch

import sparsity
from sparsity import MetricSpec
from sparsity.kernels.arrays import as_rows
from tests.sparsity.cases import ALL, evaluate
from tests.tolerances import BACK_ENDS

pytestmark = pytest.mark.numeric

SPECS = pytest.mark.parametrize("spec", ALL, ids=str)


@SPECS
def test_one_bad_vector_leaves_the_others_alone(spec: MetricSpec):
    x = np.random.default_rng(0).standard_normal((5, 33))
    clean = evaluate(spec, x)
    x[1, 7], x[2, 0], x[4, 32] = np.nan, np.inf, -np.inf
    values = evaluate(spec, x)
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, False, True])
    np.testing.assert_array_equal(values[[0, 3]], clean[[0, 3]])


@SPECS
def test_a_zero_vector_gives_what_is_declared(spec: MetricSpec):
    value = evaluate(spec, np.zeros(12, np.float32))
    declared = spec.record.at_zero
    assert value == 12 if declared is None else np.array_equal(value, declared, equal_nan=True)


@SPECS
def test_an_empty_batch_is_an_empty_result(spec: MetricSpec):
    assert evaluate(spec, np.zeros((0, 9))).shape == (0,)
    assert evaluate(spec, np.zeros((3, 0, 9))).shape == (3, 0)
    assert evaluate(spec, torch.zeros(0, 9)).shape == (0,)


@SPECS
def test_too_few_coordinates(spec: MetricSpec):
    minimum = spec.record.min_width
    assert np.isfinite(evaluate(spec, np.array([3.0, 1.0])[: max(minimum, 1)]))
    with pytest.raises(ValueError, match=f"{spec.name} expects at least {minimum} coordinates"):
        evaluate(spec, np.ones((4, minimum - 1)))


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (np.float64(3.0), "got float64"),
        (np.array(3.0), "zero-dimensional"),
        (torch.tensor(3.0), "zero-dimensional"),
        (np.ones(4, bool), "got bool"),
        (np.ones(4, complex), "got complex128"),
        (np.array([1, "a"], object), "got object"),
        (np.array(["a", "b"]), "got <U1"),
        (torch.ones(4, dtype=torch.bool), "got torch.bool"),
        (torch.ones(4, dtype=torch.complex64), "got torch.complex64"),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "got a masked one"),
    ],
)
def test_what_is_not_a_batch_of_real_vectors_is_refused(x: object, what: str):
    for call in (sparsity.gini, lambda value: sparsity.profile(value, ["gini"])):
        with pytest.raises(ValueError, match=what) as caught:
            call(x)
        assert "gini" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("x", "what"), [([1.0, 2.0], "got list"), (None, "got NoneType")])
def test_what_is_not_an_array_is_refused(x: object, what: str):
    with pytest.raises(ValueError, match=f"gini expects a numpy array or a torch tensor, {what}"):
        as_rows(x, "gini")


def test_integers_are_numbers():
    counts = np.array([[0, 3, 1, 250]], np.uint8)
    assert sparsity.l2_norm(counts)[0] == pytest.approx(np.linalg.norm(counts.astype(float)))
    assert sparsity.gini(counts)[0] == sparsity.gini(counts.astype(np.float64))[0]
    assert sparsity.gini(torch.tensor([0, 3, 1, 250])) == sparsity.gini(counts)[0]


def test_half_precision_with_a_massive_activation_is_finite_and_right():
    x = np.random.default_rng(0).standard_normal((3, 4096))
    x[:, 17] = 900.0
    half = x.astype(np.float16)
    for name, values in sparsity.profile(half).items():
        np.testing.assert_allclose(values, sparsity.profile(half.astype(np.float64))[name], rtol=BACK_ENDS)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_near_overflow_and_subnormal(dtype: str):
    x = np.array([1.0, 0.5, 0.25, 0.0], dtype)
    top, bottom = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for scaled in (x * top, x * (bottom * 64)):
        for name, value in sparsity.profile(scaled, ["gini", "hoyer", "kurtosis", "effective_dimension_l2"]).items():
            assert value == pytest.approx(float(sparsity.profile(x, [name])[name]), rel=BACK_ENDS)
    assert sparsity.max_abs(x * top) == top
    assert sparsity.zero_fraction(x * (bottom * 4)) == 0.25
    assert sparsity.l1_norm(np.full(10, np.finfo(np.float64).max)) == np.inf


def test_long_double_and_numpy_scalars_come_back_as_float64():
    x = np.arange(5, dtype=np.longdouble)
    assert isinstance(sparsity.gini(x), np.float64)
    assert sparsity.gini(x) == sparsity.gini(x.astype(np.float64))


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("top_k_energy", {"fraction": 0.0}, r"fraction to be a number in \(0, 1\), got 0.0"),
        ("top_k_energy", {"fraction": float("nan")}, r"got nan"),
        ("top_k_energy", {}, "takes fraction, got none"),
        ("gini", {"eps": 1e-8}, "takes no parameters, got eps"),
        ("pq_index", {"p": 2, "q": 2}, r"p to be a number in \(0, 1\], got 2"),
        ("near_zero_fraction", {"threshold": 0.1, "relative_to": "mean"}, "'rms' or 'max', got 'mean'"),
    ],
)
def test_parameters_are_checked(name: str, arguments: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        getattr(sparsity, name)(np.ones(8), **arguments)


def test_parameters_go_by_name():
    with pytest.raises(ValueError, match="by name: fraction"):
        sparsity.top_k_energy(np.ones(8), 0.1)
