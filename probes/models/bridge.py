"""TransformerLens's bridge as a source: a model that the user already has, under the hooks it already has.

A ``TransformerBridge`` (TransformerLens 4) does not copy a transformers model. It stands its own components in the
places of the model's modules and runs the model's own weights, so the tables of :mod:`probes.models.taps` find every
site on the wrapped modules as they do on bare ones, and one collector serves both. Hooks that the user has put on the
bridge fire while we look: inside ``with bridge.hooks(...)`` what is measured is the model as changed by them.

What is refused is a bridge that is no longer the model that people run:

* processed weights (folded norms, centred writing weights), which leave the predictions as they are and make the
  states another network's;
* the few architectures whose bridge computes something else than transformers does.

A bridge computes attention itself, whatever kernel the wrapped model is configured for. It keeps the last attention
pattern of every layer on families whose queries, keys and values are one matrix; that memory is the bridge's.

TransformerLens is never imported here: whoever has a bridge has imported it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from probes.errors import InputError

PACKAGE: Final = "transformer_lens"
ATTENTION: Final = "transformer_lens"  # what stands in the place of a kernel's name


class Wrapped(NamedTuple):
    """The model inside a bridge."""

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None


def is_bridge(model: object) -> bool:
    """True if an object is TransformerLens's bridge, found without importing TransformerLens."""
    return any(kind.__name__ == "TransformerBridge" and _is_theirs(kind) for kind in type(model).__mro__)


def is_inside_bridge(module: nn.Module) -> bool:
    """True if a bridge has replaced the modules of a transformers model."""
    return any(_is_theirs(type(part)) for part in module.modules())


def unwrap(bridge: object) -> Wrapped:
    """The transformers model that a bridge wraps, with the bridge's components in place.

    Raises:
        InputError: if its weights are processed, if it wraps no transformers model, or if it is known to compute
            something else than the model it wraps.
    """
    opened: Any = bridge
    if getattr(opened, "_weights_processed", False):
        raise InputError(
            "this bridge's weights are processed (norms folded, writing weights centred): its predictions are the "
            "model's and its states are not, so their sparsity is another network's; hand in a freshly booted bridge, "
            "or use enable_compatibility_mode(no_processing=True)"
        )
    module = getattr(opened, "original_model", None)
    if not isinstance(module, PreTrainedModel):
        raise InputError(
            f"expected a bridge around a transformers model, not around {type(module).__name__}; "
            "boot it with TransformerBridge.boot_transformers(...)"
        )
    fault = _known_fault(module)
    if fault:
        raise InputError(f"TransformerLens's bridge of {type(module).__name__} {fault}; hand in the model itself")
    return Wrapped(module, cast("PreTrainedTokenizerBase | None", getattr(opened, "tokenizer", None)))


def _known_fault(module: PreTrainedModel) -> str:
    """Known error in the bridge of this architecture (found by comparing it with the bare model); empty if none."""
    config: Any = module.config
    if config.model_type == "openai-gpt":
        return "loses the causal mask when it is given an attention mask"
    if config.model_type == "falcon" and config.alibi:
        return "does not scale its position biases as transformers does"
    return ""


def _is_theirs(kind: type) -> bool:
    return kind.__module__.split(".", 1)[0] == PACKAGE
