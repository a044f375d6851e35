"""A tiny random-weight model of every architecture family that has a table, built from its configuration, offline."""

import torch
import transformers
from transformers import PreTrainedModel

from tests.probes.conftest import uneven

LLAMA = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "head_dim": 8,
}
NEOX = {k: v for k, v in LLAMA.items() if k not in {"num_key_value_heads", "head_dim"}}
GPT2 = {"vocab_size": 99, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
PADDED = {"pad_token_id": 0}
MAMBA = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 8}
ZAMBA = {k: v for k, v in NEOX.items() if k != "max_position_embeddings"} | {
    "num_hidden_layers": 5,
    "num_key_value_heads": 4,
    "mamba_d_state": 8,
}
T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 3, "num_heads": 4}
BART = {
    "vocab_size": 99,
    "d_model": 32,
    "max_position_embeddings": 64,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
}
DEEPSEEK = {
    **LLAMA,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
}

# name -> (prefix of the transformers class, suffix of the model class, settings)
FAMILIES: dict[str, tuple[str, str, dict[str, object]]] = {
    "gpt2": ("GPT2", "LMHeadModel", GPT2),
    "gpt_neox": ("GPTNeoX", "ForCausalLM", NEOX),
    "gpt_neox_sequential": ("GPTNeoX", "ForCausalLM", NEOX | {"use_parallel_residual": False}),
    "gptj": ("GPTJ", "ForCausalLM", GPT2 | {"rotary_dim": 4}),
    "opt": ("OPT", "ForCausalLM", NEOX | {"ffn_dim": 40, "word_embed_proj_dim": 32}),
    "opt_post_norm": (
        "OPT",
        "ForCausalLM",
        NEOX | {"ffn_dim": 40, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": ("Bloom", "ForCausalLM", {"vocab_size": 99, "hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "falcon": ("Falcon", "ForCausalLM", NEOX),
    "falcon_new": ("Falcon", "ForCausalLM", NEOX | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_sequential": (
        "Falcon",
        "ForCausalLM",
        NEOX | {"parallel_attn": False, "alibi": True, "multi_query": False},
    ),
    "llama": ("Llama", "ForCausalLM", LLAMA),
    "mistral": ("Mistral", "ForCausalLM", LLAMA),
    "qwen2": ("Qwen2", "ForCausalLM", LLAMA),
    "qwen3": ("Qwen3", "ForCausalLM", LLAMA),
    "gemma": ("Gemma", "ForCausalLM", LLAMA),
    "gemma2": ("Gemma2", "ForCausalLM", LLAMA | {"sliding_window": 8}),
    "gemma3_text": ("Gemma3", "ForCausalLM", LLAMA | {"sliding_window": 8}),
    "phi": ("Phi", "ForCausalLM", NEOX),
    "phi3": ("Phi3", "ForCausalLM", {k: v for k, v in LLAMA.items() if k != "head_dim"} | PADDED),
    "olmo": ("Olmo", "ForCausalLM", LLAMA),
    "olmo2": ("Olmo2", "ForCausalLM", LLAMA),
    "olmo3": ("Olmo3", "ForCausalLM", LLAMA),
    "stablelm": ("StableLm", "ForCausalLM", LLAMA),
    "stablelm_parallel": ("StableLm", "ForCausalLM", LLAMA | {"use_parallel_residual": True}),
    "cohere": ("Cohere", "ForCausalLM", LLAMA | PADDED),
    "cohere2": ("Cohere2", "ForCausalLM", LLAMA | PADDED),
    "mixtral": ("Mixtral", "ForCausalLM", LLAMA | {"num_local_experts": 4}),
    "qwen2_moe": ("Qwen2Moe", "ForCausalLM", LLAMA | EXPERTS | {"shared_expert_intermediate_size": 24}),
    "qwen3_moe": ("Qwen3Moe", "ForCausalLM", LLAMA | EXPERTS | {"mlp_only_layers": [0]}),
    "olmoe": ("Olmoe", "ForCausalLM", LLAMA | EXPERTS),
    "gpt_oss": ("GptOss", "ForCausalLM", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "deepseek_v2": ("DeepseekV2", "ForCausalLM", DEEPSEEK),
    "deepseek_v3": ("DeepseekV3", "ForCausalLM", DEEPSEEK),
    "mamba": ("Mamba", "ForCausalLM", MAMBA),
    "mamba2": ("Mamba2", "ForCausalLM", MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 1}),
    "falcon_mamba": ("FalconMamba", "ForCausalLM", MAMBA),
    "rwkv": (
        "Rwkv",
        "ForCausalLM",
        {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "context_length": 64},
    ),
    "recurrent_gemma": ("RecurrentGemma", "ForCausalLM", LLAMA | {"lru_width": 32, "attention_window_size": 8}),
    "jamba": (
        "Jamba",
        "ForCausalLM",
        LLAMA
        | {
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 4,
            "use_mamba_kernels": False,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
    ),
    "zamba": (
        "Zamba",
        "ForCausalLM",
        ZAMBA | {"attn_layer_period": 2, "attn_layer_offset": 0, "mamba_dt_rank": 4, "use_mamba_kernels": False},
    ),
    "zamba2": (
        "Zamba2",
        "ForCausalLM",
        ZAMBA
        | {
            "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid", "linear_attention"],
            "n_mamba_heads": 8,
            "mamba_headdim": 8,
            "mamba_ngroups": 1,
            "num_mem_blocks": 1,
            "adapter_rank": 4,
            "chunk_size": 16,
        },
    ),
    "bert": ("Bert", "Model", NEOX),
    "roberta": ("Roberta", "Model", NEOX | {"pad_token_id": 1}),
    "modernbert": ("ModernBert", "Model", NEOX | PADDED),
    "t5": ("T5", "ForConditionalGeneration", T5),
    "t5_gated": ("T5", "ForConditionalGeneration", T5 | {"feed_forward_proj": "gated-gelu"}),
    "bart": ("Bart", "ForConditionalGeneration", BART),
}


def build(name: str) -> PreTrainedModel:
    """One tiny model, in evaluation mode, with uneven norm gains."""
    prefix, suffix, settings = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}TextConfig" if prefix == "Gemma3" else f"{prefix}Config")(**settings)
    return uneven(getattr(transformers, prefix + suffix)(config).eval())
