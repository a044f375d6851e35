"""BERT and RoBERTa: post-norm encoders.

Norms stand after each addition, so ``resid_mid`` and ``resid_post`` are what they return, and there is no final norm.
"""

from __future__ import annotations

from probes.models.taps.table import POST_NORM, Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S


@family("bert", "roberta", "xlm-roberta", "camembert")
def bert(config: Config) -> tuple[Layout, ...]:
    """BERT, RoBERTa and its relatives."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attention.output.dense", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attention.output.dense"),
        S.RESID_MID: leaving("attention.output"),
        S.MLP_PRE: leaving("intermediate.dense"),
        S.MLP_POST: entering("output.dense"),
        S.MLP_OUT: leaving("output.dense"),
        S.RESID_POST: leaving(""),
    }
    embed = "embeddings.word_embeddings"
    return (Layout(blocks="encoder.layer", embed=embed, final_norm=None, taps=taps, lacks=POST_NORM),)
