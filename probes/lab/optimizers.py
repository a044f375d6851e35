"""AdamW, and a twin of it that knows no coordinates of the residual stream.

Problem. AdamW divides each weight's gradient by that weight's own running magnitude, so it treats the axes in which the
weights happen to be written as special; a transformer without norm gains does not. Sparsity is a statement about axes:
an effect of exposure on it that is there under AdamW may be a trace of the optimizer.

Idea. The twin shares the second moment along the residual axis of every weight matrix and freezes the norm gains. If
the residual stream of the initial weights is rotated, all that happens in training is rotated with it and every loss is
what it was. What AdamW shows and the twin does not comes from the optimizer, not from the data.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from probes.lab.recipe import Recipe

Update = Callable[[float], None]
"""Changes the weights by their gradients at a learning rate, then forgets the gradients."""

BETAS = (0.9, 0.95)
EPS = 1e-8
WRITES_TO_RESIDUAL = ("o_proj.weight", "down_proj.weight")


def build_update(module: nn.Module, recipe: Recipe) -> Update:
    """The recipe's optimizer over the weights of a Llama."""
    return _adamw(module, recipe) if recipe.optimizer == "adamw" else _equivariant(module, recipe)


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


def _adamw(module: nn.Module, recipe: Recipe) -> Update:
    optimizer = torch.optim.AdamW(module.parameters(), betas=BETAS, eps=EPS, weight_decay=recipe.weight_decay)

    def update(learning_rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad()

    return update


def _equivariant(module: nn.Module, recipe: Recipe) -> Update:
    matrices: list[tuple[nn.Parameter, int, Tensor, Tensor]] = []
    for name, weight in module.named_parameters():
        axis = residual_axis(name, weight)
        weight.requires_grad_(axis is not None)
        if axis is not None:
            first = torch.zeros_like(weight)
            matrices.append((weight, axis, first, first.sum(axis, keepdim=True)))
    steps = 0

    @torch.no_grad()
    def update(learning_rate: float) -> None:
        nonlocal steps
        steps += 1
        for weight, axis, first, second in matrices:
            gradient = weight.grad
            if gradient is None:
                continue
            first.lerp_(gradient, 1 - BETAS[0])
            second.lerp_(gradient.square().mean(axis, keepdim=True), 1 - BETAS[1])
            scale = (second / (1 - BETAS[1] ** steps)).sqrt() + EPS
            weight.mul_(1 - learning_rate * recipe.weight_decay)
            weight.sub_(learning_rate / (1 - BETAS[0] ** steps) * first / scale)
            weight.grad = None

    return update
