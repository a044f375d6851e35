"""OPT: pre-norm, except 350m, which normalises after adding and has no final norm.

There ``resid_mid`` and ``resid_post`` are what the norms return, since that is what the next part adds to.
"""

from __future__ import annotations

from probes.models.taps.table import POST_NORM, Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S


@family("opt")
def opt(config: Config) -> tuple[Layout, ...]:
    """OPT."""
    before = config.do_layer_norm_before
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("self_attn.out_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("self_attn"),
        S.RESID_MID: entering("final_layer_norm") if before else leaving("self_attn_layer_norm"),
        S.MLP_PRE: leaving("fc1"),
        S.MLP_POST: entering("fc2"),
        S.MLP_OUT: leaving("fc2"),
        S.RESID_POST: leaving(""),
    }
    return (
        Layout(
            blocks="decoder.layers",
            embed="decoder.embed_tokens",
            final_norm="decoder.final_layer_norm" if before else None,
            taps=taps,
            lacks={} if before else POST_NORM,
        ),
    )
