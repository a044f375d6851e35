"""Ways to train with the same start and the same number of steps: the policy, and what a sceptic asks for beside it.

Equal weights with larger steps cost nothing and need no policy. Training on the desired examples themselves asks what
the other examples are for. Weighting by contributions as they are now needs no way back through training. A policy
whose examples were exchanged tells what its schedule does without its choice of examples. A small desired set tells
what a policy has merely learned by heart.

Work is counted in gradients of the whole training set over those of one training with equal weights: a derivative
along a direction counts as one more, a Hessian product as two, the desired set by its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from probes.learning_law.contributions import Contributions, acceleration, area, contributions
from probes.learning_law.descent import DivergedError, Path, Policy, Weights, scheduled, train, uniform
from probes.learning_law.learners import Learner
from probes.learning_law.search import Search

UNIFORM: Final = "equal weights"
FASTER: Final = (3.0, 10.0, 30.0)  # step sizes over that of the policy
POLICY: Final = "policy"
SMALL: Final = "policy, small desired set"
SHUFFLED: Final = "policy, examples exchanged"
ONLINE: Final = "contributions as they are"
DIRECT: Final = "desired set alone"
EXCHANGE: Final = 7  # of the seed that exchanges examples
SHARE: Final = 1 / 8  # of examples that get weight online


@dataclass(frozen=True, eq=False)
class Trial:
    """Learners and settings of one seed.

    Attributes:
        learner: training examples and a large desired set.
        small: the same training examples and a small desired set.
        direct: the desired examples as training examples.
        rate: step size of the training.
        n_steps: of it.
        epochs: of the search for a policy.
        every: steps between parameters that are kept; None for the root of the steps.
        n_desired: desired examples of the large and of the small set.
        looks: how often the search is looked at on its way.
    """

    learner: Learner
    small: Learner
    direct: Learner
    rate: float
    n_steps: int
    epochs: int
    every: int | None
    n_desired: tuple[int, int]
    looks: int = 10

    def trained(self, learner: Learner, policy: Policy, rate: float) -> Path:
        """One training."""
        return train(learner, policy, rate=rate, n_steps=self.n_steps, every=self.every)


class Arm(NamedTuple):
    """One way to train, of one seed.

    Attributes:
        name: which.
        desired: loss on the desired examples after 0, 1, ... steps; empty where training diverged.
        held_out: loss on held-out examples of the same law.
        diverged: after which step a loss was no number, or a hundred times the first; -1 where none was.
        work: gradients of the training set over those of equal weights, what was spent before it included.
        seen: contributions, where they were read.
    """

    name: str
    desired: list[float]
    held_out: list[float]
    diverged: int
    work: float
    seen: Contributions | None

    def row(self, conventional: Arm) -> dict[str, Any]:
        """Numbers of the arm for a table, beside those of equal weights."""
        if self.diverged >= 0:
            return {"arm": self.name, "work": self.work, "diverged": self.diverged}
        curve = torch.tensor(self.held_out, dtype=torch.float64)
        faster = acceleration(curve, conventional.held_out[-1])
        return {
            "arm": self.name,
            "desired_area": area(self.desired),
            "area": area(self.held_out),
            "end": self.held_out[-1],
            "acceleration": faster,
            "work": self.work,
            "after_all_work": 1 / (self.work - 1 + 1 / faster) if self.work >= 1 else faster / self.work,
            "diverged": self.diverged,
            **({} if self.seen is None else self.seen.equality._asdict()),
        }


def online(learner: Learner) -> Policy:
    """All weight, evenly, on the eighth of examples that contribute most to the desired loss at this moment."""
    chosen = max(1, round(SHARE * learner.n_examples))

    def weigh(_step: int, at: Tensor) -> Tensor:
        now = learner.along(at, learner.desired(at)[1])
        weights = torch.zeros_like(now)
        weights[now.topk(chosen).indices] = 1 / chosen
        return weights

    return weigh


def exchanged(weights: Weights, rng: np.random.Generator) -> Weights:
    """A policy whose examples were exchanged, the same way at all steps."""
    return weights[:, torch.from_numpy(rng.permutation(weights.shape[1]))]


def search_work(trial: Trial, found: Search, n_desired: int) -> float:
    """Gradients that a search has cost: a training per epoch, and a way back for every policy that was improved."""
    improved = sum(after < before for before, after in zip(found.totals, found.totals[1:], strict=False))
    back = 2 + n_desired / trial.learner.n_examples + (0 if trial.every == 1 else 1)
    return 1 + found.epochs + improved * back


def arms(trial: Trial, large: Search, small: Search) -> dict[str, Callable[[], Arm]]:
    """Every arm by name, each run when it is called."""
    own, share = trial.learner, trial.n_desired[0] / trial.learner.n_examples
    searched = (search_work(trial, found, n) for found, n in zip((large, small), trial.n_desired, strict=True))
    costs = dict(zip((POLICY, SMALL), searched, strict=True))
    shuffled = exchanged(large.weights, np.random.default_rng(EXCHANGE))
    plans: list[tuple[str, Learner, Policy, float, float, bool]] = [
        (UNIFORM, own, uniform(own), 1.0, 1.0, True),
        *((f"{UNIFORM}, steps x {times:g}", own, uniform(own), times, 1.0, False) for times in FASTER),
        (POLICY, own, scheduled(large.weights), 1.0, 1 + costs[POLICY], True),
        (SMALL, trial.small, scheduled(small.weights), 1.0, 1 + costs[SMALL], True),
        (SHUFFLED, own, scheduled(shuffled), 1.0, 1 + costs[POLICY], False),
        (ONLINE, own, online(own), 1.0, 2.0 + share, True),
        (DIRECT, trial.direct, uniform(trial.direct), 1.0, share, False),
    ]
    return {
        name: _arm(trial, name, learner, policy, times, work, look)
        for name, learner, policy, times, work, look in plans
    }


def _arm(
    trial: Trial, name: str, learner: Learner, policy: Policy, times: float, work: float, look: bool
) -> Callable[[], Arm]:
    def run() -> Arm:
        rate = times * trial.rate
        try:
            path = trial.trained(learner, policy, rate)
        except DivergedError as error:
            if name == UNIFORM:
                raise
            return Arm(name, [], [], error.step, work, None)
        seen = contributions(learner, policy, path, rate) if look else None
        return Arm(name, path.desired.tolist(), path.held_out.tolist(), -1, work, seen)

    return run


def milestones(epochs: int, n: int) -> Iterator[int]:
    """Epochs of a search at which it is looked at: about so many, evenly, the first 0 and the last the end.

    >>> [*milestones(150, 10)][:3], [*milestones(4, 10)]
    ([0, 15, 30], [0, 1, 2, 3, 4])
    """
    step = max(1, math.ceil(epochs / n))
    yield from range(0, epochs, step)
    yield epochs
