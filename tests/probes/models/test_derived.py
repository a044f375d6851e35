"""Sites that are derived: offered where the arithmetic of a traced pass proves them, and nowhere else."""

from functools import partial

import pytest
import torch
import transformers

from probes.capture.prompts import encode
from probes.errors import InputError
from probes.models import load_model
from probes.vocabulary.sites import Site, SiteKind, resolve_sites
from tests.probes.conftest import tiny_llama, uneven
from tests.probes.models.families import EXPERTS, GPT2, LLAMA, NEOX
from tests.probes.models.test_families import close, states_of

DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
LAYERS = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
STREAMS = {
    "sliding_window": 8,
    "vocab_size_per_layer_input": 99,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 0,
    "laurel_rank": 4,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "activation_sparsity_pattern": [0.95, 0.0, 0.0],
    "intermediate_size": [40, 40, 40],
}
CONV = {"block_multiple_of": 8, "layer_types": ["conv", "full_attention", "conv"]}
MIXED = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
PAD = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WITHOUT_WIDTH = {k: v for k, v in LLAMA.items() if k != "head_dim"}
SMALL_GPT = GPT2 | {"bos_token_id": 1, "eos_token_id": 2}
GATED = {"embed", "resid_pre", "attn_z", "attn_out", "resid_mid", "mlp_pre", "mlp_gate", "mlp_post", "mlp_out"}
GATED |= {"resid_post", "final_norm"}
PLAIN = GATED - {"mlp_gate"}
NEURONLESS = GATED - {"mlp_pre", "mlp_gate", "mlp_post"} | {"router_logits"}

# family -> (configuration, settings, kinds of site that its forward pass holds, read off its source by hand)
DERIVED = {
    "granite": ("Granite", WITHOUT_WIDTH | PAD | {"residual_multiplier": 0.22, "embedding_multiplier": 12.0}, GATED),
    "granitemoe": (
        "GraniteMoe",
        WITHOUT_WIDTH | PAD | {"residual_multiplier": 0.22, "num_local_experts": 4},
        NEURONLESS,
    ),
    "glm4": ("Glm4", LLAMA | PAD, GATED),
    "smollm3": ("SmolLM3", WITHOUT_WIDTH | PAD, GATED),
    "exaone4": ("Exaone4", WITHOUT_WIDTH | PAD | {"sliding_window": 8}, GATED),
    "starcoder2": ("Starcoder2", WITHOUT_WIDTH | PAD, PLAIN),
    "qwen3_5": ("Qwen3_5Text", LLAMA | DELTA | LAYERS, GATED | {"ssm_state"}),
    "qwen3_next": (
        "Qwen3Next",
        LLAMA | EXPERTS | DELTA | LAYERS | {"shared_expert_intermediate_size": 16},
        NEURONLESS | {"ssm_state"},
    ),
    "lfm2": ("Lfm2", WITHOUT_WIDTH | PAD | CONV, GATED - {"mlp_pre", "mlp_gate"}),
    # attention and a recurrence add side by side, so neither is what is added between resid_pre and resid_mid
    "falcon_h1": ("FalconH1", LLAMA | PAD | MIXED | {"ssm_out_multiplier": 0.5}, GATED - {"attn_out"} | {"ssm_state"}),
    "mpt": ("Mpt", {"d_model": 32, "n_heads": 4, "n_layers": 3, "vocab_size": 99, "max_seq_len": 64}, PLAIN),
    "gpt_bigcode": ("GPTBigCode", SMALL_GPT, PLAIN),
    "codegen": ("CodeGen", SMALL_GPT | {"rotary_dim": 4}, PLAIN - {"resid_mid"}),
    "biogpt": ("BioGpt", NEOX | PAD, PLAIN),
    "nanochat": ("NanoChat", WITHOUT_WIDTH | PAD, PLAIN),
    "diffllama": ("DiffLlama", WITHOUT_WIDTH | PAD, GATED - {"attn_z"}),
    "gemma3n": ("Gemma3nText", LLAMA | STREAMS | PAD, {"embed", "resid_pre", "resid_post", "final_norm"}),
}


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_offered_is_what_transformers_shows_and_what_the_blocks_add(name):
    prefix, settings, kinds = DERIVED[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**settings)
    module = uneven(transformers.AutoModelForCausalLM.from_config(config).eval())
    model = load_model(module)
    assert {str(site.kind) for site in model.sites} == kinds
    assert {site.kind for site in model.sites} | set(model.lacks) == set(SiteKind)
    prompt = encode(model, [5, 17, 3, 29, 41, 8, 11, 60, 23])
    states = states_of(model, [prompt])
    with torch.inference_mode():
        shown = module(input_ids=torch.tensor([prompt.ids]), output_hidden_states=True, use_cache=False).hidden_states
    whole = shown[0].ndim == 3
    for layer in range(model.n_layers):
        own = {kind: states.get(Site(kind, layer)) for kind in SiteKind}
        after = shown[layer + 1] if whole else shown[layer + 1][config.altup_active_idx]
        assert layer == model.n_layers - 1 or close(own[SiteKind.RESID_POST], after), layer
        mid, attn, mlp = own[SiteKind.RESID_MID], own[SiteKind.ATTN_OUT], own[SiteKind.MLP_OUT]
        if mlp is not None:
            before = own[SiteKind.RESID_PRE] + attn if mid is None else mid
            assert close(before + mlp, own[SiteKind.RESID_POST]), layer
        if mid is not None and attn is not None:
            assert close(own[SiteKind.RESID_PRE] + attn, mid), layer
    final = states[Site(SiteKind.FINAL_NORM, model.n_layers)]
    with torch.inference_mode():
        logits = module(input_ids=torch.tensor([prompt.ids])).logits
        assert close(model.logits(model.run(_batch(prompt)), torch.arange(9)), logits[0])
    assert not whole or close(final, shown[-1])


def _batch(prompt):
    from probes.capture.prompts import pad

    return pad([prompt], 0)


def _scaled(block, factor, hidden_states, **kwargs):
    """A Llama block that multiplies what its MLP returns."""
    mid = hidden_states + block.self_attn(hidden_states=block.input_layernorm(hidden_states), **kwargs)[0]
    return mid + factor() * block.mlp(block.post_attention_layernorm(mid))


@pytest.mark.parametrize("holds", [True, False])
def test_a_factor_is_taken_from_the_block_and_never_guessed(holds):
    module = tiny_llama()
    for block in module.model.layers:
        block.forward = partial(_scaled, block, lambda: 0.3)
        if holds:
            block.residual_multiplier = 0.3
    model = load_model(module)
    there = {site.kind for site in model.sites}
    assert {SiteKind.RESID_PRE, SiteKind.RESID_POST, SiteKind.ATTN_Z, SiteKind.FINAL_NORM} <= there
    assert (SiteKind.MLP_OUT in there) == holds
    assert (SiteKind.RESID_MID in there) == holds
    if holds:
        states = states_of(model, [encode(model, [5, 17, 3])])
        raw = model.taps.points[Site(SiteKind.MLP_OUT, 1)].module
        assert raw is module.model.layers[1].mlp
        total = states[Site(SiteKind.RESID_MID, 1)] + states[Site(SiteKind.MLP_OUT, 1)]
        assert close(total, states[Site(SiteKind.RESID_POST, 1)])


def test_blocks_built_alike_have_the_same_sites_or_none():
    """One layer that adds something else takes the contribution away from all layers that are built like it."""
    module = tiny_llama()
    module.model.layers[1].forward = partial(_scaled, module.model.layers[1], lambda: 0.3)
    model = load_model(module)
    with pytest.raises(InputError, match="no module in its blocks has been shown to hold it"):
        resolve_sites(model, ["mlp_out.0"])


def test_a_layer_that_overflows_has_the_sites_of_its_neighbours():
    module = tiny_llama()
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[:] = torch.inf
    assert list(load_model(module).sites) == list(load_model(tiny_llama()).sites)
