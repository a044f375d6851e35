"""GPT-J: attention and MLP side by side behind one norm."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import PARALLEL, Config, Layout, entering, family, leaving


@family("gptj")
def gptj(config: Config) -> tuple[Layout, ...]:
    """GPT-J."""
    taps = {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("attn.out_proj", heads=config.num_attention_heads),
        S.ATTN_OUT: leaving("attn"),
        S.MLP_PRE: leaving("mlp.fc_in"),
        S.MLP_POST: entering("mlp.fc_out"),
        S.MLP_OUT: leaving("mlp"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="h", embed="wte", final_norm="ln_f", taps=taps, lacks=PARALLEL),)
