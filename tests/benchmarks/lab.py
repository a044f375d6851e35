"""What the laboratory's bookkeeping costs: training tokens per CPU second beside the bare loop of the same model."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from probes.lab.optimizers import BETAS, EPS
from probes.lab.recipe import REFERENCE, SMALL, Recipe
from probes.lab.stream import split_batches
from probes.lab.training import prepare, train
from probes.suites.example import SUITES

STEPS = 60
REPEATS = 3
BUDGET = 0.95


class EnoughError(Exception):
    """The steps that are timed are done."""


def main() -> None:
    """Print a table."""
    for name, recipe in (("small", SMALL), ("reference", REFERENCE)):
        ours, bare = [], []
        for _ in range(REPEATS):
            ours.append(timed_training(recipe))
            bare.append(timed_bare_loop(recipe))
        ratio = statistics.median(ours) / statistics.median(bare)
        print(
            f"{name:12} training {statistics.median(ours):9.0f} tokens per CPU second, "
            f"bare loop {statistics.median(bare):9.0f}, "
            f"{ratio:.3f} x (budget >= {BUDGET})"
        )
    for name in ("lab_recall", "lab_chains_matched", "lab_addition"):
        began = time.process_time()
        n_items = len(SUITES[name].items(np.random.default_rng(0)))
        print(f"{name:20} {n_items / (time.process_time() - began):9.0f} items/s")


def timed_training(recipe: Recipe) -> float:
    """Tokens per CPU second of `train`, from its second step on."""
    began: list[float] = []

    def watch(step: int, *_: object) -> None:
        began.append(time.process_time())
        if step > STEPS:
            raise EnoughError

    with tempfile.TemporaryDirectory() as folder, suppress(EnoughError):
        train(recipe, Path(folder) / "model", on_step=watch)
    return _tokens(recipe) / (began[-1] - began[0])


def timed_bare_loop(recipe: Recipe) -> float:
    """The same steps, written as one would in a notebook."""
    course = prepare(recipe)
    module = course.module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, betas=BETAS, eps=EPS, weight_decay=recipe.weight_decay)
    batches = [torch.from_numpy(batch) for batch in split_batches(course.stream, recipe.batch_size)][: STEPS + 1]
    began = time.process_time()
    for step, batch in enumerate(batches):
        if step == 1:
            began = time.process_time()
        ids = course.sentences[batch]
        logits = module(input_ids=ids[:, :-2], use_cache=False, logits_to_keep=1).logits
        cross_entropy(logits[:, -1], ids[:, -2]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return _tokens(recipe) / (time.process_time() - began)


def _tokens(recipe: Recipe) -> int:
    """Tokens read in the timed steps."""
    return STEPS * recipe.batch_size * 5
