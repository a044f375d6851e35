"""ModernBERT: a pre-norm encoder with gated MLPs whose two input projections are one matrix."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving

FUSED = "gate and up projection are one matrix in this family; mlp_post is the product of the two"


@family("modernbert")
def modernbert(config: Config) -> tuple[Layout, ...]:
    """ModernBERT."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attn.Wo", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attn"),
        S.RESID_MID: entering("mlp_norm"),
        S.MLP_POST: entering("mlp.Wo"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    lacks = {S.MLP_PRE: FUSED, S.MLP_GATE: FUSED}
    embed = "embeddings.tok_embeddings"
    return (Layout(blocks="layers", embed=embed, final_norm="final_norm", taps=taps, lacks=lacks),)
