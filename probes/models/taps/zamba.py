"""Zamba and Zamba-2: Mamba layers, and now and then one block of attention and MLP whose weights all such layers share.

What the shared block computes is added to what the layer's mixer reads, and not to the residual stream, so it has no
``attn_out``, ``mlp_out`` or ``resid_mid``. Its heads and its neurons are sites like any others.
"""

from __future__ import annotations

from probes.models.taps.table import Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S

ASIDE = "the shared block feeds the layer's mixer; nothing of it is added to the residual stream as it is"
FUSED = "gate and up projection are one matrix beside an adapter; mlp_post is the product of the two"


@family("zamba", "zamba2")
def zamba(config: Config) -> tuple[Layout, ...]:
    """Zamba, Zamba-2."""
    shared = ("shared_transf", "shared_transformer")
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering(*(f"{block}.self_attn.o_proj" for block in shared), heads=config.num_attention_heads),
        S.SSM_STATE: entering("mamba.out_proj", "mamba_decoder.mamba.out_proj"),
        S.MLP_PRE: leaving("shared_transf.feed_forward.up_proj"),
        S.MLP_GATE: leaving("shared_transf.feed_forward.gate_proj"),
        S.MLP_POST: entering(*(f"{block}.feed_forward.down_proj" for block in shared)),
        S.RESID_POST: leaving(""),
    }
    lacks: dict[S, str] = dict.fromkeys((S.ATTN_OUT, S.MLP_OUT, S.RESID_MID), ASIDE)
    if config.model_type == "zamba2":
        lacks |= dict.fromkeys((S.MLP_PRE, S.MLP_GATE), FUSED)
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="final_layernorm", taps=taps, lacks=lacks),)
