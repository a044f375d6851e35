"""Episodes ask what their links answer, nothing else gives the answer away, and lessons point at the answers."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import InputError
from probes.lab.lexicon import FIRST_NAMES, LAST_NAMES, RELATIONS, SYMBOLS
from probes.lab.links.curriculum import (
    DRILLS,
    ENOUGH,
    MOST_FILLER,
    MOST_LINKS,
    STAGES,
    WINDOW,
    draw_drill,
    draw_lessons,
    draw_shape,
    learned,
)
from probes.lab.links.episodes import WORDS, Episode, Shape, draw_episode, draw_lesson
from probes.lab.links.solver import solve_links
from probes.lab.recipe import GRADED
from probes.lab.tokenizer import build_tokenizer
from tests.samples import of_share

seeds = st.integers(0, 2**32 - 1)
CHAINS = {(1, 2), (2, 2), (3, 2), (4, 2), (1, 3), (2, 3), (1, 4), (2, 4)}
shapes = st.builds(
    Shape, chains=st.integers(1, 8), links=st.integers(1, 3), before=st.integers(0, 5), after=st.integers(0, 5)
)


@given(seeds, shapes)
def test_an_independent_solver_finds_every_answer(seed, shape):
    episode = draw_episode(np.random.default_rng(seed), shape)
    questions = episode.questions(3)
    assert len(questions) == shape.chains * sum(min(3, shape.links - i) for i in range(shape.links))
    for question in questions:
        assert solve_links(episode.prompt(question)) == episode.answer(question)


@given(seeds, shapes)
def test_links_have_no_branches_and_symbols_stand_once_as_start_and_once_as_end(seed, shape):
    episode = draw_episode(np.random.default_rng(seed), shape)
    assert len(episode.links) == shape.pairs
    assert max(Counter(start for start, _ in episode.links).values()) == 1
    assert max(Counter(end for _, end in episode.links).values()) == 1
    assert all(start != end for start, end in episode.links)


@given(seeds, shapes)
def test_a_lesson_asks_every_question_once_and_points_at_the_answers(seed, shape):
    lesson = draw_lesson(np.random.default_rng(seed), shape, most_hops=2)
    words = re.findall(r"\w+|[,.]", lesson.text)
    assert [words[place] for place in lesson.answers] == [
        solve_links(" ".join(words[:place])) for place in lesson.answers
    ]
    asked = [" ".join(words[:place]).rsplit(". ", 1)[-1].removeprefix("so ").strip() for place in lesson.answers]
    assert len(set(asked)) == len(asked) == shape.chains * sum(min(2, shape.links - i) for i in range(shape.links))


def test_the_words_of_links_are_not_the_words_of_facts():
    facts = {*FIRST_NAMES, *LAST_NAMES, *(w for r in RELATIONS for w in (*r.phrase.split(), *r.tails))}
    assert len(set(WORDS)) == len(WORDS)
    assert not facts & set(WORDS)
    assert len(SYMBOLS) == 32
    tokenizer = build_tokenizer(WORDS)
    prompt = Episode((("alpha", "bravo"), ("kilo", "lima")), before=2, after=1).context
    assert len(tokenizer(prompt)["input_ids"]) == 1 + 2 + 6 + 1


def test_too_many_symbols_are_refused_in_one_line():
    with pytest.raises(InputError, match="17 chains of 1 links take 34"):
        draw_episode(np.random.default_rng(0), Shape(17, 1))


def test_the_curriculum_depends_on_seed_and_step_alone_and_stays_in_its_range():
    recipe = replace(GRADED, seed=3, lessons=2, practice=50)
    for step in (40, 140):
        assert draw_lessons(recipe, step, 100) == draw_lessons(recipe, step, 100) != draw_lessons(recipe, step + 1, 100)
    rng = np.random.default_rng(0)
    drawn = [draw_shape(rng, progress) for progress in np.linspace(0, 1, 2000)]
    assert {shape.pairs for shape in drawn if shape.links == 1} == set(range(2, 9))
    assert {(shape.chains, shape.links) for shape in drawn if shape.links > 1} == CHAINS
    assert max(shape.before for shape in drawn) == max(shape.after for shape in drawn) == MOST_FILLER
    assert [stage.begins for stage in STAGES] == sorted(stage.begins for stage in STAGES)


def test_practice_goes_from_two_links_in_a_row_to_more_and_longer_chains_and_keeps_single_links():
    rng = np.random.default_rng(0)
    early, late = ([draw_drill(rng, progress) for _ in range(1000)] for progress in (0.0, 1.0))
    for drawn in (early, late):
        assert {shape.pairs for shape in drawn if shape.links == 1} == set(range(2, 9))
        assert np.mean([shape.links == 1 for shape in drawn]) == pytest.approx(0.2, abs=of_share(0.2, 1000))
        assert max(shape.pairs for shape in drawn) == MOST_LINKS
    assert {(shape.chains, shape.links) for shape in early if shape.links > 1} == {(1, 2), (2, 2)}
    assert {(shape.chains, shape.links) for shape in late if shape.links > 1} == CHAINS - {(1, 4), (2, 4)}
    assert [drill.begins for drill in DRILLS] == sorted(drill.begins for drill in DRILLS)


def test_practice_ends_when_it_has_been_easy_for_a_while_at_the_last_drill():
    practice = 200
    easy = [ENOUGH / 2] * practice
    begun = int(DRILLS[-1].begins * practice)
    ends = next(n for n in range(practice) if learned(easy[:n], practice))
    assert ends == begun + WINDOW
    assert not learned([*easy[:-1], ENOUGH * WINDOW], practice), "one bad step"
    assert not learned([ENOUGH * 1.01] * practice, practice)
    assert not learned([], 0)
