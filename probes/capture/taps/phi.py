"""Phi 1, 1.5 and 2: attention and MLP side by side behind one norm."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import PARALLEL, Config, Layout, entering, family, leaving


@family("phi")
def phi(config: Config) -> tuple[Layout, ...]:
    """Phi 1, Phi 1.5, Phi 2."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attn.dense", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attn"),
        S.MLP_PRE: leaving("mlp.fc1"),
        S.MLP_POST: entering("mlp.fc2"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="final_layernorm", taps=taps, lacks=PARALLEL),)
