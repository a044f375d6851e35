"""Jamba: Mamba layers with an attention layer now and then, MLPs with a mixture of experts now and then."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("jamba")
def jamba(config: Config) -> tuple[Layout, ...]:
    """Jamba."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attn.o_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attn"),
        S.SSM_STATE: entering("mamba.out_proj"),
        S.RESID_MID: entering("pre_ff_layernorm"),
        S.ROUTER_LOGITS: leaving("feed_forward.router"),
        S.MLP_PRE: leaving("feed_forward.up_proj"),
        S.MLP_GATE: leaving("feed_forward.gate_proj"),
        S.MLP_POST: entering("feed_forward.down_proj"),
        S.MLP_OUT: leaving("feed_forward"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="final_layernorm", taps=taps),)
