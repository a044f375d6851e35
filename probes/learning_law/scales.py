"""The trials: the paper's sizes, and smaller ones in which everything can be seen in minutes.

A desired set of the paper is an eighth of the training set or less, which a policy can learn by heart. The trials have
a large desired set, and a small one beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from probes.errors import InputError
from probes.learning_law.arms import Trial
from probes.learning_law.language import LANGUAGES, language_trial
from probes.learning_law.perceptron import Perceptron, Sizes, draw_perceptron


class Plan(NamedTuple):
    """Sizes of a trial.

    Attributes:
        sizes: of the perceptron's data.
        few: desired examples of the small desired set.
        rate: step size.
        n_steps: of the training.
        epochs: of the search.
    """

    sizes: Sizes
    few: int
    rate: float
    n_steps: int
    epochs: int


PERCEPTRONS: Final = {
    "small": Plan(Sizes(64, 1024, 2048, 2048), 256, 0.1, 300, 150),
    "paper": Plan(Sizes(128, 4096, 4096, 4096), 512, 0.1, 2000, 500),
}


def perceptron_trial(plan: Plan, seed: int) -> Trial:
    """Draw a perceptron trial.

    Raises:
        InputError: if the training or a desired set would be empty.
    """
    if min(*plan.sizes, plan.few) < 1 or plan.few > plan.sizes.desired:
        raise InputError(
            f"every set needs an example or more, and the small desired set no more than the large one: got {plan}"
        )
    learner = draw_perceptron(plan.sizes, np.random.default_rng(seed))
    small = replace(learner, wanted=learner.wanted[: plan.few])
    direct = Perceptron(learner.wanted, learner.wanted, learner.unseen)
    n_desired = (plan.sizes.desired, plan.few)
    # its parameters are few beside the policy, so all are kept
    return Trial(learner, small, direct, plan.rate, plan.n_steps, plan.epochs, 1, n_desired)


TRIALS: Final[dict[str, tuple[dict[str, Any], Callable[[Any, int], Trial]]]] = {
    "perceptron": (PERCEPTRONS, perceptron_trial),
    "language": (LANGUAGES, language_trial),
}
