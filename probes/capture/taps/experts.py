"""Mixtures of experts in a Llama block.

The experts of a layer are one three-dimensional weight that runs over gathered tokens, so their neurons have no module
to
watch: ``mlp_pre``, ``mlp_gate`` and ``mlp_post`` exist in dense layers only. ``mlp_out`` is what the mixture adds,
    shared experts included.
"""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.llama import llama_block
from probes.capture.taps.table import Config, Layout, family, leaving

BATCHED = "experts run as one batched weight, so their neurons pass through no module"
NEURONS: dict[S, str] = dict.fromkeys((S.MLP_PRE, S.MLP_GATE, S.MLP_POST), BATCHED)


@family("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v2", "deepseek_v3")
def experts(config: Config) -> tuple[Layout, ...]:
    """Mixtral, Qwen-MoE, OLMoE, gpt-oss, DeepSeek V2 and V3."""
    taps = llama_block(config) | {S.ROUTER_LOGITS: leaving("mlp.gate", "mlp.router")}
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="norm", taps=taps, lacks=NEURONS),)
