import copy
import importlib.util
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from probes.capture import collect, encode
from probes.errors import InputError
from probes.models import load_model
from probes.models.templates import PromptError
from probes.vocabulary.sites import Site
from tests.probes.conftest import tiny_llama
from tests.tolerances import NEAR_ZERO, REBATCHED


@pytest.fixture
def saved(tmp_path):
    directory = tmp_path / "tiny-llama"
    tiny_llama().save_pretrained(directory)
    return directory


def test_a_directory_and_its_copy_are_the_same_model_and_a_changed_weight_is_not(saved, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    assert load_model(str(saved)).fingerprint == load_model(str(copy)).fingerprint
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_model(str(saved)).fingerprint != load_model(str(copy)).fingerprint


def test_objects_are_known_by_their_parameters():
    model, same = tiny_llama(), tiny_llama()
    before = load_model(model).fingerprint
    assert before == load_model(same).fingerprint
    with torch.no_grad():
        model.model.norm.weight[0] += 1e-3
    assert load_model(model).fingerprint != before
    assert load_model(tiny_llama().bfloat16()).fingerprint != before


def test_a_model_without_tokenizer_knows_its_facts(saved):
    model = load_model(str(saved))
    assert model.tokenizer is None
    assert (model.n_layers, model.d_model, model.vocabulary, model.context_length) == (3, 32, 99, 64)
    assert (model.dtype, model.device, model.attention) == (torch.float32, torch.device("cpu"), "sdpa")
    assert not model.module.training
    assert load_model(str(saved), dtype="bfloat16", attention="eager").attention == "eager"
    assert load_model(str(saved), dtype="bfloat16").dtype == torch.bfloat16
    assert model.width(Site.parse("resid_post.1")) == 32
    assert load_model(model) is model


def test_names_that_lead_nowhere_are_one_line_with_the_nearest_sibling(saved):
    with pytest.raises(InputError, match=r"no model directory .*did you mean .*tiny-llama'"):
        load_model(str(saved.with_name("tiny-lama")))
    with pytest.raises(InputError, match=r"holds no config\.json"):
        load_model(str(saved.parent))
    with pytest.raises(InputError, match="is a file"):
        load_model(str(saved / "config.json"))
    with pytest.raises(InputError, match="a transformers model or a TransformerBridge, not Linear"):
        load_model(nn.Linear(2, 2))


def test_a_hub_name_offline_fails_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set") as caught:
        load_model("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_whole_are_refused(saved):
    path = saved / "model.safetensors"
    weights = load_file(path)
    save_file({k: v for k, v in weights.items() if ".1.mlp" not in k}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"is not whole: 3 weights are missing, model.layers.1.mlp"):
        load_model(str(saved))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model.safetensors has .* bytes where its header describes") as caught:
        load_model(str(saved))
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(str(saved))


def test_a_model_on_the_meta_device_is_refused():
    with torch.device("meta"):
        model = tiny_llama()
    with pytest.raises(InputError, match="on the meta device"):
        load_model(model)


def test_a_tokenizer_of_another_model_is_refused(stories):
    with pytest.raises(InputError, match="512 tokens but the model embeds only 99"):
        load_model(tiny_llama(), tokenizer=stories.tokenizer)


def test_a_tokenizer_may_know_added_tokens_that_the_model_does_not_embed(stories):
    tokenizer = copy.deepcopy(stories.tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})
    assert len(tokenizer) == stories.vocabulary + 1
    model = load_model(stories.module, tokenizer=tokenizer)
    assert encode(model, "Once upon a time").ids == encode(stories, "Once upon a time").ids
    with pytest.raises(PromptError, match="outside the vocabulary"):
        encode(model, "an <image> of it")


def test_loading_leaves_the_log_level_and_the_progress_bars_as_they_were(saved):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(str(saved))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_logits_of_chosen_rows_are_those_of_the_whole_model(llama, gpt2):
    from probes.models.batch import Batch

    for model in (llama, gpt2):
        ids = torch.arange(1, 25).reshape(2, 12)
        batch = Batch(ids, torch.ones_like(ids))
        with torch.inference_mode():
            whole = model.module(input_ids=ids, attention_mask=batch.mask).logits.reshape(24, -1)
        rows = torch.tensor([0, 5, 23])
        torch.testing.assert_close(model.logits(model.run(batch), rows), whole[rows], rtol=REBATCHED, atol=NEAR_ZERO)
        with torch.inference_mode():
            again = model.module(input_ids=ids, attention_mask=batch.mask).logits.reshape(24, -1)
        assert torch.equal(whole, again), "the body's own forward must be back in its place"


def test_an_object_without_blocks_to_be_found_is_refused():
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    module = GPTBigCodeForCausalLM(GPTBigCodeConfig(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    module.transformer.h = module.transformer.h[:1]
    with pytest.raises(InputError, match="no known blocks in GPTBigCodeModel: expected one list of 2 modules"):
        load_model(module)


def test_shards_are_one_model_and_a_missing_shard_is_one_line(tmp_path):
    whole, sharded = tmp_path / "whole", tmp_path / "sharded"
    tiny_llama().save_pretrained(whole)
    tiny_llama().save_pretrained(sharded, max_shard_size="20KB")
    parts = sorted(sharded.glob("*.safetensors"))
    assert len(parts) > 2
    frames = [collect(str(path), [[1, 2, 3]], "resid_post", "all", "gini") for path in (whole, sharded)]
    assert frames[0].drop(columns="run_id").equals(frames[1].drop(columns="run_id"))
    parts[1].unlink()
    with pytest.raises(InputError, match=r"is not whole: .* is missing; download or copy that file again") as caught:
        load_model(str(sharded))
    assert "\n" not in str(caught.value)


def test_a_model_that_is_spread_out_shows_the_same_states(tmp_path):
    """Embedding and one block on disk, the rest in memory: accelerate brings each in for its call."""
    directory = tmp_path / "model"
    tiny_llama().save_pretrained(directory)
    places = {f"model.layers.{layer}": "cpu" for layer in (0, 2)}
    places |= {"model.embed_tokens": "disk", "model.layers.1": "disk", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {"model.rotary_emb": "cpu"}
    module = AutoModelForCausalLM.from_pretrained(directory, device_map=places, offload_folder=tmp_path / "away")
    assert any(parameter.is_meta for parameter in module.parameters())
    spread, together = load_model(module), load_model(tiny_llama())
    assert spread.device == torch.device("cpu")
    frames = [
        collect(model, [[1, 2, 3], [4, 5]], ["resid_post", "mlp_post"], "all", "gini") for model in (spread, together)
    ]
    np.testing.assert_array_equal(frames[0].value, frames[1].value)


def test_eight_bit_weights_ask_for_the_package_that_computes_with_them(saved):
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(InputError, match="dtype int8 needs the package bitsandbytes"):
        load_model(str(saved), dtype="int8")
    with pytest.raises(InputError, match="unknown dtype 'int7'; known: float32, bfloat16, float16, int8"):
        load_model(str(saved), dtype="int7")
