"""What a comparison of solved examples costs: scoring beside a forward pass, and a beginning that is read once.

Models have the shape of SmolLM2-135M and random weights. Scoring is what the first sweep of a comparison does with an
item: sparsity of the last state, loss of the text, entropy of the prediction after it. *Bare* is the same pass with the
logits of every token, each chunk thrown away. Questions of an arm that shows all of them the same examples are read
behind one copy of these; beside it the same prompts read whole. Processor times of one thread, medians of interleaved
rounds.
"""

import statistics
from collections.abc import Iterator

import numpy as np

from probes.capture import continuing as sharing
from probes.capture import read_batch
from probes.curriculum.scores import OUTCOMES
from probes.models import LoadedModel
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from sparsity import parse_metrics
from tests.benchmarks.capture import seconds, smollm2_shape
from tests.benchmarks.familiarity import bare_logits

ROUNDS = 3
POOL = (16, 32)  # items x tokens
EXAMPLES, OWN, QUESTIONS = 80, 25, 16  # tokens of the examples and of a question, questions of a batch


def asked(model: LoadedModel, n: int, first: list[int], own: int) -> list[Prompt]:
    """Random prompts behind a beginning, each with a target of two tokens."""
    rng = np.random.default_rng(0)
    rows = [[*first, *row] for row in rng.integers(0, model.vocabulary, (n, own + 2)).tolist()]
    end = len(first) + own
    return [Prompt(tuple(row), 0, False, (-1,) * len(row), end, span=(0, end)) for row in rows]


def scoring(model: LoadedModel) -> Iterator[str]:
    """Ratio of scoring to the bare pass."""
    prompts = asked(model, POOL[0], [], POOL[1])
    sites, metrics = resolve_sites(model, ["final_norm"]), parse_metrics(["hoyer"])
    outcomes = tuple(OUTCOMES.values())
    ratios: list[float] = []
    for _ in range(ROUNDS + 1):
        before = seconds(lambda: bare_logits(model, prompts))
        own = seconds(
            lambda: read_batch(model, prompts, sites=sites, positions="last", metrics=metrics, outcomes=outcomes)
        )
        after = seconds(lambda: bare_logits(model, prompts))
        ratios.append(own / ((before + after) / 2))
    what = f"scoring {POOL[0]} items of {POOL[1]} tokens over the bare pass (<= 1.05)"
    yield f"{statistics.median(ratios[1:]):8.3f}  {what}"


def beginnings(model: LoadedModel) -> Iterator[str]:
    """Ratio of questions read behind examples that are read once to whole prompts."""
    first = np.random.default_rng(1).integers(0, model.vocabulary, EXAMPLES).tolist()
    prompts = asked(model, QUESTIONS, first, OWN)
    sites, metrics = resolve_sites(model, ["final_norm"]), parse_metrics(["hoyer"])

    def read() -> object:
        return read_batch(model, prompts, sites=sites, positions="last", metrics=metrics, outcomes=("correct",))

    search = sharing.shared_beginning
    ratios: list[float] = []
    for _ in range(ROUNDS + 1):
        once = seconds(read)
        sharing.shared_beginning = lambda _: 0
        try:
            whole = seconds(read)
        finally:
            sharing.shared_beginning = search
        ratios.append(once / whole)
    tokens = (EXAMPLES + QUESTIONS * OWN) / (QUESTIONS * (EXAMPLES + OWN))
    yield (
        f"{statistics.median(ratios[1:]):8.3f}  {QUESTIONS} questions of {OWN} tokens behind examples of {EXAMPLES} "
        f"read once, over whole prompts (of their tokens {tokens:.2f} are read)"
    )


def main() -> None:
    """Print both."""
    model = smollm2_shape()
    for line in (*scoring(model), *beginnings(model)):
        print(line, flush=True)
