"""Laboratory models in float64 throughout.

A Llama's norm and its softmax turn everything into float32 and back, whatever they are given, so that an adjoint
through them agrees with central differences to two digits only. Both are exchanged here for the same formulas in the
precision of their input.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from probes.errors import InputError

ATTENTION: Final = "causal_in_its_own_precision"
FAMILIES: Final = ("gpt2", "llama")


class Norm(nn.Module):
    """Root-mean-square norm of the last axis with a gain, in the precision of its input."""

    def __init__(self, norm: LlamaRMSNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Norm of a tensor."""
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: object, scaling: float, **_: object
) -> tuple[Tensor, Tensor]:
    """Causal attention; what fills a sentence up stands behind it, so that nothing else needs a mask."""
    groups = cast("int", module.num_key_value_groups)
    key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    times = query.shape[2]
    later = torch.ones(times, times, dtype=torch.bool).triu(1)
    weights = torch.softmax((query @ key.transpose(2, 3) * scaling).masked_fill(later, -torch.inf), dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def in_float64(module: PreTrainedModel, family: str) -> PreTrainedModel:
    """The same model, computing in float64 from its first layer to its last.

    Raises:
        InputError: if some part of its family computes in float32.
    """
    if family not in FAMILIES:
        raise InputError(
            f"a policy needs derivatives in float64, which {' and '.join(FAMILIES)} have throughout; got {family!r}"
        )
    module = module.double().eval()
    if family == "gpt2":
        module.set_attn_implementation("eager")  # the one whose forward derivatives are known to torch.func
        return module
    cast("Any", AttentionInterface).register(ATTENTION, _attend)
    module.set_attn_implementation(ATTENTION)
    parts = cast("list[tuple[str, nn.Module]]", [*module.named_modules()])
    for name, norm in parts:
        if isinstance(norm, LlamaRMSNorm):
            module.set_submodule(name, Norm(norm))
    return module
