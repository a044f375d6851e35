"""Gradient descent under a policy: at every step a weight for every training example.

With the same weight for all, every step is plain gradient descent on the mean loss, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from probes.errors import InputError
from probes.learning_law.learners import Learner, Parameters, PerExample

FAR: Final = 100.0
"""Times the first loss; above it a training of steps that are too long only comes to no number later."""

Policy = Callable[[int, Tensor], Tensor]
"""Weights of the training examples at a step (from 0), given the parameters before it."""
Weights = Float[Tensor, "steps examples"]


class DivergedError(InputError):
    """A loss that is no number any more, or a hundred times what it was at the start.

    Attributes:
        step: after which it was found.
    """

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"training diverged: the desired loss is {loss:.3g} after step {step}; take a smaller --step")
        self.step = step


class Path(NamedTuple):
    """A training.

    Attributes:
        desired: loss on the desired examples after 0, 1, 2, ... steps.
        held_out: loss on the held-out examples likewise; NaN where nobody asked for it.
        kept: parameters after every `every`-th step, the start first.
        every: steps from one to the next.
        end: parameters after the last step.
    """

    desired: Float[Tensor, " steps_and_start"]
    held_out: Float[Tensor, " steps_and_start"]
    kept: list[Parameters]
    every: int
    end: Parameters

    @property
    def n_steps(self) -> int:
        """Steps of the training."""
        return len(self.desired) - 1

    @property
    def total(self) -> float:
        """Sum of the desired losses after each step: what a policy minimises."""
        return math.fsum(cast("list[float]", self.desired[1:].tolist()))


def uniform(learner: Learner) -> Policy:
    """The same weight for every example, always."""
    weights = torch.full((learner.n_examples,), 1 / learner.n_examples, dtype=learner.start.dtype)
    return lambda _step, _at: weights


def scheduled(weights: Weights) -> Policy:
    """Weights that were written down for every step."""
    return lambda step, _at: weights[step]


def descend(learner: Learner, at: Parameters, weights: PerExample, rate: float) -> Parameters:
    """Parameters after one step."""
    return at - rate * learner.gradient(at, weights)


def train(
    learner: Learner, policy: Policy, *, rate: float, n_steps: int, every: int | None = None, held_out: bool = True
) -> Path:
    """Train from the start.

    Args:
        learner: what is trained.
        policy: weights of its examples.
        rate: step size.
        n_steps: steps.
        every: steps between parameters that are kept; by default the root of the steps, so that keeping them and
            computing the rest again between two of them both need memory of that order.
        held_out: read the held-out examples after every step, too.

    Raises:
        DivergedError: if a desired loss is not finite, or a hundred times what it was.
    """
    every = every or math.isqrt(max(n_steps - 1, 0)) + 1
    at = learner.start
    desired, unseen, kept = [learner.desired_loss(at)], list[float](), [at]
    if held_out:
        unseen.append(learner.held_out_loss(at))
    for step in range(n_steps):
        at = descend(learner, at, policy(step, at), rate)
        desired.append(learner.desired_loss(at))
        if not math.isfinite(desired[-1]) or desired[-1] > FAR * desired[0]:
            raise DivergedError(step + 1, desired[-1])
        if held_out:
            unseen.append(learner.held_out_loss(at))
        if (step + 1) % every == 0 and step + 1 < n_steps:
            kept.append(at)
    told = unseen or [math.nan] * len(desired)
    curves = [torch.tensor(own, dtype=torch.float64) for own in (desired, told)]
    return Path(curves[0], curves[1], kept, every, at)


def backwards(learner: Learner, policy: Policy, path: Path, rate: float) -> Iterator[tuple[int, Parameters, Tensor]]:
    """Steps from the last to the first with the parameters before each and its weights, computed again from those kept.

    Yields:
        The number of the step from 0, the parameters before it, and the weights of the examples.
    """
    for number in reversed(range(len(path.kept))):
        first = number * path.every
        last = min(first + path.every, path.n_steps)
        points, told = [path.kept[number]], list[Tensor]()
        for step in range(first, last):
            told.append(policy(step, points[-1]))
            if step + 1 < last:
                points.append(descend(learner, points[-1], told[-1], rate))
        for step in reversed(range(first, last)):
            yield step, points.pop(), told.pop()
