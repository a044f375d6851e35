"""What can be derived safely without a table: the blocks, what enters and leaves them, the final norm.

The blocks are the one list whose length is the configured number of layers. The final norm is the norm that stands
beside that list under one of the names in use. Everything inside a block stays unknown: a module called ``mlp`` may or
may not return what is added to the residual stream, and a wrong tensor is worse than a missing one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from torch import nn

from probes.capture.sites import SiteKind
from probes.capture.taps.table import Config, Layout, descend, entering, leaving
from probes.errors import InputError

FINAL_NORMS: Final = (
    "norm",
    "ln_f",
    "final_layer_norm",
    "final_layernorm",
    "final_norm",
    "norm_f",
    "ln_out",
)
DEPTHS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def derive(base: nn.Module, config: Config) -> Layout:
    """Lay out a model that no table knows.

    Args:
        base: the model without its head.
        config: its configuration.

    Returns:
        Block inputs and outputs, and the final norm where one stands beside the blocks.

    Raises:
        InputError: if no list of modules, or more than one, has the configured number of layers.
    """
    depth = next((int(d) for name in DEPTHS if (d := getattr(config, name, None)) is not None), None)
    named = cast("Iterable[tuple[str, nn.Module]]", base.named_modules())
    lists = {name: module for name, module in named if isinstance(module, nn.ModuleList) and len(module)}
    found = [name for name, module in lists.items() if len(module) == depth]
    # lists inside blocks (experts, say) may happen to be as long as the model is deep: keep the outermost
    found = [name for name in found if not any(name.startswith(f"{other}.") for other in lists if other != name)]
    if len(found) != 1:
        raise InputError(
            f"no known blocks in {type(base).__name__}: expected one list of {depth} modules, found {found or 'none'}; "
            "hand in a transformers model, or add a table to probes/capture/taps"
        )
    parent = found[0].rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    norm = next((f"{prefix}{name}" for name in FINAL_NORMS if descend(base, f"{prefix}{name}") is not None), None)
    unknown = "no table for this architecture: only block inputs and outputs and the final norm are derived"
    return Layout(
        blocks=found[0],
        embed=None,
        final_norm=norm,
        taps={SiteKind.RESID_PRE: entering(""), SiteKind.RESID_POST: leaving("")},
        lacks=dict.fromkeys(SiteKind, unknown),
    )
