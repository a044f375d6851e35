"""States read while a model writes against one pass over what it wrote."""

import numpy as np
import pytest
import torch

import sparsity
from probes.capture import collect
from probes.capture.generation.continuation import WITHOUT_CACHE
from probes.capture.generation.generating import Draws, collect_generation
from probes.errors import InputError
from probes.models import load_model
from probes.records.schema import SCHEMAS
from tests.probes.models.families import build
from tests.probes.models.test_bridge import bridge_of
from tests.probes.models.test_families import model_of, prompts_of
from tests.samples import of_share
from tests.tolerances import LOGITS, REBATCHED

FAMILIES = [
    *("gpt2", "opt", "bloom", "falcon_sequential", "llama", "gemma2", "mixtral", "deepseek_v2"),
    *("mamba", "mamba2", "rwkv", "recurrent_gemma", "jamba"),
]
METRICS = ["gini", "participation_ratio", "l2_norm"]
SITES = ["resid_pre", "resid_post", "final_norm"]
STEPS = 3
BITS = 1 / np.log(2)


def whole_texts(prompts, tokens):
    """Prompts with what was written after them."""
    return [
        [*prompt, *tokens.token_id[tokens.example_id == str(index)].tolist()] for index, prompt in enumerate(prompts)
    ]


def agree_with_one_pass(model, prompts, found, sites=SITES):
    """Rows of generated tokens, and of the last prompt token, are those of a pass over the finished text."""
    together = collect(model, whole_texts(prompts, found.tokens), sites, "all", METRICS)
    ends = together.example_id.astype(int).map([len(prompt) for prompt in prompts].__getitem__)
    expected = together[together.token >= ends.astype(int) - 1].reset_index(drop=True)
    keys = ["example_id", "token", "site", "layer", "unit", "metric"]
    ours, theirs = (frame.set_index(keys).sort_index() for frame in (found.measurements, expected))
    assert ours.index.equals(theirs.index)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=REBATCHED)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_measured_while_writing_is_what_one_pass_over_the_text_measures(name):
    model = model_of(name)
    prompts = [list(prompt.ids) for prompt in prompts_of(model)]
    found = collect_generation(model, prompts, SITES, METRICS, max_new_tokens=STEPS, sample=4)
    assert found.tokens.groupby("example_id").size().max() == STEPS
    agree_with_one_pass(model, prompts, found)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_bridge_writes_what_its_model_writes(name):
    prompts = [list(prompt.ids) for prompt in prompts_of(model_of(name))]
    bridge = bridge_of(build(name))
    found = collect_generation(bridge, prompts, SITES, METRICS, max_new_tokens=STEPS)
    plain = collect_generation(model_of(name), prompts, SITES, METRICS, max_new_tokens=STEPS)
    assert found.tokens.token_id.tolist() == plain.tokens.token_id.tolist()
    np.testing.assert_allclose(found.measurements.value, plain.measurements.value, rtol=REBATCHED)


@pytest.fixture
def texts():
    return ["Once upon a time", "Lily had a big red ball and", "One day"]


def test_the_likeliest_text_is_the_one_that_transformers_writes(stories, texts):
    found = collect_generation(stories, texts, "final_norm", METRICS, max_new_tokens=10)
    for index, text in enumerate(texts):
        ids = stories.tokenizer(text, return_tensors="pt").input_ids
        theirs = stories.module.generate(ids, max_new_tokens=10, do_sample=False)[0].tolist()
        assert whole_texts([ids[0].tolist()] * 3, found.tokens)[index] == theirs
        assert found.texts[index] == stories.tokenizer.decode(theirs[ids.shape[1] :])
    prompts = [stories.tokenizer(text).input_ids for text in texts]
    agree_with_one_pass(stories, prompts, found, "final_norm")


def test_surprisal_and_entropy_are_those_of_the_models_own_distribution(stories, texts):
    found = collect_generation(stories, texts, "final_norm", "gini", max_new_tokens=6, sample=2)
    for index, text in enumerate(texts):
        prompt = stories.tokenizer(text).input_ids
        own = found.tokens[found.tokens.example_id == str(index)]
        assert own.token.tolist() == list(range(len(prompt), len(prompt) + 6))
        ids = torch.tensor([[*prompt, *own.token_id]])
        with torch.inference_mode():
            log_p = stories.module(ids).logits[0].double().log_softmax(-1)
        surprisal = [-float(log_p[t - 1, token]) * BITS for t, token in zip(own.token, own.token_id, strict=True)]
        entropy = [-float((log_p[t].exp() * log_p[t]).sum()) for t in own.token]
        np.testing.assert_allclose(own.surprisal, surprisal, rtol=LOGITS)
        np.testing.assert_allclose(own.next_token_entropy, entropy, rtol=LOGITS)
        assert own.text.tolist() == [stories.tokenizer.decode([token]) for token in own.token_id]


def test_a_seed_gives_the_same_text_whatever_runs_beside_it(stories, texts):
    options = {"sites": "final_norm", "metrics": METRICS, "max_new_tokens": 6}
    together = collect_generation(stories, texts, **options, sample=7)
    one_by_one = collect_generation(stories, texts, **options, sample=torch.Generator().manual_seed(7), batch_size=1)
    assert together.texts == one_by_one.texts
    assert together.tokens.token_id.tolist() == one_by_one.tokens.token_id.tolist()
    assert together.measurements.drop(columns="value").equals(one_by_one.measurements.drop(columns="value"))
    np.testing.assert_allclose(together.measurements.value, one_by_one.measurements.value, rtol=REBATCHED)
    assert collect_generation(stories, texts, **options, sample=8).texts != together.texts
    before = torch.get_rng_state()
    collect_generation(stories, texts, **options, sample=7)
    assert torch.equal(before, torch.get_rng_state()), "the global state of chance is nobody's to change"


def test_draws_follow_the_distribution():
    p = torch.tensor([0.5, 0.0, 0.125, 0.375], dtype=torch.float64)
    draws = Draws.of(3, 20_000, 1)
    chosen = draws.choose(p.log().expand(20_000, -1), range(20_000), 0)
    share = np.bincount(chosen, minlength=4) / 20_000
    assert share[1] == 0
    np.testing.assert_allclose(share, p.numpy(), atol=of_share(0.5, 20_000))
    assert Draws.of(None, 1, 1).choose(p.log().unsqueeze(0), [0], 0) == [0]


def test_an_end_token_is_measured_and_ends_its_text_alone():
    model = load_model(build("llama"))
    prompts = [list(prompt.ids) for prompt in prompts_of(model)]
    free = collect_generation(model, prompts, SITES, METRICS, max_new_tokens=6, sample=5)
    written = [free.tokens.token_id[free.tokens.example_id == str(index)].tolist() for index in range(len(prompts))]
    end = written[1][2]
    model.module.generation_config.eos_token_id = [end]
    found = collect_generation(model, prompts, SITES, METRICS, max_new_tokens=6, sample=5)
    for index, tokens in enumerate(written):
        stop = tokens.index(end) + 1 if end in tokens else len(tokens)
        assert found.tokens.token_id[found.tokens.example_id == str(index)].tolist() == tokens[:stop]
    lengths = found.tokens.groupby("example_id").size()
    assert lengths["1"] <= 3
    assert lengths.max() == 6
    agree_with_one_pass(model, prompts, found)


def test_rows_line_up_and_have_the_columns_of_measurements(stories, texts):
    found = collect_generation(stories, texts, ["resid_post.1", "attn_z.0"], METRICS, max_new_tokens=3)
    assert list(found.measurements.columns) == SCHEMAS["measurements"].names
    new = found.measurements[found.measurements.position == "generated"]
    pairs = set(zip(new.example_id, new.token, strict=True))
    assert pairs == set(zip(found.tokens.example_id, found.tokens.token, strict=True))
    last = found.measurements[found.measurements.position == "last"]
    assert last.token.groupby(last.example_id, observed=True).nunique().eq(1).all()
    assert sorted(new.unit.unique()) == [-1, *range(stories.module.config.num_attention_heads)]


def test_writing_leaves_the_model_as_it_was():
    for name in sorted(WITHOUT_CACHE | {"llama"}):
        model = load_model(build(name))
        prompts = [list(prompt.ids) for prompt in prompts_of(model)]
        before = collect(model, prompts, "final_norm", "mean", METRICS)
        collect_generation(model, prompts, "final_norm", METRICS, max_new_tokens=2)
        np.testing.assert_array_equal(collect(model, prompts, "final_norm", "mean", METRICS).value, before.value)


def test_what_cannot_be_gone_on_from_is_said(stories):
    with pytest.raises(InputError, match=r"T5.* cannot continue a prompt"):
        collect_generation(model_of("t5"), [[1, 2]], "resid_post", max_new_tokens=1)
    with pytest.raises(InputError, match=r"Bert.* cannot continue a prompt"):
        collect_generation(model_of("bert"), [[1, 2]], "resid_post", max_new_tokens=1)
    with pytest.raises(InputError, match="max_new_tokens must be at least 1, not 0"):
        collect_generation(stories, ["a"], "resid_post", max_new_tokens=0)
    with pytest.raises(InputError, match=r"prompt 1: \d+ tokens and 508 new ones, but .* reads at most 512"):
        collect_generation(stories, ["One", "Once upon a time"], "resid_post", max_new_tokens=508)
    with pytest.raises(sparsity.UnknownNameError, match="gini"):
        collect_generation(stories, ["a"], metrics="ginni", max_new_tokens=1)
