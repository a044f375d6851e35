"""RWKV-4: time mixing (a recurrence) and channel mixing (an MLP with squared ReLU behind a receptance gate).

The first block normalises the embedding before anything is added to it, so ``resid_pre`` is read behind that norm.
``ssm_state`` is what time mixing reads out of its state, gated by the receptance.
"""

from __future__ import annotations

from probes.models.taps.table import Config, Layout, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S

RECURRENT = "time mixing is a recurrence, not attention; see ssm_state"


@family("rwkv")
def rwkv(_config: Config) -> tuple[Layout, ...]:
    """RWKV-4."""
    taps = {
        S.RESID_PRE: entering("ln1"),
        S.SSM_STATE: entering("attention.output"),
        S.RESID_MID: entering("ln2"),
        S.MLP_PRE: leaving("feed_forward.key"),
        S.MLP_POST: entering("feed_forward.value"),
        S.MLP_OUT: leaving("feed_forward"),
        S.RESID_POST: leaving(""),
    }
    lacks = {S.ATTN_Z: RECURRENT, S.ATTN_OUT: RECURRENT}
    return (Layout(blocks="blocks", embed="embeddings", final_norm="ln_out", taps=taps, lacks=lacks),)
