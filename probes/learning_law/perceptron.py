"""The paper's perceptron: a linear classifier, training inputs that are spread, desired ones that are shifted.

Inputs of the training set are Gaussian with variance 3, those that are desired have mean one half and variance 1;
labels are the signs of a Gaussian teacher, the loss is logistic, training starts at zero. With Z the inputs times their
labels everything is two products with Z, which is ten times as fast as the general way; tests hold the two together.
Examples are drawn so that one coordinate of all of them lies together in memory: products with one or two vectors are
then half as long or less (`python -m tests.benchmarks learning_law`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from probes.learning_law.learners import Differentiable, Parameters, PerExample, Turn

TRAIN_VARIANCE: Final = 3.0
DESIRED_MEAN: Final = 0.5


class Sizes(NamedTuple):
    """Sizes of the data.

    Attributes:
        width: of an input.
        train: training examples.
        desired: examples whose loss is minimised.
        held_out: examples of the same law that nothing but the evaluation reads.
    """

    width: int
    train: int
    desired: int
    held_out: int


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Logistic regression on signed inputs, its derivatives in closed form.

    Attributes:
        train: inputs times labels.
        wanted: the same of the desired examples.
        unseen: the same of the held-out examples.
    """

    train: Float[Tensor, "examples width"]
    wanted: Float[Tensor, "desired width"]
    unseen: Float[Tensor, "held_out width"]
    symbols: int = 2

    @property
    def start(self) -> Parameters:
        """Zero: every label is as likely as the other."""
        return torch.zeros(self.train.shape[1], dtype=self.train.dtype)

    @property
    def n_examples(self) -> int:
        """Training examples."""
        return len(self.train)

    def gradient(self, at: Parameters, weights: PerExample) -> Parameters:
        """Gradient of the weighted sum of training losses."""
        return -(torch.sigmoid(-(at @ self.train.t())) * weights) @ self.train

    def along(self, at: Parameters, direction: Parameters) -> PerExample:
        """Derivative of every training loss along a direction."""
        margins, moved = torch.stack([at, direction]) @ self.train.t()
        return -torch.sigmoid(-margins) * moved

    def turn(self, at: Parameters, weights: PerExample, direction: Parameters) -> Turn:
        """Derivatives of every training loss and of the weighted gradient along a direction."""
        margins, moved = torch.stack([at, direction]) @ self.train.t()
        wrong = torch.sigmoid(-margins)
        losses = -wrong * moved
        return Turn(losses, (losses * (wrong - 1) * weights) @ self.train)

    def desired(self, at: Parameters) -> tuple[float, Parameters]:
        """Mean loss on the desired examples, and its gradient."""
        margins = at @ self.wanted.t()
        return softplus(-margins).mean().item(), -(torch.sigmoid(-margins) @ self.wanted) / len(self.wanted)

    def desired_loss(self, at: Parameters) -> float:
        """Mean loss on the desired examples."""
        return softplus(-(at @ self.wanted.t())).mean().item()

    def held_out_loss(self, at: Parameters) -> float:
        """Mean loss on the held-out examples."""
        return softplus(-(at @ self.unseen.t())).mean().item()

    def general(self) -> Differentiable:
        """The same learner with derivatives by `torch.func`."""
        return Differentiable(
            start=self.start,
            parts=[lambda at: softplus(-(self.train @ at))],
            wanted=lambda at: softplus(-(self.wanted @ at)).mean(),
            unseen=lambda at: softplus(-(self.unseen @ at)).mean(),
            n_examples=self.n_examples,
            symbols=self.symbols,
        )


def draw_perceptron(sizes: Sizes, rng: np.random.Generator) -> Perceptron:
    """Draw teacher and examples.

    >>> learner = draw_perceptron(Sizes(4, 10, 6, 5), np.random.default_rng(0))
    >>> learner.n_examples, round(learner.desired_loss(learner.start), 4)
    (10, 0.6931)
    """
    teacher = rng.standard_normal(sizes.width)  # its length changes no sign

    def signed(n: int, mean: float, variance: float) -> Tensor:
        inputs = mean + math.sqrt(variance) * rng.standard_normal((n, sizes.width))
        return torch.from_numpy(np.asfortranarray(inputs * np.sign(inputs @ teacher)[:, None]))

    return Perceptron(
        signed(sizes.train, 0.0, TRAIN_VARIANCE),
        signed(sizes.desired, DESIRED_MEAN, 1.0),
        signed(sizes.held_out, DESIRED_MEAN, 1.0),
    )
