"""A learner: losses of the training examples and of what is desired, as pure functions of one vector of parameters.

Everything that a policy needs follows from these by `torch.func`: the gradient of weighted losses, and, along one
direction, the change of every example's loss and of that gradient (forward over reverse, a product with the Hessian
without the Hessian).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, grad_and_value, jvp

Parameters = Float[Tensor, " parameters"]
PerExample = Float[Tensor, " examples"]
Losses = Callable[[Tensor], Tensor]


class Turn(NamedTuple):
    """Derivatives along a direction in parameter space.

    Attributes:
        losses: derivative of every training example's loss.
        gradient: derivative of the gradient of the weighted losses.
    """

    losses: PerExample
    gradient: Parameters


@runtime_checkable
class Learner(Protocol):
    """Anything that can be trained under a policy.

    Attributes:
        start: parameters before the first step.
        n_examples: training examples.
        symbols: what one prediction chooses among; its logarithm is the loss of knowing nothing.
    """

    @property
    def start(self) -> Parameters: ...  # noqa: D102
    @property
    def n_examples(self) -> int: ...  # noqa: D102
    @property
    def symbols(self) -> int: ...  # noqa: D102

    def gradient(self, at: Parameters, weights: PerExample) -> Parameters:
        """Gradient of the weighted sum of training losses."""
        ...

    def along(self, at: Parameters, direction: Parameters) -> PerExample:
        """Derivative of every training loss along a direction."""
        ...

    def turn(self, at: Parameters, weights: PerExample, direction: Parameters) -> Turn:
        """Derivatives of every training loss and of the weighted gradient along a direction."""
        ...

    def desired(self, at: Parameters) -> tuple[float, Parameters]:
        """Mean loss on the desired examples, and its gradient."""
        ...

    def desired_loss(self, at: Parameters) -> float:
        """Mean loss on the desired examples."""
        ...

    def held_out_loss(self, at: Parameters) -> float:
        """Mean loss on the held-out examples."""
        ...


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A learner whose derivatives are taken by `torch.func`.

    Attributes:
        start: parameters before the first step.
        parts: losses of the training examples, part after part, so that memory holds one part at a time.
        wanted: mean loss on the desired examples.
        unseen: mean loss on the held-out examples.
        n_examples: training examples of all parts together.
        symbols: what one prediction chooses among.
    """

    start: Parameters
    parts: Sequence[Losses]
    wanted: Losses
    unseen: Losses
    n_examples: int
    symbols: int

    def gradient(self, at: Parameters, weights: PerExample) -> Parameters:
        """Gradient of the weighted sum of training losses."""
        first, *rest = [cast("Tensor", grad(_weighted(part, own))(at)) for part, own in self._with(weights)]
        return sum(rest, first)

    def along(self, at: Parameters, direction: Parameters) -> PerExample:
        """Derivative of every training loss along a direction."""
        return torch.cat([cast("Tensor", _moved(part, at, direction)) for part in self.parts])

    def turn(self, at: Parameters, weights: PerExample, direction: Parameters) -> Turn:
        """Derivatives of every training loss and of the weighted gradient along a direction."""
        found: list[Turn] = []
        for part, own in self._with(weights):
            both = grad(_weighted_and_each(part, own), has_aux=True)
            gradient, losses = cast("tuple[Tensor, Tensor]", _moved(both, at, direction))
            found.append(Turn(losses, gradient))
        return Turn(torch.cat([one.losses for one in found]), sum((one.gradient for one in found[1:]), found[0][1]))

    def desired(self, at: Parameters) -> tuple[float, Parameters]:
        """Mean loss on the desired examples, and its gradient."""
        gradient, loss = cast("tuple[Tensor, Tensor]", grad_and_value(self.wanted)(at))
        return loss.item(), gradient

    def desired_loss(self, at: Parameters) -> float:
        """Mean loss on the desired examples."""
        with torch.no_grad():
            return self.wanted(at).item()

    def held_out_loss(self, at: Parameters) -> float:
        """Mean loss on the held-out examples."""
        with torch.no_grad():
            return self.unseen(at).item()

    def _with(self, weights: PerExample) -> list[tuple[Losses, Tensor]]:
        """Parts with the weights of their examples."""
        if len(self.parts) == 1:
            return [(self.parts[0], weights)]
        sizes = [-(-self.n_examples // len(self.parts))] * len(self.parts)
        sizes[-1] = self.n_examples - sum(sizes[:-1])
        return [*zip(self.parts, torch.split(weights, sizes), strict=True)]


def _moved(of: Callable[[Tensor], object], at: Tensor, direction: Tensor) -> Any:  # noqa: ANN401  as it came
    """Derivative along a direction."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)  # torch's own rules, first use
        return jvp(of, (at,), (direction,))[1]


def _weighted(part: Losses, weights: PerExample) -> Losses:
    return lambda at: (weights * part(at)).sum()


def _weighted_and_each(part: Losses, weights: PerExample) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def both(at: Tensor) -> tuple[Tensor, Tensor]:
        losses = part(at)
        return (weights * losses).sum(), losses

    return both
