r"""Search for the policy of least area under the desired loss, by projected gradients through the whole training.

With J the sum of desired losses L after steps 1 to T, and G the gradients of the training losses, one pass backwards
gives the derivative by every weight at every step (the adjoint method):

.. math::
    \lambda_T = \nabla L(\theta_T), \quad
    \partial J / \partial \gamma_t = -\eta\, G(\theta_t)^\top \lambda_{t+1}, \quad
    \lambda_t = \nabla L(\theta_t) + \lambda_{t+1} - \eta H_{\gamma_t}(\theta_t) \lambda_{t+1}

What stands in the middle, per step size, is the exact first-order worth of an example at a step: where a policy is
optimal, it is equal for all examples that have weight, and no larger for those that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from probes.learning_law.descent import DivergedError, Path, Policy, Weights, backwards, scheduled, train
from probes.learning_law.learners import Learner, PerExample
from probes.learning_law.simplex import project

GROW: Final = 1.1
SHRINK: Final = 0.5

Tell = Callable[["Search"], None]


def worths(learner: Learner, policy: Policy, path: Path, rate: float) -> Iterator[tuple[int, Tensor, PerExample]]:
    """First-order worth of every example at every step, from the last step to the first.

    Yields:
        The number of the step, the parameters before it, and by how much the sum of desired losses falls per step size
        and weight given to each example.
    """
    following = torch.zeros_like(path.end)  # what later losses ask for
    for step, at, weights in backwards(learner, policy, path, rate):
        if step == path.n_steps - 1:
            following = learner.desired(path.end)[1]
        turn = learner.turn(at, weights, following)
        yield step, at, turn.losses
        if step:
            following = learner.desired(at)[1] + following - rate * turn.gradient


def policy_gradient(learner: Learner, weights: Weights, path: Path, rate: float) -> Weights:
    """Derivative of the sum of desired losses by every weight."""
    found = torch.empty_like(weights)
    for step, _, worth in worths(learner, scheduled(weights), path, rate):
        found[step] = -rate * worth
    return found


@dataclass(frozen=True, eq=False)
class Search:
    """State of a search.

    Attributes:
        weights: the best policy so far.
        size: of the next step of the policy; NaN before the first.
        totals: sum of desired losses of the best policy after each epoch, that of equal weights first.
    """

    weights: Weights
    size: float
    totals: tuple[float, ...]

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.totals) - 1


def begin(learner: Learner, n_steps: int) -> Search:
    """Equal weights at every step."""
    n = learner.n_examples
    return Search(torch.full((n_steps, n), 1 / n, dtype=learner.start.dtype), float("nan"), ())


def search(
    learner: Learner,
    state: Search,
    *,
    rate: float,
    epochs: int,
    every: int | None = None,
    tell: Tell | None = None,
) -> Search:
    """Improve a policy for so many epochs in all; a search that was interrupted goes on from its state.

    An epoch proposes one step down the gradient, projected to the simplex, trains under it, and takes it if the sum of
    desired losses fell; the size of the step grows then, and is halved otherwise. The first is a weight of all
    examples divided by the standard deviation of the gradient, so that it moves weights by about their own size.

    Args:
        learner: what is trained.
        state: where the search begins.
        rate: step size of the training.
        epochs: proposals in all.
        every: steps between parameters that a training keeps.
        tell: told of every epoch.

    Raises:
        DivergedError: if the training under equal weights diverges.
    """
    n_steps = len(state.weights)

    def trained(weights: Weights) -> Path:
        return train(learner, scheduled(weights), rate=rate, n_steps=n_steps, every=every, held_out=False)

    path = trained(state.weights)
    state = state if state.totals else replace(state, totals=(path.total,))
    gradient: Weights | None = None
    while state.epochs < epochs:
        if gradient is None:
            gradient = policy_gradient(learner, state.weights, path, rate)
        if np.isnan(state.size):
            spread = learner.n_examples * gradient.std(correction=0).item()
            state = replace(state, size=1 / spread if spread else 0.0)
        proposed = torch.from_numpy(project((state.weights - state.size * gradient).numpy()))
        try:
            new = trained(proposed)
        except DivergedError:
            new = None
        if new is not None and new.total < state.totals[-1]:
            state, path, gradient = Search(proposed, GROW * state.size, (*state.totals, new.total)), new, None
        else:
            state = Search(state.weights, SHRINK * state.size, (*state.totals, state.totals[-1]))
        if tell is not None:
            tell(state)
    return state
