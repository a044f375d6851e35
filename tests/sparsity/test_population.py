"""Measures of sets: against scikit-dimension, against sets whose answer is known, and streamed against whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsity import neighbours
from sparsity.kernels.matrices import covariance_spectrum, finite_rows, singular_values
from sparsity.neighbours import two_nn
from sparsity.population import (
    POPULATION,
    activation_frequency,
    always_on_units,
    covariance_effective_rank,
    covariance_participation_ratio,
    dead_units,
    isoscore_star,
    lifetime_sparseness,
    massive_activations,
    mean_cosine,
    rankme,
    stable_rank,
)
from sparsity.streaming import CovarianceStatistics, UnitStatistics
from tests.golden.make_two_nn import draw
from tests.tolerances import FLOAT64, FLOAT64_SOLVED

# Eigenvalues of 20,000 draws vary by sqrt(2 / 20,000), which moves their participation, 3, by its square: 3e-4, of 5.
SECOND_ORDER = 4 * 3 * (2 / 20_000) / 5

pytestmark = pytest.mark.numeric

# Square roots of eigenvalues that are off by 2^-53 of the largest, and distances after a common offset of 3000: half
# the digits of float64 are lost, 1e-8, and sums of such numbers.
SPECTRUM = 1e-6
# Distances between vectors of size 1 that were rounded to float32: their logarithms, some 1e-3 apart, move by 1e-7.
ROUNDED = 1e-3

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "two_nn.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", GOLDEN["sets"], ids=lambda entry: f"{entry['kind']}-{entry['dimension']}")
def test_two_nn_agrees_with_scikit_dimension(entry: dict):
    known = dict(entry)
    value = known.pop("value")
    found = two_nn(draw(**known), discarded=0.1)
    assert found.value == pytest.approx(value, rel=SPECTRUM)
    assert found.n_used == entry["n"]
    assert found.n_duplicates == 0


@pytest.mark.parametrize("smallest", [1e-3, 1e-7, 0.0])
@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
def test_spectra_are_those_that_were_planted(smallest: float, shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0][:, :30] for size in shape)
    planted = np.concatenate([np.linspace(1000, 1, 20), np.full(10, smallest)])
    rows = (left * planted) @ right.T
    # by roots of eigenvalues 40 x 2^-53 / (2 x 1e-3 / 1000), by decomposition 40 x 2^-53 of the largest
    np.testing.assert_allclose(singular_values(rows), planted, rtol=0, atol=1000 * 40 * 2**-53 / 2e-6)
    shares = planted[planted > 0] / planted.sum()
    assert rankme(rows) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=SPECTRUM)
    values = np.linalg.eigvalsh(np.cov(rows.T))[::-1][:30]
    np.testing.assert_allclose(covariance_spectrum(rows), values, rtol=0, atol=40 * 2**-52 * values[0])
    assert rankme(rows * 1e-170) == pytest.approx(rankme(rows), rel=SPECTRUM)  # whose squares vanish
    assert rankme(rows * 1e170) == pytest.approx(rankme(rows), rel=SPECTRUM)


def test_distances_come_from_differences_in_every_block(monkeypatch: pytest.MonkeyPatch):
    x = draw("cube", 700, 8, 20, 5)
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1) + np.diag(np.full(700, np.inf))
    for rows in (1024, 128):
        monkeypatch.setattr(neighbours, "BLOCK_ROWS", rows)
        found = np.stack(neighbours.nearest_distances(x), axis=1)
        np.testing.assert_allclose(found, np.sort(apart, axis=1)[:, :2], rtol=FLOAT64)


def test_two_nn_is_safe_against_duplicates_and_a_common_offset():
    x = draw("cube", 700, 8, 20, 5)
    clean = two_nn(x, discarded=0.1)
    repeated = two_nn(np.concatenate([x, x[:210]]), discarded=0.1)
    assert repeated.value == pytest.approx(clean.value, rel=FLOAT64)
    assert (repeated.n_used, repeated.n_duplicates) == (700, 210)
    assert two_nn(x + 3000.0, discarded=0.1).value == pytest.approx(clean.value, rel=SPECTRUM)
    assert two_nn(x.astype(np.float32), discarded=0.1).value == pytest.approx(clean.value, rel=ROUNDED)
    with pytest.raises(ValueError, match="at least 3 distinct vectors, got 1"):
        two_nn(np.ones((9, 4)), discarded=0.1)
    with pytest.raises(ValueError, match=r"in \(0, 1\), got 1"):
        two_nn(x, discarded=1.0)


def test_two_nn_is_safe_against_vectors_that_differ_by_rounding():
    x = draw("cube", 300, 4, 10, 1)
    rounding = 2.0**-19 * np.random.default_rng(0).choice([-1.0, 1.0], (120, 10))
    repeated = np.concatenate([x, x[:60] * (1 + rounding[:60]), x[:60] * (1 + rounding[60:])])
    found = two_nn(repeated, discarded=0.1)
    assert (found.n_used, found.n_duplicates) == (300, 120)
    assert found.value == pytest.approx(two_nn(x, discarded=0.1).value, rel=ROUNDED)
    assert POPULATION["two_nn_dimension"].function(repeated) == found.value
    assert POPULATION["repeated_share"].function(repeated) == pytest.approx(120 / 420)
    assert POPULATION["repeated_share"].function(np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-20]])) == 0.5
    near = x[:1] * (1 + 2.0**-16)  # further apart than rounding
    assert two_nn(np.concatenate([x, near]), discarded=0.1).n_duplicates == 0


def test_ranks_of_sets_with_known_spectra():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    flat, line = q[:, :8], np.outer(rng.standard_normal(40), np.ones(8))
    assert rankme(flat) == pytest.approx(8)
    assert stable_rank(flat) == pytest.approx(8)
    assert rankme(line) == pytest.approx(1)
    assert stable_rank(line) == pytest.approx(1)
    assert covariance_participation_ratio(line) == pytest.approx(1)
    assert covariance_effective_rank(line) == pytest.approx(1)
    centred = np.linalg.qr(np.column_stack([np.ones(40), rng.standard_normal((40, 8))]))[0][:, 1:]
    assert covariance_participation_ratio(centred + 5) == pytest.approx(8)
    assert covariance_effective_rank(centred + 5) == pytest.approx(8)
    two_to_one = centred[:, :2] * np.sqrt([2.0, 1.0])
    assert covariance_participation_ratio(two_to_one) == pytest.approx(9 / 5)
    assert stable_rank(two_to_one) == pytest.approx(1.5)
    shares = np.array([2, 1]) / 3
    assert covariance_effective_rank(two_to_one) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_isotropy_at_both_ends():
    rng = np.random.default_rng(0)
    assert isoscore_star(rng.standard_normal((20000, 6))) > 0.99
    line = np.zeros((100, 6))
    line[:, 2] = rng.standard_normal(100)
    assert isoscore_star(line) == pytest.approx(0, abs=FLOAT64_SOLVED)
    half = np.zeros((20000, 6))
    half[:, :3] = rng.standard_normal((20000, 3))
    assert isoscore_star(half) == pytest.approx((6 * 0.5 - 1) / 5, abs=SECOND_ORDER)


def test_mean_cosine_is_the_mean_over_pairs():
    x = np.random.default_rng(0).standard_normal((30, 7)) + 0.5
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[~np.eye(30, dtype=bool)]
    assert mean_cosine(x) == pytest.approx(pairs.mean())
    assert mean_cosine(np.ones((3, 4))) == pytest.approx(1)
    assert np.isnan(mean_cosine(np.zeros((3, 4))))


def test_units():
    x = np.array([[0.0, 1.0, -2.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, -1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.1]])
    np.testing.assert_array_equal(activation_frequency(x, threshold=0.5), [0, 1, 0.25, 0.5])
    assert dead_units(x, threshold=0.5).tolist() == [0]
    assert always_on_units(x, threshold=0.5).tolist() == [1]
    np.testing.assert_allclose(lifetime_sparseness(x), [np.nan, 0, 0.75, 1 - (2.1 / 4) ** 2 / (2.01 / 4)])


def test_massive_activations_are_named_and_measured():
    x = np.random.default_rng(0).standard_normal((50, 64))
    x[3, 17], x[5, 40] = 5000.0, -900.0
    found = massive_activations(x, ratio=1000)
    assert [one.dimension for one in found] == [17, 40]
    assert found[0].peak == 5000
    assert found[0].over_median == pytest.approx(5000 / np.median(np.abs(x)))
    assert found[0].energy_share == pytest.approx(np.square(x[:, 17]).sum() / np.square(x).sum())


@pytest.mark.parametrize("name", POPULATION)
def test_every_population_measure_is_undefined_on_non_finite_sets_and_takes_tensors(name: str):
    measure = POPULATION[name].function
    x = np.random.default_rng(0).standard_normal((20, 5))
    assert measure(torch.from_numpy(x)) == measure(x)
    assert measure(7.5 * x) == pytest.approx(measure(x))
    x[3, 2] = np.nan
    assert np.isnan(measure(x))
    assert finite_rows(x).n_undefined == 1
    assert np.isfinite(measure(finite_rows(x).rows))
    with pytest.raises(ValueError, match=r"of shape \(n, d\), got shape"):
        measure(np.ones((2, 3, 4)))


def test_streams_equal_the_whole_in_any_order_and_grouping():
    x = np.random.default_rng(0).standard_normal((900, 12)) ** 3 + 100.0
    x[5, 3] = np.nan
    whole = finite_rows(x).rows
    parts = np.array_split(x, [1, 50, 50, 400])
    accumulators = [CovarianceStatistics(12) for _ in parts]
    units = [UnitStatistics(12, threshold=100.0) for _ in parts]
    for part, covariance, unit in zip(parts, accumulators, units, strict=True):
        covariance.update(part)
        unit.update(part)
    a, b, c, d, e = accumulators
    left, right = a.merge(b).merge(c).merge(d).merge(e), e.merge(d.merge(c)).merge(b.merge(a))
    for name in (
        "covariance_participation_ratio",
        "covariance_effective_rank",
        "rankme",
        "stable_rank",
        "isoscore_star",
    ):
        expected = POPULATION[name].function(whole)
        for merged in (left, right, CovarianceStatistics.from_state(left.state())):
            assert getattr(merged, name)() == pytest.approx(expected, rel=SPECTRUM), name
            assert (merged.n, merged.n_undefined) == (899, 1)
    merged = units[0].merge(units[1]).merge(units[3]).merge(units[2].merge(units[4]))
    restored = UnitStatistics.from_state(merged.state())
    for one in (merged, restored):
        np.testing.assert_array_equal(one.activation_frequency(), activation_frequency(whole, threshold=100.0))
        np.testing.assert_allclose(one.lifetime_sparseness(), lifetime_sparseness(whole), rtol=FLOAT64)
        np.testing.assert_allclose(one.energy_share(), np.square(whole).sum(0) / np.square(whole).sum())
        np.testing.assert_array_equal(one.peaks, np.abs(whole).max(0))
    restored.update(x[:10])
    assert restored.n == merged.n + 9
    assert np.isnan(UnitStatistics(3, threshold=0).activation_frequency()).all()
    with pytest.raises(ValueError, match="one width and one threshold"):
        merged.merge(UnitStatistics(12, threshold=1.0))
    with pytest.raises(ValueError, match="only at one width"):
        left.merge(CovarianceStatistics(3))


def test_use_of_units_and_repeats_on_sets_made_for_it():
    one_hot = np.eye(4)
    for name, value in {
        "mean_lifetime_sparseness": 3 / 4,  # each unit is driven by one of four inputs
        "mean_population_sparseness": 3 / 4,  # each input drives one of four units
        "dead_unit_share": 0,
        "always_on_unit_share": 0,
        "repeated_share": 0,
    }.items():
        assert POPULATION[name].function(one_hot) == pytest.approx(value), name
    lazy = np.array([[1.0, 0.0, 1e-3], [2.0, 0.0, -1e-3], [1.5, 0.0, 2.0], [1.5, 0.0, 2.0]])
    assert POPULATION["dead_unit_share"].function(lazy) == pytest.approx(1 / 3)
    assert POPULATION["always_on_unit_share"].function(lazy) == pytest.approx(1 / 3)
    assert POPULATION["repeated_share"].function(lazy) == pytest.approx(1 / 4)
    x = draw("cube", 300, 4, 10, 1)
    repeated = POPULATION["two_nn_dimension"].function(np.concatenate([x, x[:100]]))
    assert repeated == pytest.approx(two_nn(x, discarded=0.1).value, rel=FLOAT64)
    assert np.isnan(POPULATION["two_nn_dimension"].function(np.ones((9, 4))))
