"""Mamba, Mamba-2 and Falcon-Mamba: one mixer per block, no attention and no MLP.

The recurrent state itself is never a tensor of a forward pass (the scan keeps it in registers or in one buffer per
sequence); what the block reads out of it, gated, enters the mixer's output projection, and that is ``ssm_state``. A
fused kernel that bypasses the projection's module makes the site silent, and a silent site fails the batch.
"""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.table import Config, Layout, entering, family, leaving

NO_PARTS = "state-space blocks have no attention and no MLP; see ssm_state"
ABSENT: dict[S, str] = dict.fromkeys(
    (S.ATTN_Z, S.ATTN_OUT, S.RESID_MID, S.MLP_PRE, S.MLP_GATE, S.MLP_POST, S.MLP_OUT, S.ROUTER_LOGITS), NO_PARTS
)


@family("mamba", "mamba2", "falcon_mamba")
def mamba(_config: Config) -> tuple[Layout, ...]:
    """Mamba, Mamba-2, Falcon-Mamba."""
    taps = {
        S.RESID_PRE: entering(""),
        S.SSM_STATE: entering("mixer.out_proj"),
        S.RESID_POST: leaving(""),
    }
    return (Layout(blocks="layers", embed="embeddings", final_norm="norm_f", taps=taps, lacks=ABSENT),)
