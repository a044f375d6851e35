"""kNN-LM against brute force in float64, its limits, its exclusions, and what it cannot be made of."""

import math

import numpy as np
import pytest
import torch

from probes.errors import InputError
from probes.familiarity import Mixture
from probes.familiarity.predictor import bits_per_byte
from probes.familiarity.texts import CausalLM
from probes.memory.interpolation import Interpolated, encode_text, recall_texts, tune
from probes.memory.knn import KnnMemory, Votes, remember_corpus
from probes.memory.opening import open_memory, save_memory
from probes.memory.overlap import sharing
from probes.memory.recall import Recall, Weight, best_share, fit_weight, mixed
from probes.memory.states import key_place, read_rows
from tests.probes.memory.conftest import TEXTS, make_model
from tests.tolerances import FLOAT64, LOGITS, NEAR_ZERO

# keys are float32 less their mean; distances of them are float64
DISTANCE = 1e-4
SUM_TO_ONE = 1e-12
LIMIT = 9e-12  # exp(-x) is less than x away from 1: the largest distance over the highest temperature, 9 / 1e12
NEXT = "The cat sat on the log; the dog ran off."


@pytest.fixture(scope="module")
def prompts(model):
    return {name: encode_text(model, text) for name, text in TEXTS.items()}


@pytest.fixture(scope="module")
def memory(model, prompts):
    return remember_corpus(model, prompts, k=7)


def test_keys_are_what_the_last_feed_forward_block_receives(model, prompts):
    prompt = prompts["dog"]
    seen = []
    layer = model.module.model.layers[-1]
    hook = layer.mlp.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.inference_mode():
        model.module(input_ids=torch.tensor([prompt.ids[:48]]))
    hook.remove()
    own = read_rows(model, key_place(model), [prompt])[0]
    assert own.shape == (len(prompt.ids), model.d_model)
    np.testing.assert_allclose(own[:48], seen[0][0].numpy(), rtol=LOGITS, atol=NEAR_ZERO)
    assert not layer.mlp.gate_proj._forward_pre_hooks
    assert str(next(iter(key_place(model, "resid_post.0").points))) == "resid_post.0"


def by_hand(model, prompts, text, k, temperature, without=None):
    """log2 p of each token of a text, with loops and float64."""
    place = key_place(model)
    keys, values = [], []
    for name, prompt in prompts.items():
        if name != without:
            rows = read_rows(model, place, [prompt])[0]
            keys += [row.astype(np.float64) for row in rows[:-1]]
            values += prompt.ids[1:]
    prompt = encode_text(model, text)
    found = []
    for state, token in zip(read_rows(model, place, [prompt])[0][:-1], prompt.ids[1:], strict=True):
        square = np.array([((key - state) ** 2).sum() for key in keys])
        order = np.argsort(square, kind="stable")[:k]
        weight = np.exp(-(square[order] - square[order].min()) / temperature)
        hit = weight[np.array(values)[order] == token].sum()
        found.append(math.log2(hit / weight.sum()) if hit else -math.inf)
    return np.array(found), np.sqrt(square.min())


def test_probabilities_are_those_of_brute_force(model, prompts, memory):
    (scale,) = memory.temperatures[4:5]
    (own,) = memory.recall([encode_text(model, NEXT)], [scale, 3 * scale])
    assert math.isnan(own.distance[0])
    for row, temperature in enumerate([scale, 3 * scale]):
        expected, nearest = by_hand(model, prompts, NEXT, 7, temperature)
        np.testing.assert_allclose(own.log2_p[row, 1:], expected, atol=DISTANCE)
        assert own.distance[-1] == pytest.approx(nearest, rel=DISTANCE)


def test_every_vote_adds_up_to_one_and_has_its_limits():
    votes = Votes(
        np.array([[0.0, 1.0, 1.0, 9.0], [1.0, 2.0, np.inf, np.inf]]), np.array([[3, 5, 5, 3], [1, 2, -1, -1]])
    )
    for temperature in (1e-3, 1.0, 1e6):
        assert np.exp(votes.log_weights(temperature)).sum(axis=1) == pytest.approx(1, abs=SUM_TO_ONE)
    # hot: the histogram of the neighbours there are; cold: the nearest alone
    np.testing.assert_allclose(np.exp(votes.log_weights(1e12)), [[0.25] * 4, [0.5, 0.5, 0, 0]], atol=LIMIT)
    np.testing.assert_allclose(np.exp(votes.log_weights(1e-3)), [[1, 0, 0, 0], [1, 0, 0, 0]], atol=LIMIT)


def test_one_neighbour_is_one_hot_and_dense_rows_agree_with_single_tokens(model, memory):
    prompt = encode_text(model, NEXT)
    states = read_rows(model, memory.place, [prompt])[0][:-1]
    one = KnnMemory(model, memory.site, memory.store, memory.values, 1)
    assert np.array_equal(np.sort(one.distribution(states, 1.0), axis=1)[:, -2:], [[0, 1]] * len(states))
    temperature = memory.temperatures[4]
    dense = memory.distribution(states, temperature)
    assert dense.sum(axis=1) == pytest.approx(1, abs=SUM_TO_ONE)
    (own,) = memory.recall([prompt], [temperature])
    picked = dense[np.arange(len(states)), prompt.ids[1:]]
    np.testing.assert_allclose(np.exp2(own.log2_p[0, 1:]), picked, atol=SUM_TO_ONE)


def test_a_planted_text_costs_nothing_until_its_document_is_left_out(model, prompts):
    memory = remember_corpus(model, {**prompts, "planted": encode_text(model, NEXT)}, k=7)
    prompt, cold = encode_text(model, NEXT), memory.temperatures[0] / 100
    (known,) = memory.recall([prompt], [cold])
    # two of four documents begin with T, and one of two goes on from "The cat sat on the " with l; all else is certain
    assert -known.log2_p[0, 1:].sum() == pytest.approx(2, abs=SUM_TO_ONE)
    scale = memory.temperatures[4]
    (again,) = memory.recall([prompt], [scale], without=["planted"])
    expected, _ = by_hand(model, prompts, NEXT, 7, scale)
    np.testing.assert_allclose(again.log2_p[0, 1:], expected, atol=DISTANCE)
    itself = memory.store.nearest(memory.store.keys + memory.store.mean, 1, itself=np.arange(len(memory.values)))
    assert (itself.key[:, 0] != np.arange(len(memory.values))).all()


def test_a_sweep_leaves_out_the_documents_that_a_text_is_taken_from(model, prompts):
    planted = {**prompts, "twin": encode_text(model, f"Said before. {NEXT}"), "again": encode_text(model, NEXT)}
    memory = remember_corpus(model, planted, k=3)
    asked = [encode_text(model, NEXT), encode_text(model, "A bird sings on the roof of a house."), prompts["sums"]]
    assert memory.sharing(asked) == [("twin", "again"), (), ("sums",)]
    beside = Interpolated(model, memory, Weight((0.9,)), 1e-3 * memory.temperatures[0])
    bits = [np.append(np.nan, np.full(len(prompt.ids) - 1, 8.0)) for prompt in asked]
    saved, *_ = beside.bits_saved(asked, bits)
    without = Interpolated(model, remember_corpus(model, prompts, k=3), beside.weight, beside.temperature)
    (expected,) = without.bits_saved(asked[:1], bits[:1])
    np.testing.assert_allclose(saved, expected, atol=DISTANCE)
    (known,) = memory.recall(asked[:1], [beside.temperature])
    assert np.nanmean(mixed(-bits[0], known.log2_p[0], np.full(len(saved), 0.9)) + bits[0]) > np.nanmean(saved) + 1


def test_runs_of_a_text_are_found_where_no_document_ends():
    rng = np.random.default_rng(0)
    corpus, document = rng.integers(0, 1000, 500), np.repeat(np.arange(5), 100)
    texts = [corpus[90:110], corpus[130:150], corpus[200:206], np.append(corpus[317:332], -1), corpus[:3]]
    # across two documents; inside one; a short text; a run one token too short; too short to say
    assert sharing(texts, corpus, document, vocabulary=1000) == [(), (1,), (2,), (), ()]


def test_the_whole_crowd_of_a_document_is_left_out_however_near_it_is():
    from probes.familiarity.datastore import Datastore

    rng = np.random.default_rng(0)
    near, far = rng.standard_normal((400, 4)), rng.standard_normal((60, 4)) + 50
    store = Datastore.build(np.concatenate([near, far]).astype(np.float32), ["own"] * 400 + ["other"] * 60)
    found = store.nearest(near[:9], 5, without=["own"] * 9)
    order = np.argsort(((near[:9, None] - far[None]) ** 2).sum(-1), axis=1)[:, :5]
    assert np.array_equal(found.key, 400 + order)


def test_the_interpolation_is_exact_at_its_ends_and_a_predictor_like_others(model, memory):
    texts = [NEXT, ""]
    base = CausalLM(model, "add").predict_all(texts)
    temperature = memory.temperatures[4]
    none, whole = (Interpolated(model, memory, Weight((share,)), temperature) for share in (0.0, 1.0))
    assert np.array_equal(none.predict_all(texts)[0].log2_p, base[0].log2_p)
    (recalled, _) = recall_texts(model, memory, texts, [temperature])
    assert np.array_equal(whole.predict(NEXT).log2_p, recalled.recall.log2_p[0])
    half = Interpolated(model, memory, Weight((0.5,)), temperature)
    mixture = Mixture([CausalLM(model, "add"), whole], [0.5, 0.5])
    assert half.bits(NEXT) == pytest.approx(mixture.bits(NEXT), rel=FLOAT64)
    assert bits_per_byte(half, NEXT) == half.bits(NEXT) / len(NEXT.encode())
    assert half.bits("") == 0


def test_the_share_is_that_of_the_memory():
    base, memory = np.log2([0.5, 0.2]), np.log2([0.1, 0.9])
    found = np.exp2(mixed(base, memory, np.array([0.25, 0.75])))
    assert found == pytest.approx([0.75 * 0.5 + 0.25 * 0.1, 0.25 * 0.2 + 0.75 * 0.9], rel=FLOAT64)


@pytest.mark.parametrize("seed", range(5))
def test_the_weight_is_the_best_of_all_and_never_worse_than_either_part(seed):
    rng = np.random.default_rng(seed)
    base, own = np.log2(rng.uniform(0.01, 1, (2, 50)))
    own[rng.random(50) < 0.3] = -np.inf
    share = best_share(base, own)
    bits = lambda s: -mixed(base, own, np.full(50, s)).sum()  # noqa: E731
    grid = [bits(s) for s in np.linspace(0, 1, 101)]
    assert bits(share) <= min(grid) + 1e-9
    distance = rng.random(50)
    fixed = fit_weight(base, Recall(own[None], distance), [1.0])
    near = fit_weight(base, Recall(own[None], distance), [1.0], by_distance=True)
    assert near.bits <= fixed.bits + 1e-9
    assert len(near.weight.shares) == 8


def test_a_memory_that_knows_everything_or_nothing_gets_all_or_nothing():
    base = np.log2(np.full(4, 0.5))
    assert best_share(base, np.zeros(4)) == 1.0
    assert best_share(base, np.full(4, -np.inf)) == 0.0
    assert best_share(base, base) == 0.0


def test_tuned_on_a_text_it_is_no_worse_there_than_the_model(model, memory):
    tuned = tune(model, memory, [NEXT])
    best = tuned.beside(model).bits(NEXT)
    assert best == pytest.approx(tuned.bits)
    assert best <= CausalLM(model, "add").bits(NEXT)


def test_saved_and_loaded_it_recalls_the_same(model, memory, tmp_path):
    tuned = tune(model, memory, [NEXT])
    save_memory(tuned, tmp_path / "knn")
    again = open_memory(tmp_path / "knn", model)
    assert again.memory.fingerprint == memory.fingerprint
    assert (again.weight, again.temperature) == (tuned.weight, tuned.temperature)
    assert again.beside(model).bits(NEXT) == tuned.beside(model).bits(NEXT)
    with pytest.raises(InputError, match="another model"):
        open_memory(tmp_path / "knn", make_model(seed=1))
    with pytest.raises(InputError, match="no memory"):
        open_memory(tmp_path, model)
    keys = np.load(tmp_path / "knn" / "keys.npy")
    keys[3, 1] = np.nan
    np.save(tmp_path / "knn" / "keys.npy", keys)
    with pytest.raises(InputError, match="keys that are not finite"):
        open_memory(tmp_path / "knn", model)
    (tmp_path / "knn" / "values.npy").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        open_memory(tmp_path / "knn", model)


def test_what_cannot_be_remembered_is_refused(model, prompts, memory):
    with pytest.raises(InputError, match="has 0 tokens"):
        remember_corpus(model, {})
    with pytest.raises(InputError, match=r"has \d+ tokens.*k = 500"):
        remember_corpus(model, {"cat": prompts["cat"]}, k=500)
    with pytest.raises(InputError, match="not finite"):
        memory.vote(np.full((1, model.d_model), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="nothing but the document"):
        remember_corpus(model, {"cat": prompts["cat"]}, k=3).recall([prompts["cat"]], [1.0], without=["cat"])
    with pytest.raises(InputError, match="positive"):
        Interpolated(model, memory, Weight((0.5,)), 0.0)
