"""GPT-NeoX and Pythia: attention and MLP side by side unless configured otherwise."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import PARALLEL, Config, Layout, entering, family, leaving


@family("gpt_neox")
def gpt_neox(config: Config) -> tuple[Layout, ...]:
    """GPT-NeoX, Pythia."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attention.dense", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attention"),
        S.MLP_PRE: leaving("mlp.dense_h_to_4h"),
        S.MLP_POST: entering("mlp.dense_4h_to_h"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    lacks = PARALLEL if config.use_parallel_residual else {}
    if not lacks:
        taps[S.RESID_MID] = entering("post_attention_layernorm")
    return (Layout(blocks="layers", embed="embed_in", final_norm="final_layer_norm", taps=taps, lacks=lacks),)
