"""Forms of weights: what is read is the model itself, and what cannot be read says what to do."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from probes.capture import collect
from probes.errors import InputError
from probes.models import load_model
from probes.models.checkpoints import model_files
from tests.probes.conftest import tiny_llama, uneven
from tests.probes.models.families import LLAMA
from tests.tolerances import LOGITS, REBATCHED

PROMPTS = [[5, 17, 3, 29], [41, 8]]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def values(model) -> np.ndarray:
    return collect(
        model, PROMPTS, ["resid_post", "mlp_out", "final_norm"], "all", ["hoyer", "l2_norm"]
    ).value.to_numpy()


def written(path, module, packed=None) -> None:
    """A GGUF file of a tiny Qwen2, by the names of the format; ``packed``: its matrices of whole blocks in few bits."""
    gguf = pytest.importorskip("gguf")
    config = module.config
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    for name, weight in module.state_dict().items():
        array, kind = weight.numpy(), None
        if packed is not None and weight.ndim == 2 and weight.shape[1] % 32 == 0:
            array, kind = gguf.quants.quantize(array, packed), packed
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", array, raw_dtype=kind)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", array, raw_dtype=kind)
        elif name == "lm_head.weight":
            writer.add_tensor("output.weight", array, raw_dtype=kind)
        else:
            _, _, layer, rest = name.split(".", 3)
            part, end = rest.rsplit(".", 1)
            writer.add_tensor(f"blk.{layer}.{NAMES[part]}.{end}", array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_the_model_that_it_was_written_from(tmp_path):
    torch.manual_seed(0)
    module = uneven(Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in LLAMA.items() if k != "head_dim"})).eval())
    path = tmp_path / "tiny.gguf"
    written(path, module)
    model = load_model(str(path), dtype="float32")
    assert model.n_layers == 3
    assert model.weights == "read from GGUF (F32)"
    np.testing.assert_allclose(values(model), values(module), rtol=REBATCHED)
    assert list(model_files(str(path), None)) == ["tiny.gguf"]
    assert load_model(str(tmp_path), dtype="float32").fingerprint == model.fingerprint, "a folder that holds it is it"
    shutil.copy(path, tmp_path / "other.gguf")
    with pytest.raises(InputError, match="holds 2 GGUF files; name one"):
        load_model(str(tmp_path))
    path.write_bytes(b"GGUF")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(str(path))


def test_a_gguf_file_of_few_bits_says_that_its_weights_were_dequantised(tmp_path):
    gguf = pytest.importorskip("gguf")
    torch.manual_seed(0)
    module = Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in LLAMA.items() if k != "head_dim"})).eval()
    path = tmp_path / "tiny.gguf"
    written(path, module, packed=gguf.GGMLQuantizationType.Q8_0)
    model = load_model(str(path), dtype="float32")
    assert model.weights == "dequantised from GGUF (F32, Q8_0)"
    exact = module.lm_head.weight
    step = exact.reshape(-1, 32).abs().amax(1) / 127  # 32 numbers share a scale, and are rounded to 8 bits
    off = (model.module.lm_head.weight - exact).reshape(-1, 32).abs().amax(1)
    assert (off > 0).all()
    assert (off <= (0.5 + 127 * 2**-11) * step).all()  # half a step, and the scale itself is stored in float16


def test_a_folder_that_is_not_whole_names_the_file_and_the_remedy(tmp_path):
    """A shard that is missing, cut in its weights or in its header, a pointer, or without its index."""
    tiny_llama().save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    listed, bytes_of = index.read_text(), shard.read_bytes()
    assert load_model(str(tmp_path)).weights == "as stored"
    for content, said in (
        (None, "is missing; download or copy that file again"),
        (bytes_of[:-1], rf"has {len(bytes_of) - 1:,} bytes where its header describes {len(bytes_of):,}; download"),
        (bytes_of + b" ", rf"has {len(bytes_of) + 1:,} bytes where its header describes {len(bytes_of):,}; download"),
        (bytes_of[:30], "is cut short within its header"),
        (b"", "is cut short within its header"),
        (bytes_of[:8] + b"x" + bytes_of[9:], "has a header that cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer .*; run git lfs pull"),
    ):
        shard.unlink()
        if content is not None:
            shard.write_bytes(content)
        with pytest.raises(InputError, match=f"is not whole: {shard.name} {said}") as refusal:
            load_model(str(tmp_path))
        assert len(str(refusal.value).splitlines()) == 1
        shard.write_bytes(bytes_of)
    for content, said in (("{", "cannot be read"), (json.dumps([]), "cannot be read"), (None, "is missing")):
        index.unlink()
        if content is not None:
            index.write_text(content)
        with pytest.raises(InputError, match=rf"model.safetensors.index.json, which says .*, {said}; download"):
            load_model(str(tmp_path))
        index.write_text(listed)
    assert load_model(str(tmp_path)).n_layers == 3


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_is_merged_into_its_base(tmp_path):
    peft = pytest.importorskip("peft")
    tiny_llama().save_pretrained(tmp_path / "base")
    base = load_model(str(tmp_path / "base"))
    torch.manual_seed(1)
    settings = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["down_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(tiny_llama(), settings)
    adapted.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "base")}))
    model = load_model(str(tmp_path / "adapter"))
    assert model.weights == f"adapter merged into {tmp_path / 'base'}"
    by_hand = tiny_llama()
    with torch.no_grad():
        for block, changed in zip(by_hand.model.layers, adapted.base_model.model.model.layers, strict=True):
            down = changed.mlp.down_proj
            block.mlp.down_proj.weight += 6 / 2 * down.lora_B["default"].weight @ down.lora_A["default"].weight
    np.testing.assert_allclose(values(model), values(by_hand), rtol=REBATCHED)
    assert not np.allclose(values(model), values(base.module), rtol=LOGITS)
    assert model.fingerprint != base.fingerprint
    assert {"base/model.safetensors", "adapter_model.safetensors"} <= set(model_files(str(tmp_path / "adapter"), None))


@pytest.mark.parametrize("package", ["gguf", "peft"])
def test_a_form_whose_package_is_missing_names_it(tmp_path, monkeypatch, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/base"}')
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    name = tmp_path / "weights.gguf" if package == "gguf" else tmp_path
    with pytest.raises(InputError, match=rf"the package {package}: pip install 'activation-sparsity\[{package}\]'"):
        load_model(str(name))


def test_pickled_weights_are_refused_with_the_way_out(tmp_path):
    tiny_llama().config.save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only pickled weights \(pytorch_model.bin\).*save_pretrained"):
        load_model(str(tmp_path))
