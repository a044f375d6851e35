"""Gemma 2 and 3: a norm before and after attention and MLP; contributions are what the norms after them return."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.llama import llama_block
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("gemma2", "gemma3_text")
def gemma(config: Config) -> tuple[Layout, ...]:
    """Gemma 2, Gemma 3."""
    taps = llama_block(config) | {
        S.ATTN_OUT: leaving("post_attention_layernorm"),
        S.RESID_MID: entering("pre_feedforward_layernorm"),
        S.MLP_OUT: leaving("post_feedforward_layernorm"),
    }
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="norm", taps=taps),)
