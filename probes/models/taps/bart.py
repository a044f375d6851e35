"""BART: post-norm encoder and decoder.

Norms stand after each addition, so ``resid_mid`` and ``resid_post`` are what they return, and there is no final norm.
In the decoder ``attn_out`` is self-attention, and ``resid_mid`` comes after cross-attention.
"""

from __future__ import annotations

from probes.models.taps.table import POST_NORM, Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S


@family("bart")
def bart(config: Config) -> tuple[Layout, ...]:
    """BART."""
    return tuple(
        Layout(
            blocks=f"{stack}.layers",
            embed=f"{stack}.embed_tokens",
            final_norm=None,
            taps={
                S.RESID_PRE: entering(""),
                S.ATTN_Z: entering("self_attn.out_proj", heads=heads),
                S.ATTN_OUT: leaving("self_attn"),
                S.RESID_MID: leaving("encoder_attn_layer_norm", "self_attn_layer_norm"),
                S.MLP_PRE: leaving("fc1"),
                S.MLP_POST: entering("fc2"),
                S.MLP_OUT: leaving("fc2"),
                S.RESID_POST: leaving(""),
            },
            lacks=POST_NORM,
            stack=stack,
        )
        for stack, heads in (
            ("encoder", config.encoder_attention_heads),
            ("decoder", config.decoder_attention_heads),
        )
    )
