import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

import sparsity
from probes.capture import encode, read_batch
from probes.capture import logits as logits_module
from probes.capture import outcome_reading as outcomes_module
from probes.errors import InputError
from probes.models import load_model
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from tests.probes.conftest import tiny_llama
from tests.tolerances import LOGITS, NEAR_ZERO, REBATCHED, STORED

NAMES = ["nll", "correct", "margin", "next_token_entropy", "mean_next_token_entropy"]


def ask(model, prompts, names=NAMES):
    sites = resolve_sites(model, ["final_norm"])
    metrics = sparsity.parse_metrics(["gini"])
    return read_batch(model, prompts, sites=sites, positions="last", metrics=metrics, outcomes=names).outcomes


def by_hand(model, prompt):
    """The definitions, one prompt at a time, from full logits in float64."""
    with torch.inference_mode():
        logits = model.module(input_ids=torch.tensor([prompt.ids])).logits[0].double()
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    rows = list(range(prompt.end - 1, len(prompt.ids) - 1))
    own = [logits[row, prompt.ids[row + 1]] for row in rows]
    best_other = [max(v for k, v in enumerate(logits[row].tolist()) if k != prompt.ids[row + 1]) for row in rows]
    leads = [float(a) - b for a, b in zip(own, best_other, strict=True)]
    return {
        "nll": float(np.mean([-log_p[row, prompt.ids[row + 1]] for row in rows])),
        "correct": float(all(int(logits[row].argmax()) == prompt.ids[row + 1] for row in rows)),
        "margin": min(leads),
        "next_token_entropy": float(entropy[prompt.end - 1]),
        "mean_next_token_entropy": float(entropy[list(prompt.content)].mean()),
        "mean_nll": float(-np.mean([log_p[token - 1, prompt.ids[token]] for token in prompt.text if token])),
    }


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_outcomes_of_a_random_model_are_what_their_definitions_say(name, request):
    """Needs nothing but the product: every row is checked against full logits, by another formula."""
    model = request.getfixturevalue(name)
    rng = np.random.default_rng(5)
    ids = [rng.integers(1, 99, size).tolist() for size in (9, 4, 12)]
    asked = [Prompt(tuple(own), 0, False, (-1,) * len(own), end) for own, end in zip(ids, (6, 3, 7), strict=True)]
    asked.append(Prompt(tuple(ids[2]), 1, False, (-1,) * 12, 10, span=(4, 8)))
    found = ask(model, asked, [*NAMES, "mean_nll"])
    for index, prompt in enumerate(asked):
        for outcome, value in by_hand(model, prompt).items():
            assert found[outcome][index] == pytest.approx(value, rel=LOGITS, abs=REBATCHED), outcome


@pytest.fixture
def questions(stories):
    pairs = [
        ("Once upon a time, there was a", "little"),
        ("Once upon a time", "there was a little girl named Lily"),
        ("She loved to play outside in the", "park."),
        ("Zebra quantum", "fjord"),
        ("One day, a boy named", "Tim"),
    ]
    return [encode(stories, text, target=target) for text, target in pairs]


def test_outcomes_are_what_their_definitions_say(stories, questions):
    found = ask(stories, questions, [*NAMES, "mean_nll"])
    for index, prompt in enumerate(questions):
        for name, value in by_hand(stories, prompt).items():
            assert found[name][index] == pytest.approx(value, rel=LOGITS, abs=REBATCHED), name
    assert set(found["correct"]) == {0.0, 1.0}, "the sample must hold both"
    assert ((found["margin"] > 0) == (found["correct"] == 1)).all()


def test_chunks_of_logits_change_nothing(stories, questions, monkeypatch):
    whole = ask(stories, questions)
    seen = []
    original = type(stories).logits

    def counted(self, output, rows):
        seen.append(len(rows))
        return original(self, output, rows)

    monkeypatch.setattr(type(stories), "logits", counted)
    monkeypatch.setattr(logits_module, "LOGITS_AT_A_TIME", stories.vocabulary * 3)
    parts = ask(stories, questions)
    assert max(seen) == 3
    for name in NAMES:
        np.testing.assert_allclose(parts[name], whole[name], rtol=REBATCHED, atol=NEAR_ZERO)


def test_without_a_target_what_is_about_the_target_is_nan(stories):
    found = ask(stories, [encode(stories, "Once upon a time")])
    assert [name for name in NAMES if np.isnan(found[name][0])] == ["nll", "correct", "margin"]


def test_a_model_that_is_sure_of_nothing_has_the_entropy_of_its_vocabulary():
    module = tiny_llama()
    with torch.no_grad():
        module.lm_head.weight.zero_()
    model = load_model(module)
    found = ask(model, [encode(model, [3, 4, 5])])
    assert found["next_token_entropy"][0] == pytest.approx(np.log(99), rel=STORED)


def test_nan_logits_are_nan_outcomes_of_that_prompt_alone(prompts):
    module = tiny_llama()
    clean = ask(load_model(module), [encode(load_model(module), ids) for ids in prompts])
    with torch.no_grad():
        module.model.embed_tokens.weight[prompts[3][4]] = torch.nan
    model = load_model(module)
    dirty = ask(model, [encode(model, ids) for ids in prompts])
    for name in NAMES[3:]:
        assert np.isnan(dirty[name][3])
        others = np.arange(len(prompts)) != 3
        np.testing.assert_array_equal(dirty[name][others], clean[name][others])


def test_a_model_that_predicts_no_next_token_has_no_outcomes():
    config = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    model = load_model(BertModel(config))
    prompt = encode(model, [1, 2, 3])
    with pytest.raises(InputError, match="no next-token head"):
        outcomes_module.read_outcomes(model, None, [prompt], ["nll"])


def test_an_unknown_outcome_suggests_the_nearest(stories, questions):
    with pytest.raises(sparsity.UnknownNameError, match="next_token_entropy"):
        ask(stories, questions, ["next_token_entropie"])
