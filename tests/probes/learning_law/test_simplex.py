"""The projection against a solver of quadratic programs, and what every projection is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import minimize

from probes.learning_law import simplex
from probes.learning_law.simplex import project

SOLVER = 1e-6  # SLSQP ends when the objective moves by less than its ftol, 1e-15 here, of which weights are the root
ROUNDING = 1e-12  # sums of at most 8 numbers of size 1,000
points = arrays(np.float64, array_shapes(min_dims=1, max_dims=2, max_side=8), elements=st.floats(-1e3, 1e3))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_quadratic_program_says(seed):
    rng = np.random.default_rng(seed)
    point = rng.normal(0, (0.1, 1.0)[seed % 2], rng.integers(1, 20))
    n = len(point)
    solved = minimize(
        lambda w: ((w - point) ** 2).sum(),
        np.full(n, 1 / n),
        jac=lambda w: 2 * (w - point),
        method="SLSQP",
        bounds=[(0, None)] * n,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda _w: np.ones(n)}],
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(project(point), solved.x, atol=SOLVER)


@given(points)
def test_it_is_on_the_simplex_once_and_for_all_and_keeps_the_order(point):
    found = project(point)
    scale = 1 + np.abs(point).max()
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=ROUNDING * scale)
    np.testing.assert_allclose(project(found), found, atol=ROUNDING * scale)
    order = np.argsort(point, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(found, order, -1), axis=-1) >= 0).all()


@given(arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)), st.permutations(range(6)), st.floats(-100, 100))
def test_it_knows_neither_names_nor_a_common_shift(point, order, shift):
    np.testing.assert_array_equal(project(point[list(order)]), project(point)[list(order)])
    np.testing.assert_allclose(project(point + shift), project(point), atol=ROUNDING * 2000)


def test_many_rows_are_projected_like_each_alone():
    points = np.random.default_rng(0).normal(0, 1, (3, 2 * simplex.AT_ONCE + 1, 5))
    alone = np.stack([[project(row) for row in part] for part in points])
    np.testing.assert_array_equal(project(points), alone)


def test_nothing_is_nearer_on_the_simplex():
    rng = np.random.default_rng(0)
    point = rng.normal(size=5)
    others = rng.dirichlet(np.ones(5), 2000)
    assert (((others - point) ** 2).sum(1) >= ((project(point) - point) ** 2).sum() - ROUNDING).all()
