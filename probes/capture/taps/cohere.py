"""Cohere (Command R): a Llama block with attention and MLP side by side behind one norm."""

from __future__ import annotations

from probes.capture.sites import SiteKind as S
from probes.capture.taps.llama import llama_block
from probes.capture.taps.table import PARALLEL, Config, Layout, family


@family("cohere", "cohere2")
def cohere(config: Config) -> tuple[Layout, ...]:
    """Command R, Command R7B."""
    taps = {kind: tap for kind, tap in llama_block(config).items() if kind is not S.RESID_MID}
    return (Layout(blocks="layers", embed="embed_tokens", final_norm="norm", taps=taps, lacks=PARALLEL),)
