"""The world is a complete factorial, its stream is exact, and neither can be got wrong quietly."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import InputError
from probes.lab.lexicon import FIRST_NAMES, LAST_NAMES, RELATIONS
from probes.lab.recipe import Recipe
from probes.lab.stream import count_presentations, draw_stream, split_batches
from probes.lab.world import Fact, World, build_world
from tests.samples import of_share


def reference_world(seed: int = 0) -> World:
    recipe = Recipe()
    return build_world(
        np.random.default_rng(seed), multiples=recipe.multiples, unit=recipe.unit, n_tails=recipe.n_tails
    )


seeds = st.integers(0, 2**32 - 1)
sizes = st.fixed_dictionaries(
    {
        "multiples": st.lists(st.integers(0, 5), min_size=2, max_size=6, unique=True),
        "unit": st.integers(1, 3),
        "n_tails": st.integers(1, 12),
    }
)


def test_the_reference_world_has_one_fact_in_every_cell_of_relation_tail_and_exposure():
    world = reference_world()
    levels = [0, *(Recipe().unit * 2**k for k in range(7))]
    cells = Counter((fact.relation, fact.tail, fact.exposure) for fact in world.facts)
    expected = {(relation.phrase, tail, level) for relation in RELATIONS for tail in relation.tails for level in levels}
    assert len(world.facts) == 2048
    assert set(cells) == expected
    assert set(cells.values()) == {1}


def test_no_name_relation_or_answer_predicts_the_level():
    world = reference_world()
    for part in (
        lambda fact: fact.entity,
        lambda fact: fact.entity.split()[0],
        lambda fact: fact.entity.split()[1],
        lambda fact: fact.relation,
        lambda fact: fact.tail,
    ):
        counts = Counter((part(fact), fact.exposure) for fact in world.facts)
        values = {part(fact) for fact in world.facts}
        assert len({counts[cell] for cell in product(values, world.levels)}) == 1


@settings(max_examples=60, deadline=None)
@given(seeds, sizes)
def test_every_world_crosses_its_factors_completely(seed, size):
    world = build_world(np.random.default_rng(seed), **size)
    levels = world.levels
    facts = world.facts
    assert len({(f.relation, f.tail, f.exposure) for f in facts}) == len(facts)
    assert len({(f.entity, f.relation) for f in facts}) == len(facts)
    assert len({(f.entity, f.exposure) for f in facts}) == len(facts)
    assert len(facts) == len(levels) ** 2 * len({f.tail for f in facts if f.relation == facts[0].relation})
    for names in zip(*(fact.entity.split() for fact in facts), strict=True):
        assert len(set(Counter(names).values())) == 1


@settings(max_examples=60, deadline=None)
@given(seeds, sizes, st.integers(1, 50))
def test_the_stream_presents_every_fact_exactly_as_often_as_the_world_says(seed, size, batch_size):
    rng = np.random.default_rng(seed)
    world = build_world(rng, **size)
    stream = draw_stream(world, rng)
    batches = list(split_batches(stream, batch_size))
    fed = Counter(int(i) for batch in batches for i in batch)
    assert all(fed[i] == fact.exposure for i, fact in enumerate(world.facts))
    assert sum(fed.values()) == sum(fact.exposure for fact in world.facts)
    assert np.array_equal(count_presentations(stream, len(world.facts)), world.exposures)
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_counting_notices_a_single_presentation_that_is_missing_or_doubled():
    world = reference_world()
    stream = draw_stream(world, np.random.default_rng(1))
    doubled = np.concatenate([stream, stream[:1]])
    for faulty in (stream[1:], doubled):
        assert not np.array_equal(count_presentations(faulty, len(world.facts)), world.exposures)


def test_a_stream_mixes_all_levels_from_beginning_to_end():
    world = reference_world()
    stream = draw_stream(world, np.random.default_rng(2))
    share = [np.mean(world.exposures[part] == max(world.levels)) for part in np.array_split(stream, 20)]
    assert np.allclose(share, 64 / 127, atol=of_share(64 / 127, len(stream) / 20))


def test_the_answer_cannot_be_told_from_the_name():
    """Guessing by what else is known of either name is right about as often as guessing among the relation's tails."""
    hits = total = 0
    for seed in range(4):
        world = reference_world(seed)
        for place in (0, 1):
            seen: dict[tuple[str, str], Counter[str]] = {}
            for fact in world.facts:
                name = fact.entity.split()[place]
                seen.setdefault((name, fact.relation), Counter())[fact.tail] += fact.exposure
            for fact in world.facts:
                if fact.exposure == 0:
                    guess = seen[fact.entity.split()[place], fact.relation].most_common(1)[0][0]
                    hits += guess == fact.tail
                    total += 1
    assert abs(hits / total - 1 / 32) < of_share(1 / 32, total)


def test_the_seed_decides_the_world():
    assert reference_world(3) == reference_world(3)
    assert reference_world(3) != reference_world(4)


def test_no_word_of_the_lexicon_has_two_roles():
    words = [*FIRST_NAMES, *LAST_NAMES, *(word for r in RELATIONS for word in (*r.phrase.split(), *r.tails))]
    assert len(words) == len(set(words))
    assert {len(relation.phrase.split()) for relation in RELATIONS} == {2}


def test_the_vocabulary_holds_every_word_once():
    world = World(facts=(Fact(entity="Ada Moreau", relation="lives in", tail="Oslo", exposure=1),))
    assert world.words == (".", "Ada", "Moreau", "Oslo", "in", "lives")


@pytest.mark.parametrize(
    ("multiples", "unit", "n_tails", "message"),
    [
        ((0,), 1, 2, "2 to 8 exposure levels"),
        (tuple(range(9)), 1, 2, "2 to 8 exposure levels"),
        ((0, 1, 1), 1, 2, "distinct"),
        ((0, -1), 1, 2, "not negative"),
        ((0, 1), 0, 2, "at least one presentation"),
        ((0, 1), 1, 33, "1 to 32 tails"),
        ((0, 1), 1, 0, "1 to 32 tails"),
    ],
)
def test_an_impossible_world_is_refused_in_one_line(multiples, unit, n_tails, message):
    with pytest.raises(InputError, match=message) as caught:
        build_world(np.random.default_rng(0), multiples=multiples, unit=unit, n_tails=n_tails)
    assert "\n" not in str(caught.value)
