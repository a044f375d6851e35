r"""Contributions of examples during a training, in the paper's sense and exactly, and how equal they are.

The paper's contribution is the dot product of an example's gradient with that of the desired loss: how fast the desired
loss falls *now* when the example gets weight. Its law says that all examples with weight contribute equally in the
optimum. What the optimum makes equal is another product, with the gradient of *all later* desired losses
(`probes.learning_law.search.worths`). Both are here, so that the law can be held against both.

Equality is the mean, weighted by the policy, over the standard deviation around it of the examples that have weight;
the similarity of a training is the mean over its steps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probes.learning_law.descent import Path, Policy
from probes.learning_law.learners import Learner, PerExample
from probes.learning_law.search import worths

MOMENTS: Final = (0.0, 0.25, 0.5, 0.75)  # of a training, at which contributions are kept


class Equality(NamedTuple):
    """Equality of contributions over a whole training.

    Attributes:
        similarity: of the paper's contributions.
        exact_similarity: of the exact ones.
        correlation: of the two, over the examples that have weight, mean over steps.
        residual: largest standard deviation of the exact ones over the size of their mean; 0 in the optimum.
        typical_residual: the median over steps instead.
        zero: share of weights that are zero.
        zero_of_harmful: the same of examples whose contribution (the paper's) is not positive.
        zero_of_exactly_harmful: the same of those whose exact contribution is not positive.
        undefined: steps at which fewer than two examples have weight; they are left out of means.
    """

    similarity: float
    exact_similarity: float
    correlation: float
    residual: float
    typical_residual: float
    zero: float
    zero_of_harmful: float
    zero_of_exactly_harmful: float
    undefined: int


class Contributions(NamedTuple):
    """Contributions at a few moments, and their equality over time.

    Attributes:
        steps: the moments.
        now: contributions in the paper's sense at each.
        exact: exact ones.
        weights: of the policy.
        over_time: similarity of both at every step.
        equality: over the whole training.
    """

    steps: tuple[int, ...]
    now: Float[np.ndarray, "moments examples"]
    exact: Float[np.ndarray, "moments examples"]
    weights: Float[np.ndarray, "moments examples"]
    over_time: Float[np.ndarray, "steps 2"]
    equality: Equality


def similarity(contributions: PerExample, weights: PerExample) -> float:
    """Weighted mean over the standard deviation around it; infinite where all are equal, NaN of fewer than two.

    >>> similarity(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([0.5, 0.5, 0.0]))
    2.0
    """
    own, on = contributions[weights > 0], weights[weights > 0]
    if len(own) < 2:
        return math.nan
    mean = (on @ own) / on.sum()
    return (mean / (own - mean).square().mean().sqrt()).item()


def contributions(learner: Learner, policy: Policy, path: Path, rate: float) -> Contributions:
    """Go through a training once more, from its end, and look at every example at every step."""
    steps = tuple(dict.fromkeys(int(moment * path.n_steps) for moment in MOMENTS))
    kept: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    over_time = np.full((path.n_steps, 2), math.nan)
    correlations: list[float] = []
    harmful, exactly, all_of_them = Counter[bool](), Counter[bool](), Counter[bool]()
    for step, at, exact in worths(learner, policy, path, rate):
        now, weights = learner.along(at, learner.desired(at)[1]), policy(step, at)
        if step in steps:
            kept[step] = now, exact, weights
        over_time[step] = similarity(now, weights), similarity(exact, weights)
        on = weights > 0
        if on.sum() > 2:
            correlations.append(torch.corrcoef(torch.stack([now[on], exact[on]]))[0, 1].item())
        for counter, own in ((harmful, on[now <= 0]), (exactly, on[exact <= 0]), (all_of_them, on)):
            counter[True] += int(own.sum())
            counter[False] += len(own) - int(own.sum())
    there = over_time[np.isfinite(over_time).all(axis=1)]
    residuals = 1 / np.abs(there[:, 1])
    equality = Equality(
        similarity=float(there[:, 0].mean()) if len(there) else math.nan,
        exact_similarity=float(there[:, 1].mean()) if len(there) else math.nan,
        correlation=float(np.nanmean(correlations)) if correlations else math.nan,
        residual=float(residuals.max(initial=0.0)) if len(there) else math.nan,
        typical_residual=float(np.median(residuals)) if len(there) else math.nan,
        zero=_share(all_of_them),
        zero_of_harmful=_share(harmful),
        zero_of_exactly_harmful=_share(exactly),
        undefined=path.n_steps - len(there),
    )
    now, exact, weights = (np.stack([kept[step][number].numpy() for step in steps]) for number in range(3))
    return Contributions(steps, now, exact, weights, over_time, equality)


def _share(on: Mapping[bool, int]) -> float:
    """Share of weights that are zero; NaN of none."""
    whole = on[True] + on[False]
    return on[False] / whole if whole else math.nan


def area(losses: Float[Tensor, " steps_and_start"] | Sequence[float]) -> float:
    """Mean loss after each step: the area under the curve over the number of steps."""
    told = torch.as_tensor(losses, dtype=torch.float64)[1:]
    return told.mean().item()


def compression_ratio(losses: Float[Tensor, " steps_and_start"], symbols: int) -> float:
    """Length of what is learned if nothing is known, over its length when it is coded while it is learned.

    >>> round(compression_ratio(torch.full((5,), math.log(2)), 2), 6)
    1.0
    """
    return math.log(symbols) / area(losses)


def acceleration(losses: Float[Tensor, " steps_and_start"], target: float) -> float:
    """Steps of the training over those after which its loss is at the target, or NaN if it never is.

    >>> acceleration(torch.tensor([0.7, 0.5, 0.3, 0.2, 0.1]), 0.3)
    2.0
    """
    there = (losses[1:] <= target).nonzero()
    return (len(losses) - 1) / (there[0].item() + 1) if len(there) else math.nan
