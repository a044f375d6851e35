"""The finite-width constants of chance: against simulation, against closed forms, and as the average over rotations."""

from functools import cache
from math import exp, gamma, pi, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

import sparsity
from sparsity import MetricSpec, nulls
from sparsity.rotations import haar_rotation, rotation_test, rotation_tests
from tests.samples import ERRORS, of_mean, of_spread
from tests.sparsity.cases import ALL, INVARIANT
from tests.tolerances import FLOAT64

FAMILY = 4.5  # standard errors; one of some 150 comparisons is beyond them by chance in a thousandth of all draws

# What the 1,200 points of the trapezoid rule behind the participation ratio leave at d = 2 is 7e-9.
QUADRATURE = 2e-8
# Four standard errors of the widest of these means, the kurtosis of 2**19 numbers: 4 sqrt(24 / 2**19) / 3. At d = 16384
# less than that separates an expected value from its limit: 1 / sqrt(d) of it for hoyer, 1 / d for the others.
LIMIT = 0.009
# Rounding a Gaussian matrix of 64 x 64 to float32 turns its rotation by at most its condition number, below 1,000 for
# these draws, times sqrt(2) 2^-24. A vector moves by that of its length, its Hoyer by 8 / 7 of it, and so two means.
ROTATED = 2 * 8 / 7 * 1000 * sqrt(2) * 2**-24
EULER = 0.5772156649015329
# i.i.d. Gaussian coordinates as d grows without bound.
LIMITS = {
    "gini": sqrt(2) - 1,
    "hoyer": 1 - sqrt(2 / pi),
    "top_k_energy(0.1)": 0.4394,
    "effective_dimension_l2": exp(-(2 - EULER - np.log(2))),
    "effective_dimension_l1": sqrt(2 / pi) * exp(-(np.log(2) - EULER) / 2),
    "participation_ratio": 1 / 3,
    "treves_rolls": 1 - 2 / pi,
    "kurtosis": 3.0,
}


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_limits_for_gaussian_vectors(name: str, limit: float):
    x = np.random.default_rng(0).standard_normal((8, 1 << 16))
    assert sparsity.profile(x, [name])[name].mean() == pytest.approx(limit, rel=LIMIT)
    assert nulls.gaussian(name, 16384).mean == pytest.approx(limit, rel=LIMIT)


def test_the_printed_limits():
    rounded = [round(LIMITS[name], 4) for name in ("gini", "hoyer", "effective_dimension_l2", "effective_dimension_l1")]
    assert rounded == [0.4142, 0.2021, 0.4821, 0.7529]


@pytest.mark.parametrize("spec", INVARIANT, ids=str)
def test_means_and_spreads_agree_with_an_independent_simulation(spec: MetricSpec):
    for d in (2, 5, 64, 300):
        values = spec.record.function(7 * drawn(d), **spec.keywords)
        null = nulls.gaussian(spec, d)
        error = np.hypot(values.std() / sqrt(len(values)), null.mean_error) + FLOAT64
        assert abs(values.mean() - null.mean) < FAMILY * error, d
        assert null.sd == pytest.approx(
            values.std(), rel=sqrt(2) * of_spread(len(values), kurtosis_of(values)), abs=FLOAT64
        ), d


def test_the_spread_of_a_wide_vector_falls_with_the_root_of_its_width():
    spread = sparsity.gini(np.random.default_rng(1).standard_normal((1000, 4096), dtype=np.float32)).std()
    assert nulls.gaussian("gini", 4096).sd == pytest.approx(spread, rel=of_spread(1000))


def kurtosis_of(values: NDArray[np.float64]) -> float:
    """Kurtosis about the mean, which says how much a standard deviation varies; 3 where nothing varies."""
    apart = values - values.mean()
    return float((apart**4).mean() / (apart**2).mean() ** 2) if apart.std() > FLOAT64 else 3.0


@cache
def drawn(d: int) -> NDArray[np.float32]:
    return np.random.default_rng(d).standard_normal((4000, d), dtype=np.float32)


@pytest.mark.parametrize("d", [3, 64, 4096])
def test_hoyer_is_the_closed_form_on_the_sphere(d: int):
    from scipy.special import gammaln

    ratio = d * float(np.exp(gammaln(d / 2) - gammaln((d + 1) / 2))) / sqrt(pi)
    assert nulls.gaussian("hoyer", d).mean == pytest.approx((sqrt(d) - ratio) / (sqrt(d) - 1), rel=FLOAT64)
    assert d != 3 or ratio == pytest.approx(3 * gamma(1.5) / gamma(2) / sqrt(pi))


def test_two_dimensions_by_hand():
    """On the circle sum u^4 = 1 - sin(2t)^2 / 2, its inverse averages to sqrt 2; the Gini is (c - s) / (2 (c + s))."""
    t = (np.arange(200000) + 0.5) / 200000 * pi / 4
    gini = np.mean((np.cos(t) - np.sin(t)) / (np.cos(t) + np.sin(t)) / 2)
    assert nulls.gaussian("participation_ratio", 2).mean == pytest.approx(sqrt(2) / 2, rel=QUADRATURE)
    assert nulls.gaussian("gini", 2).mean == pytest.approx(gini, rel=QUADRATURE)


@pytest.mark.parametrize("name", ["gini", "hoyer", "participation_ratio", "top_k_energy(0.1)"])
def test_any_vector_averages_to_the_constant_over_rotations(name: str):
    rng = np.random.default_rng(0)
    one_hot = np.eye(24)[0]
    rotated = np.stack([one_hot @ haar_rotation(24, rng) for _ in range(400)])
    null = nulls.gaussian(name, 24)
    assert sparsity.profile(rotated, [name])[name].mean() == pytest.approx(null.mean, abs=of_mean(null.sd, 400))


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec.record.scale != "invariant"], ids=str)
def test_no_null_for_what_depends_on_scale(spec: MetricSpec):
    assert np.isnan(nulls.gaussian(spec, 64)).all()


def test_excess_is_signed_by_direction():
    x = np.random.default_rng(0).standard_t(2, (50, 256))
    flat = 1 + 0.1 * np.random.default_rng(0).standard_normal((50, 256))
    for name in ("gini", "participation_ratio", "effective_dimension_l1"):
        assert nulls.excess(sparsity.profile(x, [name])[name], name, 256).mean() > 0
        assert nulls.z_score(sparsity.profile(flat, [name])[name], name, 256).mean() < -3
    with pytest.raises(ValueError, match="has no direction"):
        nulls.excess(np.ones(2), "l2_norm", 8)
    with pytest.raises(ValueError, match="at least 2 coordinates, got d = 1"):
        nulls.gaussian("gini", 1)


def test_rotation_test_finds_a_basis_effect_and_only_that():
    rng = np.random.default_rng(0)
    dense, sparse = rng.standard_normal((2, 200, 32))
    sparse = sparse * (rng.random((200, 32)) < 0.3) + 1e-3
    aligned = rotation_test(dense, sparse, "gini", rotations=59, rng=rng)
    assert aligned.z > 5
    assert aligned.p == 1 / 60
    turn = haar_rotation(32, rng)
    turned = rotation_test(dense @ turn, sparse @ turn, "gini", rotations=59, rng=rng)
    assert abs(turned.z) < ERRORS
    assert turned.p > 1 / 60
    assert rotation_test(dense, sparse, "participation_ratio", rotations=20, rng=rng).change > 0


def test_rotations_in_float32_are_those_of_float64():
    rng = np.random.default_rng(3)
    first, *others = 3e4 * rng.standard_normal((3, 40, 64)) * np.exp(-np.arange(64) / 9)
    found = rotation_tests(first, others, "hoyer", rotations=12, rng=np.random.default_rng(4))
    again = np.random.default_rng(4)
    for at in range(12):
        turn = haar_rotation(64, again)
        reference, *means = (np.mean(sparsity.hoyer(x @ turn)) for x in (first, *others))
        for test, mean in zip(found, means, strict=True):
            assert test.rotated[at] == pytest.approx(mean - reference, abs=ROTATED)
    exact = [np.mean(sparsity.hoyer(x)) for x in (first, *others)]
    assert [test.change for test in found] == pytest.approx([mean - exact[0] for mean in exact[1:]], abs=FLOAT64)


def test_rotation_test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(25):
        first, second = rng.standard_normal((2, 15, 8))
        p.append(rotation_test(first, 3 * second, "hoyer", rotations=19, rng=rng).p)
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) < 0.35
