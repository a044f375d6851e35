"""A small model that learns from a datastore: its lessons, its loss by hand, kills, folders and refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.corpus import Tokens, build_index
from probes.errors import InputError
from probes.familiarity import NGram
from probes.familiarity.texts import CausalLM
from probes.memory import lessons
from probes.memory.comparison.counting import CountMemory
from probes.memory.decoder import DecoderMemory, check_tokens
from probes.memory.distillation import distil, split_corpus, train_memories
from probes.memory.interpolation import encode_text, recall_texts
from probes.memory.knn import Votes, remember_corpus
from probes.memory.lessons import Plan, learn, windows_of
from probes.memory.opening import open_memory
from probes.memory.teacher import sparse, teach
from probes.models.loading import load_model
from tests.probes.memory.conftest import MINIATURE, TEXTS, make_model
from tests.tolerances import LOGITS, STORED

PLAN = Plan(
    alpha=0.5, n_steps=12, recipe=replace(MINIATURE, batch_size=2, learning_rate=1e-2, warmup_steps=2, d_model=16)
)


@pytest.fixture(scope="module")
def prompts(model):
    return {name: encode_text(model, text) for name, text in TEXTS.items()}


@pytest.fixture(scope="module")
def memory(model, prompts):
    return remember_corpus(model, prompts, k=5)


def test_every_token_of_every_document_is_predicted_once(prompts):
    found = windows_of(list(prompts.values()), 11, 2)
    n_keys = sum(len(prompt.ids) - 1 for prompt in prompts.values())
    there = found.following >= 0
    order = found.key[there].argsort()
    assert found.key[there][order].tolist() == list(range(n_keys))
    assert found.following[there][order].tolist() == [id_ for prompt in prompts.values() for id_ in prompt.ids[1:]]
    assert found.n_predicted == n_keys
    # what stands at a position is the token before the one that is predicted, or the BOS that a window repeats
    flat = [id_ for prompt in prompts.values() for id_ in prompt.ids[:-1]]
    shown = found.ids[there][order]
    assert shown.tolist() == flat


def test_a_teacher_adds_the_votes_of_one_token_up():
    votes = Votes(np.array([[0.0, 1.0, 2.0], [1.0, 1.0, np.inf]]), np.array([[7, 4, 7], [4, 9, -1]]))
    found = sparse(votes, 1.0)
    e = math.exp
    total = 1 + e(-1) + e(-2)
    assert found.offsets.tolist() == [0, 2, 4]
    assert found.tokens.tolist() == [4, 7, 4, 9]
    np.testing.assert_allclose(found.p, [e(-1) / total, (1 + e(-2)) / total, 0.5, 0.5], rtol=STORED)
    row, token, p = found.rows(np.array([1, 0]))
    assert (row.tolist(), token.tolist()) == ([0, 0, 1, 1], [4, 9, 4, 7])
    assert p[:2].tolist() == [0.5, 0.5]


def test_a_teacher_is_computed_in_parts_and_goes_on(prompts, memory, tmp_path, monkeypatch):
    from probes.memory import knn

    whole = teach(memory, list(prompts.values()), 2.0, tmp_path / "a")
    monkeypatch.setattr(knn, "TOKENS_AT_A_TIME", 60)
    teach(memory, list(prompts.values()), 2.0, tmp_path / "b")
    parts = sorted((tmp_path / "b").glob("*.npz"))
    assert len(parts) > 1
    parts[-1].unlink()
    again = teach(memory, list(prompts.values()), 2.0, tmp_path / "b")
    for one, other in zip((whole.offsets, whole.tokens, whole.p), (again.offsets, again.tokens, again.p), strict=True):
        assert np.array_equal(one, other)
    sums = np.add.reduceat(whole.p.astype(np.float64), whole.offsets[:-1])
    np.testing.assert_allclose(sums, 1, atol=STORED)
    with pytest.raises(InputError, match="another datastore"):
        teach(memory, list(prompts.values()), 3.0, tmp_path / "a")


def test_the_loss_is_divergence_and_cross_entropy_by_hand(prompts, memory, tmp_path):
    teacher = teach(memory, list(prompts.values()), memory.temperatures[4], tmp_path / "teacher")
    windows = windows_of([prompts["dog"]], 60, 2)
    keys = [len(prompts["cat"].ids) - 1 + n for n in range(len(prompts["dog"].ids) - 1)]
    own = windows._replace(key=torch.where(windows.key >= 0, windows.key + keys[0], -1))
    wide = make_model(1, replace(MINIATURE, context_length=60))
    kl, ce = lessons._losses(wide.module, own, teacher)
    with torch.inference_mode():
        log_q = wide.module(input_ids=torch.tensor([prompts["dog"].ids])).logits[0].log_softmax(-1).double().numpy()
    told = 0.0
    for at, key in enumerate(keys):
        _, token, p = teacher.rows(np.array([key]))
        told += sum(float(x) * (math.log(x) - log_q[at, t]) for t, x in zip(token, p, strict=True))
    assert kl.item() == pytest.approx(told / len(keys), rel=LOGITS)
    surprise = -np.mean([log_q[at, token] for at, token in enumerate(prompts["dog"].ids[1:])])
    assert ce.item() == pytest.approx(surprise, rel=LOGITS)


def test_it_learns_what_the_datastore_says_and_a_kill_changes_nothing(model, prompts, memory, tmp_path, monkeypatch):
    teacher = teach(memory, list(prompts.values()), memory.temperatures[4], tmp_path / "teacher")
    plan = replace(PLAN, alpha=1.0, n_steps=30)
    whole, lesson = distil(model, prompts, teacher, plan, tmp_path / "whole")
    assert np.mean(lesson.divergence[-5:]) < 0.8 * np.mean(lesson.divergence[:5])
    monkeypatch.setattr(lessons, "due", lambda _saved: True)

    def stop(done: int, _total: int) -> None:
        if done == 17:
            raise KeyboardInterrupt

    windows = windows_of(list(prompts.values()), plan.recipe.context_length, 2)
    from probes.memory.decoder import new_decoder

    with pytest.raises(KeyboardInterrupt):
        learn(new_decoder(model, plan.recipe).decoder.module, windows, teacher, plan, tmp_path / "part", stop)
    again, told = distil(model, prompts, teacher, plan, tmp_path / "part")
    assert told == lesson
    assert again.fingerprint == whole.fingerprint
    plain, _ = distil(model, prompts, None, replace(plan, alpha=0.0, n_steps=2), tmp_path / "plain")
    assert plain.fingerprint != whole.fingerprint


def test_a_decoder_recalls_what_its_own_model_predicts(model, prompts):
    decoder = make_model(5)
    memory = DecoderMemory(decoder)
    text = TEXTS["cat"] + TEXTS["sums"]  # longer than the context: read in windows
    (found,) = recall_texts(model, memory, [text], [1.0, 2.0])
    own = CausalLM(decoder, "add").predict(text)
    np.testing.assert_allclose(found.recall.log2_p[0], own.log2_p, rtol=LOGITS)
    with torch.inference_mode():
        logits = decoder.module(input_ids=torch.tensor([prompts["dog"].ids[:40]])).logits[0].double()
    (short,) = memory.recall([replace(prompts["dog"], ids=prompts["dog"].ids[:40])], [2.0])
    expected = (logits / 2).log_softmax(-1)[range(39), list(prompts["dog"].ids[1:40])] / math.log(2)
    np.testing.assert_allclose(short.log2_p[0, 1:], expected, rtol=LOGITS)


@pytest.mark.parametrize(("order", "unbounded"), [(1, False), (3, False), (2, True)])
def test_counts_are_memories_in_the_tokens_of_the_model(model, order, unbounded):
    index = build_index(TEXTS.values(), alphabet=Tokens(model.tokenizer))
    (found,) = recall_texts(model, CountMemory(index, order, unbounded), ["The log ate."], [1.0, 0.3])
    expected = NGram(index, order, unbounded, 0.3).predict("The log ate.")
    np.testing.assert_allclose(found.recall.log2_p[1], expected.log2_p)


def test_one_command_makes_both_memories_and_they_open_again(model, tmp_path):
    texts = [*TEXTS.values(), "The cat and the dog sat on 4 logs.", "", "2 cats + 2 dogs = 4"]
    made = train_memories(model, texts, tmp_path / "m", PLAN, k=4)
    again = open_memory(tmp_path / "m" / "decoder", model)
    assert again.memory.fingerprint == made.decoder.memory.fingerprint
    assert not (tmp_path / "m.unfinished").exists()
    held_out = split_corpus(model, texts)
    assert held_out.validation == [texts[-1]]
    assert made.n_keys == sum(len(prompt.ids) - 1 for prompt in held_out.documents.values())
    for tuned in (made.knn, made.decoder):
        assert tuned.beside(model).bits(texts[-1]) <= CausalLM(model, "add").bits(texts[-1]) + 1e-9
    with pytest.raises(InputError, match="is there already"):
        train_memories(model, texts, tmp_path / "m", PLAN)
    other = load_model(model.module, tokenizer=make_other_tokenizer())
    with pytest.raises(InputError, match="another tokenizer"):
        open_memory(tmp_path / "m" / "decoder", other)


def make_other_tokenizer():
    from probes.lab.text_training import build_text_tokenizer

    tokenizer = build_text_tokenizer(["x"], None)
    tokenizer.add_tokens(["nowhere"])
    return tokenizer


def test_what_cannot_be_a_memory_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="two documents or more"):
        train_memories(model, [" ", "one"], tmp_path / "m", PLAN)
    with pytest.raises(InputError, match="alpha"):
        train_memories(model, list(TEXTS.values()), tmp_path / "m", replace(PLAN, alpha=1.5))
    narrow = make_model(0, MINIATURE)
    wide = replace(narrow, vocabulary=300)
    with pytest.raises(InputError, match="vocabulary"):
        check_tokens(narrow, wide)
