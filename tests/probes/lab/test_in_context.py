"""The learner within its prompt: rows are what they say, and of the worlds only one has anything to choose by."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.curriculum.draws import draw
from probes.curriculum.spec import load_curriculum
from probes.errors import InputError
from probes.lab.in_context import ANSWERS, ITEMS, RULES, WORDS, draw_row, draw_world, train_learner, write_worlds
from tests.samples import of_share


@given(st.integers(0, 2**32 - 1))
def test_a_row_holds_items_with_one_of_four_answers_that_their_words_do_not_tell(seed):
    items = [item.split() for item in draw_row(np.random.default_rng(seed)).removesuffix(" .").split(" . ")]
    assert len(items) == ITEMS
    for *words, pointer, answer in items:
        assert pointer == ">"
        assert answer in ANSWERS
        assert len(set(words)) == len(words) == WORDS
        assert not set(words) & set(ANSWERS)


def test_rules_stay_as_often_as_they_should():
    rng, stays = np.random.default_rng(0), []
    for _ in range(500):
        answers = [item.split()[-1] for item in draw_row(rng).removesuffix(" .").split(" . ")]
        stays += [one == other for one, other in pairwise(answers)]
    expected = 0.8 + 0.2 / RULES  # a rule that is drawn anew may be the old one
    assert np.mean(stays) == pytest.approx(expected, abs=of_share(expected, len(stays)))


def test_difficulty_is_the_rule_in_the_planted_world_and_nothing_in_the_bare_one():
    for name, level_tells in (("planted", True), ("bare", False)):
        rows = draw_world(name, 400, np.random.default_rng(0))
        pool = [row for row in rows if row["kind"] == "pool"]
        rules = np.array([row["choices"].index(row["answer"]) for row in pool])
        levels = np.array([row["level"] for row in pool])
        assert ((rules == levels).all()) == level_tells
        asked = [row for row in rows if row["kind"] == "question"]
        assert {row["level"] for row in asked} == {2, 3}
        if not level_tells:
            share = 0.7 + 0.3 / RULES
            assert np.mean(rules == 1) == pytest.approx(share, abs=of_share(share, 400))
            assert {row["choices"].index(row["answer"]) for row in asked} == {1}
            assert np.mean(rules == levels) == pytest.approx(1 / RULES, abs=of_share(1 / RULES, 400))


def test_a_learner_is_a_model_that_its_specs_name(tmp_path):
    loss = train_learner(tmp_path / "learner", steps=3)
    assert loss > 1
    again = train_learner(tmp_path / "again", steps=3)
    assert again == loss
    specs = write_worlds(tmp_path, n=30)
    assert [path.name for path in specs] == ["planted.yaml", "bare.yaml"]
    found = draw(load_curriculum(specs[0]))
    assert (len(found.pools), found.n_questions) == (3, 30)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "learner")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "learner")
    text = json.loads((tmp_path / "planted-pool.jsonl").read_text().splitlines()[0])["text"]
    with torch.inference_mode():
        assert model(torch.tensor([tokenizer(text)["input_ids"]])).logits.shape[1] == WORDS + 2
    with pytest.raises(InputError, match="is there already"):
        train_learner(tmp_path / "learner")
