"""Llama and the many that share its block: pre-norm attention, then a pre-norm gated MLP.

Mixtures of experts in the same block have tables of their own in :mod:`probes.capture.taps.experts`, built on this one.
"""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import PARALLEL, Config, Layout, Tap, entering, family, leaving


def llama_block(config: Config) -> dict[S, Tap]:
    """What a Llama block holds."""
    return {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attn.o_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attn"),
        S.RESID_MID: entering("post_attention_layernorm"),
        S.MLP_PRE: leaving("mlp.up_proj"),
        S.MLP_GATE: leaving("mlp.gate_proj"),
        S.MLP_POST: entering("mlp.down_proj"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }


@family("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo", "phi3", "stablelm")
def llama(config: Config) -> tuple[Layout, ...]:
    """Llama 1-3, Mistral, Qwen2, Qwen2.5, Qwen3, Gemma 1, OLMo 1, StableLM; Phi-3, whose gate and up are one matrix."""
    taps = llama_block(config)
    if config.model_type == "phi3":
        fused = "mlp.gate_up_proj"
        taps |= {S.MLP_GATE: leaving(fused, part=0, parts=2), S.MLP_PRE: leaving(fused, part=1, parts=2)}
    lacks = PARALLEL if getattr(config, "use_parallel_residual", False) else {}
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="norm", taps=taps, lacks=lacks),)
