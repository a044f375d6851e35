"""Falcon: attention and MLP side by side, except in the early sequential variant."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import PARALLEL, Config, Layout, entering, family, leaving


@family("falcon")
def falcon(config: Config) -> tuple[Layout, ...]:
    """Falcon, old and new decoder."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attention.dense", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attention"),
        S.MLP_PRE: leaving("mlp.dense_h_to_4h"),
        S.MLP_POST: entering("mlp.dense_4h_to_h"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    lacks = PARALLEL if config.new_decoder_architecture or config.parallel_attn else {}
    if not lacks:
        taps[S.RESID_MID] = entering("post_attention_layernorm")
    return (Layout(blocks="h", embed="word_embeddings", final_norm="ln_f", taps=taps, lacks=lacks),)
