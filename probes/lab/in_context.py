"""A learner within its prompt, for which it is known what order and choice of examples do.

An item lists three words and has one of four answers: ``alpha kilo lima > tango``. The answer belongs to the item's
rule, and nothing in the list says which that is: it has to be seen in solved examples before. The learner reads long
rows of items in which the rule mostly stays what it was (a Markov chain), so it answers by the *last* example.

Two worlds of questions for it. In the *planted* one an item's stated difficulty is its rule, and questions are of the
two hard ones: examples of the question's own level help, and so does the hardest example standing last. In the *bare*
one all items have one rule, seven in ten follow it, and difficulty is a label drawn at random: no choice can help.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from probes.errors import InputError
from probes.lab.families import build_model
from probes.lab.lexicon import SYMBOLS
from probes.lab.optimizers import build_update
from probes.lab.recipe import Recipe
from probes.lab.tokenizer import build_tokenizer
from probes.lab.training import OnStep

POINTER: Final = ">"
END: Final = "."
WORDS: Final = 3
RULES: Final = 4
ANSWERS: Final = tuple(SYMBOLS[-RULES:])
LISTED: Final = tuple(SYMBOLS[:-RULES])
STAYS: Final = 0.8  # probability that the next item has the rule of the one before
FOLLOW: Final = 0.7  # share of the bare world's items that follow its rule
BARE_RULE: Final = 1
ITEMS: Final = 8  # of a row of training
LEARNER: Final = Recipe(
    d_model=64,
    n_layers=2,
    n_heads=4,
    d_mlp=128,
    context_length=64,
    batch_size=32,
    learning_rate=2e-3,
    warmup_steps=50,
)
WORLDS: Final = ("planted", "bare")


class Asked(NamedTuple):
    """An item: words that say nothing, and the rule that decides the answer.

    >>> Asked(("alpha", "kilo", "lima"), 0).text, Asked(("alpha", "kilo", "lima"), 0).answer == ANSWERS[0]
    ('alpha kilo lima >', True)
    """

    words: tuple[str, ...]
    rule: int

    @property
    def text(self) -> str:
        """The item up to its answer."""
        return f"{' '.join(self.words)} {POINTER}"

    @property
    def answer(self) -> str:
        """The answer of the rule."""
        return ANSWERS[self.rule]


def draw_item(rng: np.random.Generator, rule: int) -> Asked:
    """Different words."""
    return Asked(tuple(LISTED[int(i)] for i in rng.permutation(len(LISTED))[:WORDS]), rule)


def draw_row(rng: np.random.Generator) -> str:
    """A row of items in which the rule mostly stays what it was."""
    rule, told = int(rng.integers(RULES)), list[str]()
    for _ in range(ITEMS):
        item = draw_item(rng, rule)
        told.append(f"{item.text} {item.answer} {END}")
        rule = rule if rng.random() < STAYS else int(rng.integers(RULES))
    return " ".join(told)


def train_learner(out: Path, *, seed: int = 0, steps: int = 400, on_step: OnStep | None = None) -> float:
    """Train the learner and write it to a new folder.

    Args:
        out: the folder.
        seed: of weights and rows.
        steps: optimizer steps.
        on_step: told of every step.

    Returns:
        Mean loss of the last tenth of training, in nats per answer.

    Raises:
        InputError: if the folder is there already.
    """
    if out.exists():
        raise InputError(f"{out} is there already: name another folder")
    tokenizer = build_tokenizer((*SYMBOLS, POINTER, END))
    rows, weights = np.random.default_rng(seed).spawn(2)
    module = build_model(LEARNER, vocabulary=len(tokenizer), seed=int(weights.integers(2**31)))
    update = build_update(module, LEARNER)
    stride = WORDS + 3
    answers = torch.arange(1, ITEMS) * stride + WORDS + 1  # before each answer but the first, <bos> counted
    losses: list[float] = []
    for step in range(1, steps + 1):
        texts = [draw_row(rows) for _ in range(LEARNER.batch_size)]
        ids = torch.tensor(cast("list[list[int]]", tokenizer(texts)["input_ids"]))
        logits: torch.Tensor = module(input_ids=ids, use_cache=False).logits
        loss = cross_entropy(logits[:, answers].flatten(0, 1), ids[:, answers + 1].flatten())
        loss.backward()
        update(LEARNER.learning_rate * min(1.0, step / LEARNER.warmup_steps, 2 * (1 - step / (steps + 1))))
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, steps, losses[-1])
    module.eval()
    module.save_pretrained(out)
    tokenizer.save_pretrained(out)
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def draw_world(name: str, n: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """Items of a world, the ones to be shown and the ones to be asked marked apart.

    Args:
        name: ``planted`` or ``bare``.
        n: items of each kind.
        rng: the source of chance.
    """
    rows: list[dict[str, object]] = []
    for kind in ("pool", "question"):
        for number in range(n):
            level = int(rng.integers(RULES)) if kind == "pool" else int(rng.integers(RULES // 2, RULES))
            rule = level
            if name == "bare":
                follows = kind == "question" or rng.random() < FOLLOW
                rule = BARE_RULE if follows else int(rng.integers(RULES))
            item = draw_item(rng, rule)
            given = {"id": f"{kind}-{number}", "kind": kind, "text": item.text, "answer": item.answer}
            rows.append({**given, "choices": list(ANSWERS), "level": level})
    return rows


def write_worlds(folder: Path, *, n: int, seed: int = 0) -> list[Path]:
    """Write both worlds and a spec for each beside the learner in a folder; the specs."""
    rng = np.random.default_rng([seed, 1])
    found: list[Path] = []
    for name in WORLDS:
        rows = draw_world(name, n, rng)
        for kind in ("pool", "question"):
            _write(folder / f"{name}-{kind}.jsonl", [row for row in rows if row["kind"] == kind])
        spec = folder / f"{name}.yaml"
        spec.write_text(SPEC.format(world=name, n_pool=n // 2), encoding="utf-8")
        found.append(spec)
    return found


def _write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


SPEC: Final = """\
models: [learner]
pool: {{file: {world}-pool.jsonl, name: {world}, id: id, prompt: text, answer: answer, choices: choices,
  level: level, axis: difficulty}}
questions: {{file: {world}-question.jsonl, name: {world}-asked, id: id, prompt: text, answer: answer, choices: choices,
  level: level, axis: difficulty}}
n_pool: {n_pool}
seeds: 3
k: 2
gap: " . "
retrieval: states
arms: [random, similarity, sparsity, loss, shuffled, difficulty, difficulty_easy_to_hard, difficulty_hard_to_easy]
"""
