"""One pass and the single functions are the same computation."""

import numpy as np
import pytest

import sparsity
from sparsity.kernels import evaluation
from sparsity.kernels.columns import Columns, sums_of
from sparsity.kernels.vectors import Key, Vectors
from tests.sparsity.cases import ALL

pytestmark = pytest.mark.numeric


PRINTED = 0.5e-4  # the expected values have four digits


def test_profile_equals_the_single_functions_to_the_last_bit():
    x = np.random.default_rng(0).standard_normal((3, 700, 96), dtype=np.float32)
    together = sparsity.profile(x)
    assert list(together) == [str(spec) for spec in sparsity.DEFAULT_METRICS]
    for spec in sparsity.DEFAULT_METRICS:
        alone = spec.record.function(x, **spec.keywords)
        assert alone.shape == (3, 700)
        np.testing.assert_array_equal(together[str(spec)], alone)


def test_threads_change_no_bit():
    x = np.random.default_rng(1).standard_normal((3000, 256), dtype=np.float32)
    one, four = sparsity.profile(x, threads=1), sparsity.profile(x, threads=4)
    for name, values in one.items():
        np.testing.assert_array_equal(values, four[name])


def test_a_row_does_not_depend_on_its_neighbours():
    x = np.random.default_rng(2).standard_normal((1500, 200), dtype=np.float32)
    whole = sparsity.profile(x)
    for index in (0, 655, 1499):
        for name, value in sparsity.profile(x[index]).items():
            assert whole[name][index] == value


def test_the_order_in_which_sums_are_asked_for_changes_no_bit():
    """Float64 copies share one room, so each sum must find its own copy there whatever was asked before."""
    x = np.random.default_rng(5).standard_normal((9, 50), dtype=np.float32)
    asked: list[Key] = [
        ("sum", 1),
        ("sum", 2),
        ("sum", 4),
        ("log_sum", 1),
        ("log_sum", 2),
        ("rank_sum",),
        ("top_sum", 2, 0.1),
    ]
    alone = {key: getattr(Vectors(x), key[0])(*key[1:]) for key in asked}
    for order in (asked[turn:] + asked[:turn] for turn in range(len(asked))):
        for keys in (order, order[::-1]):
            together = Vectors(x)
            for name, *arguments in keys:
                np.testing.assert_array_equal(getattr(together, name)(*arguments), alone[name, *arguments])


def test_ranked_magnitudes_that_a_formula_holds_stay_as_they_are():
    """Logarithms take the room of ranked magnitudes, but only while sums alone are taken."""
    x = np.random.default_rng(8).standard_normal((9, 50), dtype=np.float32)
    keys: list[Key] = [("rank_sum",), ("sum", 1), ("typical_log_sum", 1)]
    for asked in ([], keys[:2], keys):
        block = Vectors(x)
        Columns(50, asked, 9).take(slice(None), block)
        held = block.ranked
        block.log_sum(2)
        np.testing.assert_array_equal(held, np.sort(np.abs(x), axis=1))


def test_a_later_call_changes_no_value_of_an_earlier_one():
    """The memory of intermediate blocks is kept between calls; values never lie in it."""
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((60, 33), dtype=np.float32), rng.standard_normal((5, 700))
    first = sparsity.profile(x)
    kept = {name: values.copy() for name, values in first.items()}
    sparsity.profile(y)
    again = sparsity.profile(x)
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)
        np.testing.assert_array_equal(again[name], values)


@pytest.mark.parametrize(("d", "expected"), [(64, 0.2274), (128, 0.2200)])
def test_finite_width_null_of_hoyer(d: int, expected: float):
    assert sparsity.nulls.gaussian("hoyer", d).mean == pytest.approx(expected, abs=PRINTED)


def test_default_measures_are_arithmetic_on_shared_sums_and_others_still_see_coordinates():
    """A default measure that looks at coordinates would be run block by block and cost a tenth more."""
    for spec in sparsity.DEFAULT_METRICS:
        job = spec.record.job(spec.keywords)
        assert sums_of(job.kernel, job.arguments), spec.name
    job = sparsity.MetricSpec.parse("zero_fraction").record.job({})
    assert sums_of(job.kernel, job.arguments) is None


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_blocks_change_no_bit_of_any_measure(spec: sparsity.MetricSpec, monkeypatch: pytest.MonkeyPatch):
    x = np.random.default_rng(4).standard_normal((37, 24), dtype=np.float32)
    x[3], x[20, 5], x[30] = 0, np.nan, x[30].round()
    whole = sparsity.profile(x, spec)
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 5 * 24)
    for threads in (1, 3):
        np.testing.assert_array_equal(sparsity.profile(x, spec, threads=threads)[str(spec)], whole[str(spec)])
