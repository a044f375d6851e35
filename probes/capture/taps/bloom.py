"""BLOOM: attention and MLP modules return the residual already added; contributions are read one module earlier."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("bloom")
def bloom(config: Config) -> tuple[Layout, ...]:
    """BLOOM."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attention.dense", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attention.dense"),
        S.RESID_MID: entering("post_attention_layernorm"),
        S.MLP_PRE: leaving("mlp.dense_h_to_4h"),
        S.MLP_POST: entering("mlp.dense_4h_to_h"),
        S.MLP_OUT: leaving("mlp.dense_4h_to_h"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="h", embed="word_embeddings", final_norm="ln_f", taps=taps),)
