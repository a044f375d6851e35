"""Accuracy of a model on the suites of the laboratory, by level, beside that of shortcuts on the same items.

An accuracy alone does not say that a task was solved: an answer may be the word that stood there last, or the one that
is right most often. Each row gives the share of items answered by the model (most likely next token is the target's
first) and by each shortcut of `probes.lab.links.solver`; a level is mastered only by what beats all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.errors import InputError
from probes.lab.links.solver import SHORTCUTS, shortcut
from probes.suites.example import SUITES, Example

PREFIX: Final = "lab_"
NOT_ASKED: Final = ("lab_exposure", "lab_addition", "lab_addition_matched")
"""The first belongs to the reference model; sums are for models that know digits."""
BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One level of one suite.

    Attributes:
        suite: its name.
        level: its label.
        split: ``in`` within what the graded model was taught.
        n_items: items asked.
        correct: share that the model answers.
        shortcuts: shares that recency, copy and frequency answer.
    """

    suite: str
    level: str
    split: str
    n_items: int
    correct: float
    shortcuts: tuple[float, ...]


def grade_model(path: Path, *, limit: int, suites: Sequence[str] = ()) -> Iterator[Grade]:
    """Ask a model of the laboratory every suite of it, or the named ones.

    Args:
        path: a model directory.
        limit: items per level.
        suites: names; all that a laboratory model can be asked by default.

    Raises:
        InputError: if there is no model.
    """
    if not (path / "config.json").is_file():
        raise InputError(f"{path} holds no model")
    module: Any = AutoModelForCausalLM.from_pretrained(path, local_files_only=True).eval()
    tokenizer = cast("Any", AutoTokenizer.from_pretrained(path, local_files_only=True))
    for name in suites or [each for each in SUITES if each.startswith(PREFIX) and each not in NOT_ASKED]:
        by_level: dict[str, list[Example]] = {}
        for item in SUITES[name].items(np.random.default_rng(0)):
            by_level.setdefault(item.example.level_name, []).append(item.example)
        for label, found in by_level.items():
            asked = found[:limit]
            targets = [example.target or "" for example in asked]
            right = answers(module, tokenizer, [example.text for example in asked])
            yield Grade(
                suite=name,
                level=label,
                split=asked[0].split,
                n_items=len(asked),
                correct=_share(right, [int(tokenizer(t, add_special_tokens=False)["input_ids"][0]) for t in targets]),
                shortcuts=tuple(
                    _share([shortcut(kind, example.text, _pool(example, found)) for example in asked], targets)
                    for kind in SHORTCUTS
                ),
            )


def answers(module: Any, tokenizer: Any, prompts: Sequence[str]) -> list[int]:  # noqa: ANN401  any causal model
    """The most likely next token after each prompt."""
    found: dict[int, int] = {}
    encoded = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    for length in sorted({len(ids) for ids in encoded}):  # prompts of one length share a batch, so that none is padded
        places = [place for place, ids in enumerate(encoded) if len(ids) == length]
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            with torch.inference_mode():
                logits = module(input_ids=torch.tensor([encoded[place] for place in batch]), logits_to_keep=1).logits
            found.update(zip(batch, logits[:, -1].argmax(-1).tolist(), strict=True))
    return [found[place] for place in range(len(prompts))]


def _pool(example: Example, found: Sequence[Example]) -> list[str]:
    """Answers to questions of the same kind: the same relation, where there is one."""
    relation = dict(example.attrs).get("relation")
    return [each.target or "" for each in found if dict(each.attrs).get("relation") == relation]


def _share(given: Sequence[object], right: Sequence[object]) -> float:
    return sum(a == b for a, b in zip(given, right, strict=True)) / len(right)
