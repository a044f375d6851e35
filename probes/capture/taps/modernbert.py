"""ModernBERT: a pre-norm encoder with gated MLPs whose two input projections are one matrix, the gate first.

transformers calls the half that passes through the activation ``input`` and the other one ``gate``; the words here are
the ones that all families share.
"""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving


@family("modernbert")
def modernbert(config: Config) -> tuple[Layout, ...]:
    """ModernBERT."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attn.Wo", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attn"),
        S.RESID_MID: entering("mlp_norm"),
        S.MLP_PRE: leaving("mlp.Wi", part=1, parts=2),
        S.MLP_GATE: leaving("mlp.Wi", part=0, parts=2),
        S.MLP_POST: entering("mlp.Wo"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    embed = "embeddings.tok_embeddings"
    return (Layout(blocks="layers", embed=embed, final_norm="final_norm", taps=taps),)
