import numpy as np
import pytest

from probes.capture import capture_states, encode
from probes.controls.member_states import TOKENS, read_states_of, selectors, tokens_kept, wanted_states
from probes.controls.reservoir import (
    LEAST_ITEMS,
    MOST_ITEMS,
    PER_GROUP,
    Member,
    draw,
    level_groups,
    reference_groups,
)
from probes.vocabulary.axes import Axis
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from tests.probes.conftest import load_model, tiny_llama
from tests.tolerances import NEAR_ZERO, REBATCHED

STEPS = Axis(name="steps", unit="steps", kind="difficulty", harder="higher")
DOMAIN = Axis(name="domain", unit="", kind="nominal", harder=None)


def members(n=200, *, shifted=True):
    return [
        Member(f"s:{i}", f"s/{'shifted' if shifted and i % 2 else 'in'}/{i % 3}", shifted and i % 2 == 1, float(i % 3))
        for i in range(n)
    ]


def test_every_group_gives_its_share_and_order_does_not_matter():
    rows = members(900)
    drawn = draw(rows, 3)
    assert drawn == draw(rows[::-1], 3)
    assert all(sum(one.group == group for one in drawn) == PER_GROUP for group in {one.group for one in rows})
    assert {one.example_id for one in drawn} != {one.example_id for one in draw(rows, 4)}


def test_many_groups_share_one_reservoir():
    rows = [Member(f"s:{i}", f"s/in/{i % 40}", False, np.nan) for i in range(4000)]
    drawn = draw(rows, 0)
    assert len(drawn) == 40 * (MOST_ITEMS // 40) <= MOST_ITEMS
    assert len({one.group for one in drawn}) == 40


def test_more_items_change_as_little_of_the_sample_as_can_be():
    before = {one.example_id for one in draw(members(900), 0)}
    after = {one.example_id for one in draw(members(1000), 0)}
    assert len(before & after) > 0.85 * len(before)


def test_the_reference_is_inside_or_easy_or_nothing():
    assert set(reference_groups(members(), STEPS)) == {"s/in/0", "s/in/1", "s/in/2"}
    assert reference_groups(members(shifted=False), STEPS) == ("s/in/0",)
    lower = Axis(name="exposure", unit="", kind="familiarity", harder="lower")
    assert reference_groups(members(shifted=False), lower) == ("s/in/2",)
    assert reference_groups(members(shifted=False), DOMAIN) == ()


@pytest.mark.parametrize(("n_items", "most"), [(10, 16), (1 << 20, 4), (1 << 30, 1)])
def test_tokens_of_mean_are_evenly_spaced_and_fewer_where_memory_is_short(n_items, most):
    (spaced,) = selectors(["mean"], tokens_kept(n_items, 256))
    picked = spaced.pick(Prompt(tuple(range(101)), 1, False, (0,) * 101, None))
    assert len(picked) == most
    assert picked[0] == 1
    assert most == 1 or picked[-1] == 100
    assert len(set(np.diff(picked))) <= 2


def test_samples_are_the_states_in_the_order_of_the_reservoir():
    model = load_model(tiny_llama())
    ids = [[5, 6, 7], [8, 9], [1, 2, 3, 4, 5], [3, 7] * 20]
    sites = resolve_sites(model, ["resid_post.1", "final_norm"])
    wanted = wanted_states(model, sites, ["last", "mean"], len(ids))
    with read_states_of(model, [encode(model, prompt) for prompt in ids], wanted) as found:
        for site in sites:
            last, mean = (found.sample(site, position) for position in ("last", "mean"))
            states = np.stack(list(capture_states(model, ids, str(site), "last").vector))
            np.testing.assert_allclose(last.vectors, states, rtol=REBATCHED, atol=NEAR_ZERO)
            assert mean.item.tolist() == [0] * 2 + [1] + [2] * 4 + [3] * TOKENS
            assert mean.token.tolist()[:8] == [1, 2, 1, 1, 2, 3, 4, 1]
            lengths = found.lengths(site)
            assert [len(own) for own in lengths] == [3, 2, 5, 40]
            ordinary = np.concatenate([own[1:] for own in lengths[:3]])
            np.testing.assert_allclose(ordinary, np.linalg.norm(mean.vectors[:7], axis=1), rtol=REBATCHED)
            every = np.stack(list(capture_states(model, ids, str(site), "mean").vector)).astype(np.float64)
            assert found.energy(site).n == len(every) == 1 + 2 + 4 + 39  # of all tokens, not of 16 an item
            total = np.square(every).sum(axis=0)
            np.testing.assert_allclose(found.energy(site).total, total, rtol=2 * REBATCHED)


@pytest.mark.parametrize(
    ("levels", "highs"),
    [
        (np.arange(200.0), (39.0, 79.0, 119.0, 159.0, 199.0)),  # quintiles
        (np.arange(30.0), (14.0, 29.0)),  # too few items for more than two
        (np.concatenate([np.zeros(90), np.arange(1.0, 31.0)]), (0.0, 30.0)),  # equal levels stay together
        (np.repeat(np.arange(8.0), 3), None),  # few levels are groups of their own
    ],
)
def test_a_continuous_axis_is_cut_into_a_few_ordered_groups(levels, highs):
    groups = level_groups(np.append(levels, np.nan))
    assert (groups and groups.highs) == highs
    if groups:
        of = np.array([groups.of(level) for level in levels])
        assert (np.diff(of[np.argsort(levels)]) >= 0).all()
        assert np.bincount(of).min() >= min(LEAST_ITEMS, len(levels) // 2)
        assert groups.of(np.nan) is None
