"""AdamW, and its rotation-equivariant counterpart, which knows no coordinates of the residual stream.

Problem. AdamW divides each weight's gradient by that weight's own running magnitude, so it treats the axes in which the
weights happen to be written as special; a transformer without norm gains does not. Sparsity is a statement about axes:
an effect of exposure on it that is there under AdamW may be a trace of the optimizer.

Idea. The twin shares the second moment along the residual axis of every weight matrix and freezes the norm gains. If
the residual stream of the initial weights is rotated, all that happens in training is rotated with it and every loss is
what it was. What AdamW shows and the twin does not comes from the optimizer, not from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from probes.errors import InputError
from probes.lab.recipe import Recipe

BETAS = (0.9, 0.95)
EPS = 1e-8
WRITES_TO_RESIDUAL = ("o_proj.weight", "down_proj.weight")


def build_update(module: nn.Module, recipe: Recipe) -> Update:
    """The recipe's optimizer over the weights of a model: called with a learning rate, it takes a step.

    Raises:
        InputError: if the recipe asks for the twin of a family whose residual axes are not known here.
    """
    if recipe.optimizer == "adamw":
        return AdamW(module, recipe)
    if recipe.family != "llama":
        raise InputError(f"the equivariant optimiser is for family llama only, got {recipe.family}")
    return Equivariant(module, recipe)


def residual_axis(name: str, weight: Tensor) -> int | None:
    """The axis of a Llama weight that runs along the residual stream; None for norm gains.

    >>> residual_axis("model.layers.0.mlp.down_proj.weight", torch.zeros(8, 32))
    0
    >>> residual_axis("lm_head.weight", torch.zeros(50, 8))
    1
    """
    if weight.ndim == 1:
        return None
    return 0 if name.endswith(WRITES_TO_RESIDUAL) else 1


class AdamW:
    """PyTorch's AdamW over all weights."""

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._names = [name for name, _ in module.named_parameters()]
        self._inner = torch.optim.AdamW(module.parameters(), betas=BETAS, eps=EPS, weight_decay=recipe.weight_decay)

    def __call__(self, learning_rate: float) -> None:
        """Take one step."""
        for group in self._inner.param_groups:
            group["lr"] = learning_rate
        self._inner.step()
        self._inner.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Both running moments of every weight that has had a gradient."""
        known = cast("dict[int, dict[str, Tensor]]", self._inner.state_dict()["state"])
        named = [(self._names[index], values) for index, values in known.items()]
        moments = {f"first.{name}": values["exp_avg"] for name, values in named}
        return moments | {f"second.{name}": values["exp_avg_sq"] for name, values in named}

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take the moments over."""
        whole = self._inner.state_dict()
        whole["state"] = {
            index: {
                "step": torch.tensor(float(steps)),
                "exp_avg": state[f"first.{name}"],
                "exp_avg_sq": state[f"second.{name}"],
            }
            for index, name in enumerate(self._names)
            if f"first.{name}" in state
        }
        self._inner.load_state_dict(whole)


class _Moments(NamedTuple):
    name: str
    weight: nn.Parameter
    axis: int
    first: Tensor
    second: Tensor


class Equivariant:
    """The twin: one second moment for all coordinates along the residual axis; norm gains stay as they are."""

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._decay = recipe.weight_decay
        self._steps = 0
        self._moments: list[_Moments] = []
        for name, weight in module.named_parameters():
            axis = residual_axis(name, weight)
            weight.requires_grad_(axis is not None)
            if axis is not None:
                first = torch.zeros_like(weight)
                self._moments.append(_Moments(name, weight, axis, first, first.sum(axis, keepdim=True)))

    @torch.no_grad()
    def __call__(self, learning_rate: float) -> None:
        """Take one step."""
        self._steps += 1
        for _, weight, axis, first, second in self._moments:
            gradient = weight.grad
            if gradient is None:
                continue
            first.lerp_(gradient, 1 - BETAS[0])
            second.lerp_(gradient.square().mean(axis, keepdim=True), 1 - BETAS[1])
            scale = (second / (1 - BETAS[1] ** self._steps)).sqrt() + EPS
            weight.mul_(1 - learning_rate * self._decay)
            weight.sub_(learning_rate / (1 - BETAS[0] ** self._steps) * first / scale)
            weight.grad = None

    def state(self) -> dict[str, Tensor]:
        """Both running moments of every matrix."""
        moments = {f"first.{each.name}": each.first for each in self._moments}
        return moments | {f"second.{each.name}": each.second for each in self._moments}

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take the moments over."""
        self._steps = steps
        for each in self._moments:
            each.first.copy_(state[f"first.{each.name}"])
            each.second.copy_(state[f"second.{each.name}"])


Update = AdamW | Equivariant
"""Changes the weights by their gradients at a learning rate, then forgets the gradients."""
