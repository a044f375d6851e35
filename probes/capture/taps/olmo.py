"""OLMo 2 and 3: attention and MLP read the residual stream as it is and are normalised before they are added to it."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.llama import llama_block
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("olmo2", "olmo3")
def olmo(config: Config) -> tuple[Layout, ...]:
    """OLMo 2, OLMo 3."""
    taps = llama_block(config) | {
        S.ATTN_OUT: leaving("post_attention_layernorm"),
        S.RESID_MID: entering("mlp"),
        S.MLP_OUT: leaving("post_feedforward_layernorm"),
    }
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="norm", taps=taps),)
