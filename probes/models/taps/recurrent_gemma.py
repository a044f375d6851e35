"""RecurrentGemma (Griffin): two recurrent layers, then one of local attention; a gated MLP in each."""

from __future__ import annotations

from probes.models.taps.table import Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S


@family("recurrent_gemma")
def recurrent_gemma(config: Config) -> tuple[Layout, ...]:
    """RecurrentGemma."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("temporal_block.o_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("temporal_block.o_proj"),
        S.SSM_STATE: entering("temporal_block.linear_out"),
        S.RESID_MID: entering("channel_pre_norm"),
        S.MLP_PRE: leaving("mlp_block.up_proj"),
        S.MLP_GATE: leaving("mlp_block.gate_proj"),
        S.MLP_POST: entering("mlp_block.down_proj"),
        S.MLP_OUT: leaving("mlp_block"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="final_norm", taps=taps),)
