"""T5: pre-norm encoder and decoder.

In the decoder ``attn_out`` is self-attention; cross-attention stands between it and ``resid_mid``. Both stacks look
tokens up in one shared module, so ``embed`` would be seen twice: use ``resid_pre.0``, which is the same tensor.
"""

from __future__ import annotations

from probes.models.taps.table import Config, Layout, Tap, entering, family, leaving
from probes.vocabulary.sites import SiteKind as S


def _block(heads: int, feed_forward: str) -> dict[S, Tap]:
    """One block whose MLP is the given sub-layer."""
    mlp = f"{feed_forward}.DenseReluDense"
    return {
        S.RESID_PRE: entering(""),
        S.ATTN_Z: entering("layer.0.SelfAttention.o", heads=heads),
        S.ATTN_OUT: leaving("layer.0.SelfAttention"),
        S.RESID_MID: entering(f"{feed_forward}.layer_norm"),
        S.MLP_PRE: leaving(f"{mlp}.wi", f"{mlp}.wi_1"),
        S.MLP_GATE: leaving(f"{mlp}.wi_0"),
        S.MLP_POST: entering(f"{mlp}.wo"),
        S.MLP_OUT: leaving(mlp),
        S.RESID_POST: leaving(""),
    }


@family("t5")
def t5(config: Config) -> tuple[Layout, ...]:
    """T5, plain and gated."""
    lacks = {S.EMBED: "both stacks share one embedding module; resid_pre.0 is the same tensor"}
    return tuple(
        Layout(
            blocks=f"{stack}.block",
            embed=None,
            final_norm=f"{stack}.final_layer_norm",
            taps=_block(config.num_heads, feed_forward),
            lacks=lacks,
            stack=stack,
        )
        for stack, feed_forward in (("encoder", "layer.1"), ("decoder", "layer.2"))
    )
