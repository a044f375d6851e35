import numpy as np
import pytest

from probes.controls.substitution import exchanged, leading, substitute
from sparsity.locate import substitution_shares
from tests.samples import ERRORS, of_mean
from tests.tolerances import FLOAT64_SOLVED


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_shares_of_one_pair_are_those_of_the_general_method(rng):
    one, other = rng.standard_normal((1, 9)), rng.standard_normal((1, 9)) * np.linspace(0.1, 4, 9)
    general = substitution_shares(one, other, "hoyer", permutations=0, rng=rng)
    gained, lost = exchanged(one, other)
    np.testing.assert_allclose(gained[0] / general.change, general.forward, rtol=FLOAT64_SOLVED)
    np.testing.assert_allclose(lost[0] / general.change, general.backward, rtol=FLOAT64_SOLVED)
    assert (leading(one, other, general.order) / general.change)[0, -1] == pytest.approx(1.0)
    assert np.isnan(general.k50)  # one item has no half to rank on


@pytest.mark.parametrize("tokens", [1, 3])
def test_the_closed_form_and_the_general_method_are_one_definition(rng, tokens):
    reference, group = rng.standard_normal((2, 30 * tokens, 12))
    group *= np.linspace(0.5, 5, 12) ** rng.standard_normal(12)
    items = np.repeat(np.arange(30), tokens)
    found = substitute(reference, group, items, items, np.random.default_rng(3))
    general = substitution_shares(
        *(reference, group, "hoyer"),
        permutations=0,
        rng=np.random.default_rng(3),
        reference_item=items,
        shifted_item=items,
    )
    assert found.change.value == pytest.approx(general.change)
    assert found.k50.value == general.k50
    np.testing.assert_allclose(found.forward.value, general.forward, rtol=FLOAT64_SOLVED)
    np.testing.assert_allclose(found.backward.value, general.backward, rtol=FLOAT64_SOLVED)
    np.testing.assert_array_equal(found.order, general.order)


def test_k50_of_noise_has_no_advantage_from_selection(rng):
    # every coordinate carries alike: whichever half ranks them, half of the change takes half of them on the other;
    # ranked on the half they are measured on, six of the sixteen would do
    found = []
    for _ in range(20):
        reference, group = rng.standard_normal((2, 300, 16))
        group *= 1 + 0.5 * rng.standard_normal((300, 16))
        found.append(substitution_shares(reference, group, "hoyer", permutations=0, rng=rng).k50)
    assert np.mean(found) == pytest.approx(8.5, abs=of_mean(np.std(found), 20))  # the eighth or the ninth, as likely
    assert of_mean(np.std(found), 20) < 1


def planted(rng, carriers, n=60, d=24, tokens=3, size=6.0, *, denser=False):
    reference, group = rng.standard_normal((2, n * tokens, d))
    (reference if denser else group)[:, carriers] *= size
    items = np.repeat(np.arange(n), tokens)
    return substitute(reference, group, items, items + n, rng)


@pytest.mark.parametrize("denser", [False, True])
def test_one_planted_coordinate_carries_the_change(rng, denser):
    found = planted(rng, [7], denser=denser)
    assert found.order[0] == 7
    assert found.k50 == (1, 1, 1)
    assert found.change.high < 0 if denser else found.change.low > 0
    assert found.forward.value[7] > 0.8
    assert (np.abs(found.forward.value) < ERRORS / 3.92 * (found.forward.high - found.forward.low))[
        np.arange(24) != 7
    ].all()
    assert found.forward.low[7] < found.forward.value[7] < found.forward.high[7]


def test_of_a_change_that_does_not_differ_from_zero_no_share_is_defined(rng):
    reference, group = rng.standard_normal((2, 40, 24))
    found = substitute(reference, group, np.arange(40), np.arange(40, 80), rng)
    assert found.change.low < 0 < found.change.high
    for shares in (found.forward, found.backward, found.curve, found.k50):
        assert np.isnan(shares.value).all()
        assert np.isnan(shares.low).all()
    assert sorted(found.order) == list(range(24))


def test_many_planted_coordinates_need_many(rng):
    found = planted(rng, list(range(0, 24, 4)), size=4.0)
    assert found.k50.value > 2
    assert set(found.order[:6]) == set(range(0, 24, 4))
    assert found.curve.value[-1] == pytest.approx(1.0)


def test_ranking_and_measuring_on_other_items_does_not_make_a_curve_of_noise(rng):
    # nothing is planted: coordinates that lead on one half carry nothing in particular on the other
    reference, group = rng.standard_normal((2, 400, 64))
    group *= 1 + 0.5 * rng.standard_normal((400, 64))  # every coordinate alike makes the group sparser
    items = np.arange(400)
    found = substitute(reference, group, items, items, rng)
    assert found.change.low > 0
    # the interval is 3.92 standard errors long; chosen on the items that they are measured on, 24 would do
    assert found.k50.value == pytest.approx(32, abs=ERRORS / 3.92 * (found.k50.high - found.k50.low))
    assert found.k50.low > 24
    assert found.curve.value[5] < 0.25


def test_the_interval_knows_that_tokens_of_one_text_are_not_independent(rng):
    base = rng.standard_normal((20, 16))
    repeated = np.repeat(base, 16, axis=0)
    reference = rng.standard_normal((320, 16))
    items = np.arange(320)
    wide = substitute(reference, repeated, items, np.repeat(np.arange(20), 16), np.random.default_rng(1)).change
    narrow = substitute(reference, repeated, items, items, np.random.default_rng(1)).change
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_group_of_one_item_has_no_halves_and_no_numbers(rng):
    x = rng.standard_normal((4, 8))
    found = substitute(x, x, np.arange(4), np.zeros(4, dtype=np.int64), rng)
    assert np.isnan(found.k50.value)
    assert np.isnan(found.forward.value).all()


def test_the_same_seed_gives_the_same_bytes():
    first, second = (planted(np.random.default_rng(5), [1]) for _ in range(2))
    assert first.curve.low.tobytes() == second.curve.low.tobytes()
