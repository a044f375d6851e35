"""GPT-2: pre-norm, attention then MLP."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("gpt2")
def gpt2(config: Config) -> tuple[Layout, ...]:
    """GPT-2."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attn.c_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attn"),
        S.RESID_MID: entering("ln_2"),
        S.MLP_PRE: leaving("mlp.c_fc"),
        S.MLP_POST: entering("mlp.c_proj"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="h", embed="wte", final_norm="ln_f", taps=taps),)
