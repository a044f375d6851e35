"""Answers compared by their log-probability, against definitions computed one sequence at a time."""

import json
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import pytest
import torch

import sparsity
from probes.capture import collection, continuing, encode, read_batch
from probes.capture.choices import with_choices
from probes.errors import InputError
from probes.models.templates import PromptError
from probes.records import open_run
from probes.suites.example import Example
from probes.suites.question import Question
from probes.sweep.run import run_sweep
from probes.sweep.spec import parse_spec
from probes.vocabulary.outcomes import CHOICE_OUTCOMES
from probes.vocabulary.prompt import Choices, Prompt
from probes.vocabulary.sites import resolve_sites
from tests.tolerances import LOGITS, REBATCHED, TWO_ROUTES

QUESTIONS = [
    ("Once upon a time there was a little", ["girl named Lily", "boy", "tree in the park"], 0),
    ("She loved to play outside in the", ["park", "zebra fjord quantum"], 0),
    ("One day, a boy named", ["quantum", "Tim", "ball", "Lily"], 1),
    ("Tom had a", ["qq", "big red ball"], 0),
    ("He wanted to", ["go", "play with his toys and"], 1),
]


def log_p(model, ids, start):
    """Summed log-probability of ids[start:], from full logits in float64."""
    with torch.inference_mode():
        table = model.module(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(table[row - 1, ids[row]]) for row in range(start, len(ids)))


def by_hand(model, text, answers, right):
    """Margins in sum and per byte; answers are tokenised as running text goes on."""
    start = len(encode(model, text).ids)
    sums = [log_p(model, encode(model, text, target=answer).ids, start) for answer in answers]
    per_byte = [score / len(answer.encode()) for score, answer in zip(sums, answers, strict=True)]
    margins = [scores[right] - max(scores[:right] + scores[right + 1 :]) for scores in (sums, per_byte)]
    return {"": margins[0], "_per_byte": margins[1]}


def ask(model, prompts, names=CHOICE_OUTCOMES):
    sites = resolve_sites(model, ["final_norm"])
    metrics = sparsity.parse_metrics(["gini"])
    return read_batch(model, prompts, sites=sites, positions="last", metrics=metrics, outcomes=names)


def questions(model, *, target=True):
    prompts = []
    for text, answers, right in QUESTIONS:
        prompt = encode(model, text, target=answers[right] if target else None)
        prompts.append(with_choices(model, prompt, text, answers, right))
    return prompts


def test_margins_are_what_their_definitions_say(stories):
    found = ask(stories, questions(stories)).outcomes
    for index, question in enumerate(QUESTIONS):
        for how, margin in by_hand(stories, *question).items():
            assert found[f"choice_margin{how}"][index] == pytest.approx(margin, rel=LOGITS, abs=LOGITS)
            assert found[f"choice_correct{how}"][index] == float(margin > 0)
    assert set(found["choice_correct"]) == {0.0, 1.0}, "the sample must hold both"
    assert (found["choice_correct"] != found["choice_correct_per_byte"]).any(), "and the two must differ somewhere"
    assert np.isnan(found["choice_margin_by_letter"]).all(), "these prompts list no letters"


def test_answers_change_nothing_about_states_and_other_outcomes(stories):
    plain = [encode(stories, text, target=answers[right]) for text, answers, right in QUESTIONS]
    without, with_them = (ask(stories, prompts, ["nll", "choice_margin"]) for prompts in (plain, questions(stories)))
    np.testing.assert_array_equal(without.outcomes["nll"], with_them.outcomes["nll"])
    np.testing.assert_array_equal(without.readings[0].values, with_them.readings[0].values)
    assert np.isnan(without.outcomes["choice_margin"]).all()


def test_what_the_measured_pass_has_read_is_not_run_again(stories, monkeypatch):
    original = type(stories).run
    sequences = []

    def counted(self, batch, **more):
        sequences.append(len(batch.ids))
        return original(self, batch, **more)

    monkeypatch.setattr(type(stories), "run", counted)
    with_target = ask(stories, questions(stories), ["choice_margin"]).outcomes["choice_margin"]
    answers = sum(len(answers) for _, answers, _ in QUESTIONS)
    assert sum(sequences) <= len(QUESTIONS) + answers - len(QUESTIONS)
    alone = ask(stories, questions(stories, target=False), ["choice_margin"]).outcomes["choice_margin"]
    np.testing.assert_allclose(alone, with_target, rtol=LOGITS, atol=REBATCHED)


def long_questions(model, rng):
    """Questions behind a few dozen tokens, of different lengths, as token ids stand for them."""
    prompts = []
    for length in (20, 31, 12, 40):
        text = rng.integers(3, model.vocabulary, length).tolist()
        answers = [rng.integers(3, model.vocabulary, n).tolist() for n in (1, 3, 2)]
        texts = tuple(Prompt((*text, *own), 0, False, (), length) for own in answers)
        prompts.append(replace(texts[0], choices=Choices(right=0, texts=texts, n_bytes=(1, 3, 2), letters=())))
    return prompts


@pytest.mark.numeric
@pytest.mark.parametrize("family", ["llama", "gpt2", "stories"])
def test_other_answers_are_read_behind_the_prompt_and_score_the_same(family, request, monkeypatch):
    model = request.getfixturevalue(family)
    prompts = long_questions(model, np.random.default_rng(0))
    read = []
    watch = model.base.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel() if "input_ids" in given else 0), with_kwargs=True
    )
    request.addfinalizer(watch.remove)
    on = ask(model, prompts, ["choice_margin"])
    tokens, read[:] = sum(read), []
    monkeypatch.setattr(collection, "has_endings", lambda *_: False)
    anew = ask(model, prompts, ["choice_margin"])
    np.testing.assert_allclose(
        on.outcomes["choice_margin"], anew.outcomes["choice_margin"], rtol=LOGITS, atol=TWO_ROUTES
    )
    np.testing.assert_allclose(on.readings[0].values, anew.readings[0].values, rtol=REBATCHED)
    assert tokens < 0.6 * sum(read)


def test_a_model_whose_endings_are_not_those_of_the_whole_text_is_read_anew(llama, monkeypatch):
    original = continuing.read_endings
    monkeypatch.setattr(continuing, "_PROVED", WeakKeyDictionary())
    assert continuing.keeps(llama)
    monkeypatch.setattr(continuing, "_PROVED", WeakKeyDictionary())

    def one_position_late(model, output, endings):
        return original(model, output, [one._replace(shared=one.shared - 1) for one in endings])

    monkeypatch.setattr(continuing, "read_endings", one_position_late)
    assert not continuing.keeps(llama)


def test_letters_are_read_off_the_prompt_itself(stories, monkeypatch):
    text = "Lily saw a\nA. cat\nB. dog\nC. tree\nAnswer:"
    prompt = with_choices(stories, encode(stories, text, target="B"), text, ["cat", "dog", "tree"], 1, lettered=True)
    start = len(encode(stories, text).ids)
    scores = [log_p(stories, encode(stories, text, target=letter).ids, start) for letter in "ABC"]
    found = ask(stories, [prompt], ["choice_margin_by_letter", "choice_correct_by_letter"]).outcomes
    margin = scores[1] - max(scores[0], scores[2])
    assert found["choice_margin_by_letter"][0] == pytest.approx(margin, rel=LOGITS)
    assert found["choice_correct_by_letter"][0] == float(margin > 0)
    if all(len(own.ids) == start + 1 for own in prompt.choices.letters):
        original, runs = type(stories).run, []
        monkeypatch.setattr(type(stories), "run", lambda self, *a, **b: runs.append(1) or original(self, *a, **b))
        ask(stories, [prompt], ["choice_margin_by_letter"])
        assert len(runs) == 1, "letters of one token need no other sequence"


def test_a_minimal_pair_is_the_difference_of_two_sentences(stories):
    good, bad = "Lily loved to play with her toys.", "Lily loved to plays with her toy."
    pairs = [with_choices(stories, encode(stories, one), one, [good, bad], 0, whole=True) for one in (good, bad)]
    assert [own.ids for own in pairs[0].choices.texts] == [encode(stories, one).ids for one in (good, bad)]
    found = ask(stories, pairs, ["choice_margin", "choice_correct"]).outcomes
    difference = log_p(stories, encode(stories, good).ids, 1) - log_p(stories, encode(stories, bad).ids, 1)
    assert difference > 0
    np.testing.assert_allclose(found["choice_margin"], [difference] * 2, rtol=LOGITS)
    assert found["choice_correct"].tolist() == [1, 1]
    swapped = with_choices(stories, pairs[0], good, [bad, good], 0, whole=True)
    assert ask(stories, [swapped], ["choice_margin"]).outcomes["choice_margin"][0] == pytest.approx(
        -difference, rel=LOGITS
    )


def test_a_tie_is_not_correct_and_an_answer_without_tokens_is_an_error(stories):
    twice = with_choices(stories, encode(stories, "Tom had a"), "Tom had a", ["ball", "ball"], 0)
    found = ask(stories, [twice], ["choice_margin", "choice_correct"]).outcomes
    assert (found["choice_margin"][0], found["choice_correct"][0]) == (0, 0)
    with pytest.raises(PromptError, match="empty target"):
        with_choices(stories, encode(stories, "Tom "), "Tom ", ["ball", ""], 0)


def test_examples_say_which_choice_is_right():
    assert Example(text="a", choices=("b", "c"), right=1).content_hash() != Example(text="a").content_hash()
    for choices, right in ((("b", "c"), None), (("b", "c"), 2), ((), 0), (("b",), 0)):
        with pytest.raises(InputError, match="two choices or more and one is right"):
            Example(text="a", choices=choices, right=right)
    shown = Question(place="", wording="{q}\n{choices}\nAnswer:", slots={"q": "Q"}, choices=("x", "y"), right=1)
    assert (shown.example().choices, shown.example().right, shown.example().target) == (("x", "y"), 1, "B")
    pair = Question(place="", wording="{s}", slots={"s": "bad"}, pair=("good", "bad")).example()
    assert (pair.choices, pair.right, pair.whole, pair.target) == (("good", "bad"), 0, True, None)


def test_a_sweep_asks_for_choices_by_name(tmp_path, tiny_model):
    rows = [{"q": "the cat sat on the", "options": ["mat", "tree dog"], "answer": 0, "id": i} for i in range(3)]
    (tmp_path / "quiz.jsonl").write_text("\n".join(map(json.dumps, rows)))
    suite = {"file": "quiz.jsonl", "name": "quiz", "choices": "options", "answer": "answer", "id": "id"}
    content = {"models": [str(tiny_model)], "metrics": ["gini"], "sites": ["final_norm"]}
    content |= {"outcomes": ["nll", "choice_correct", "choice_margin", "choice_margin_by_letter"]}
    suites = [suite | {"prompt": "{q}"}, suite | {"name": "shown", "prompt": "{q} {choices} one"}]
    run_sweep(parse_spec(content | {"suites": suites}, folder=tmp_path), tmp_path / "out")
    run = open_run(tmp_path / "out")
    table = run.outcomes().merge(run.runs()[["run_id", "suite"]], on="run_id")
    values = pd.pivot_table(table, index="suite", columns="name", values="value", dropna=False)
    assert not values.drop(columns="choice_margin_by_letter").isna().any(axis=None)
    assert values["choice_margin_by_letter"].isna().to_dict() == {"quiz": True, "shown": False}
    with pytest.raises(InputError, match="did you mean 'choice_correct'"):
        parse_spec(content | {"suites": suites, "outcomes": ["choice_corect"]}, folder=tmp_path)
