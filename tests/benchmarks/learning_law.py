"""The search for a policy: an epoch beside the bare training, memory with checkpoints, and the paper's size.

Processor times of one thread, medians of interleaved rounds. An epoch trains under a policy, goes back once, and
projects a step, as one whose proposal is taken does. Of memory the parameter vectors held at once are counted.
"""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from probes.learning_law.descent import backwards, scheduled, train, uniform
from probes.learning_law.perceptron import Sizes, draw_perceptron
from probes.learning_law.scales import PERCEPTRONS, Plan
from probes.learning_law.search import begin, policy_gradient
from probes.learning_law.simplex import project

STEPS = (100, 400, 1600)


def clock(run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def epochs(plan: Plan, rounds: int) -> tuple[float, float]:
    """Seconds of the bare training and of an epoch with everything it does, medians."""
    learner = draw_perceptron(plan.sizes, np.random.default_rng(0))
    bare, own, weights = [], [], begin(learner, plan.n_steps).weights
    given = {"rate": plan.rate, "every": 1, "n_steps": plan.n_steps, "held_out": False}

    def epoch() -> None:
        path = train(learner, scheduled(weights), **given)
        gradient = policy_gradient(learner, weights, path, plan.rate)
        project((weights - gradient / (learner.n_examples * gradient.std(correction=0).item())).numpy())

    for _ in range(rounds):
        bare.append(clock(lambda: train(learner, uniform(learner), **given)))
        own.append(clock(epoch))
    return statistics.median(bare), statistics.median(own)


def held(n_steps: int) -> int:
    """Most parameter vectors held at once on the way back."""
    learner = draw_perceptron(Sizes(2, 2, 2, 2), np.random.default_rng(0))
    path = train(learner, uniform(learner), rate=0.1, n_steps=n_steps, held_out=False)
    steps = [step for step, _, _ in backwards(learner, uniform(learner), path, 0.1)]
    assert steps == [*reversed(range(n_steps))]
    return len(path.kept) + path.every


def lines(rounds: int) -> Iterator[str]:
    bare, own = epochs(PERCEPTRONS["small"], rounds)
    yield f"{own / bare:8.2f}  an epoch of the search over the bare training, small scale (theory: about 3)"
    yield f"{own:8.2f} s  an epoch, small scale"
    paper = PERCEPTRONS["paper"]
    bare, own = epochs(paper, 1)
    yield f"{own / bare:8.2f}  the same at the paper's size"
    few = epochs(paper._replace(sizes=paper.sizes._replace(desired=paper.few)), 1)[1]
    minutes = [paper.epochs * seconds / 60 for seconds in (own, few)]
    yield f"{minutes[0]:8.1f} min  {paper.epochs} epochs at the paper's size, large desired set"
    yield f"{minutes[1]:8.1f} min  the same, {paper.few} desired examples"
    yield f"{sum(minutes):8.1f} min  both searches of a seed, one after the other on one core (<= 60)"
    for n_steps in STEPS:
        yield f"{held(n_steps):8d}  parameter vectors held for {n_steps} steps (twice the root: {2 * n_steps**0.5:.0f})"


def main(rounds: int = 3) -> None:
    """Print the costs with what is promised of each."""
    torch.set_num_threads(1)
    for line in lines(rounds):
        print(line, flush=True)
