"""The guards are awake: each classic slip, planted in a copy of a measure, is caught by the check meant for it."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import sparsity
from sparsity import Axiom, MetricSpec
from tests.reference.vector_measures import REFERENCES
from tests.sparsity.axioms import draw_moves, responses
from tests.tolerances import FLOAT64

Vectors = NDArray[np.float64]
X = np.random.default_rng(0).standard_normal((20, 96))


def hoyer_without_square_root(x: Vectors) -> Vectors:
    d = x.shape[-1]
    return (np.sqrt(d) - np.abs(x).sum(-1) / np.square(x).sum(-1)) / (np.sqrt(d) - 1)


def hoyer_with_epsilon(x: Vectors) -> Vectors:
    d = x.shape[-1]
    return (np.sqrt(d) - np.abs(x).sum(-1) / (np.linalg.norm(x, axis=-1) + 1e-8)) / (np.sqrt(d) - 1)


def top_k_energy_rounded_down(x: Vectors) -> Vectors:
    energy = np.sort(np.square(x), axis=-1)
    return energy[..., -max(1, int(0.1 * x.shape[-1])) :].sum(-1) / energy.sum(-1)


def gini_with_sample_correction(x: Vectors) -> Vectors:
    d = x.shape[-1]
    return sparsity.gini(x) * d / (d - 1)


def gini_that_keeps_the_axis(x: Vectors) -> Vectors:
    return sparsity.gini(x)[..., None]


def participation_ratio_of_magnitudes(x: Vectors) -> Vectors:
    return sparsity.participation_ratio(np.sqrt(np.abs(x)))


def gini_of_signed_values(x: Vectors) -> Vectors:
    ordered, d = np.sort(x, axis=-1), x.shape[-1]
    return (ordered @ (2 * np.arange(1, d + 1) - d - 1)) / (d * np.abs(x).sum(-1))


def zero_for_the_undefined(x: Vectors) -> Vectors:
    return np.nan_to_num(sparsity.gini(x))


def is_scale_free(measure: Callable[[Vectors], Vectors]) -> bool:
    return all(np.array_equal(measure(np.ldexp(X, k)), measure(X)) for k in (-30, 3, 40))


def clones_alike(measure: Callable[[Vectors], Vectors]) -> bool:
    (move,) = draw_moves(Axiom.CLONING, np.random.default_rng(0), 200, 15)
    return set(responses(Axiom.CLONING, measure(move.before), measure(move.after))) == {"demanded"}


def has_the_shape(measure: Callable[[Vectors], Vectors]) -> bool:
    return measure(X).shape == X.shape[:-1]


def ignores_signs(measure: Callable[[Vectors], Vectors]) -> bool:
    return np.array_equal(measure(np.abs(X)), measure(X))


def says_nan(measure: Callable[[Vectors], Vectors]) -> bool:
    return bool(np.isnan(measure(np.zeros((1, 5)))).all())


def equals_the_reference(name: str, *arguments: float) -> Callable[[Callable[[Vectors], Vectors]], bool]:
    spec = MetricSpec(name, arguments)
    expected = [REFERENCES[name](row.tolist(), **spec.keywords) for row in X]
    return lambda measure: np.allclose(measure(X), expected, rtol=FLOAT64)


FAULTS = [
    (hoyer_without_square_root, is_scale_free),
    (hoyer_without_square_root, equals_the_reference("hoyer")),
    (hoyer_with_epsilon, is_scale_free),
    (top_k_energy_rounded_down, clones_alike),
    (top_k_energy_rounded_down, equals_the_reference("top_k_energy", 0.1)),
    (gini_with_sample_correction, clones_alike),
    (gini_with_sample_correction, equals_the_reference("gini")),
    (gini_that_keeps_the_axis, has_the_shape),
    (participation_ratio_of_magnitudes, equals_the_reference("participation_ratio")),
    (gini_of_signed_values, ignores_signs),
    (zero_for_the_undefined, says_nan),
]


@pytest.mark.parametrize(("fault", "guard"), FAULTS, ids=lambda one: getattr(one, "__name__", "reference"))
def test_a_planted_fault_is_caught(fault: Callable[[Vectors], Vectors], guard: Callable[[Callable], bool]):
    assert not guard(fault)


@pytest.mark.parametrize("guard", [is_scale_free, clones_alike, has_the_shape, ignores_signs, says_nan])
def test_the_guards_let_the_right_measure_pass(guard: Callable[[Callable], bool]):
    assert guard(sparsity.gini)


def test_a_mislabelled_carrier_is_caught():
    """Participation ratio claimed to satisfy Robin Hood on |x|: the moves refute it, and confirm it on x^2."""
    (move,) = draw_moves(Axiom.ROBIN_HOOD, np.random.default_rng(0), 500, 9)
    of_magnitude = responses(
        Axiom.ROBIN_HOOD, -sparsity.participation_ratio(move.before), -sparsity.participation_ratio(move.after)
    )
    roots = np.sqrt(move.before), np.sqrt(move.after)
    of_energy = responses(Axiom.ROBIN_HOOD, *(-sparsity.participation_ratio(one) for one in roots))
    assert "against" in of_magnitude
    assert set(of_energy) == {"demanded"}
