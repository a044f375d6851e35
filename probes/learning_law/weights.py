"""Weights of sentences under a policy as a table for a sweep, and as a detector of spoiled sentences.

The table is a file of JSON lines that a sweep reads as a suite on the axis ``policy_weight``, so that the weight of a
sentence can be held against the sparsity of a model's states on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float, Int

from probes.errors import InputError
from probes.learning_law.arms import UNIFORM
from probes.learning_law.results import LARGE, example_weights, load_arm, load_search, slug, write
from probes.learning_law.sentences import Sentences

FILE: Final = "weights.jsonl"
SPEC: Final = "sweep.yaml"
AXIS: Final = "policy_weight"


class Found(NamedTuple):
    """Areas under the ROC curve of spoiled sentences, of one seed; .5 finds nothing.

    Attributes:
        seed: of sentences and model.
        weight: by little weight under the policy.
        contribution: by little contribution (the paper's) in training with equal weights, which needs no search.
    """

    seed: int
    weight: float
    contribution: float


def found_by(score: Float[np.ndarray, " n"], spoiled: Int[np.ndarray, " n"]) -> float:
    """Probability that a spoiled sentence scores below another; ties count half. NaN without both kinds.

    >>> found_by(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1, 1, 0, 0]))
    0.875
    """
    bad, good = score[spoiled == 1], score[spoiled == 0]
    if not len(bad) or not len(good):
        return float("nan")
    apart = good[None, :] - bad[:, None]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def rows_of(folder: Path, seed: int, read: Sentences) -> tuple[list[dict[str, Any]], Found]:
    """Rows of one seed, and how well they find what was spoiled.

    Args:
        folder: of the seed.
        seed: its number.
        read: its sentences.

    Raises:
        InputError: if its search has not ended or was of other sentences.
    """
    state = load_search(folder / f"search-{LARGE}.safetensors")
    path = folder / "arms" / f"{slug(UNIFORM)}.json"
    if state is None or not path.exists():
        raise InputError(f"{folder} holds no finished policy: let `sparsity learning-law` end first")
    weights = example_weights(state).numpy()
    if len(weights) != len(read.train):
        raise InputError(f"{folder} holds weights of {len(weights)} sentences, not of these {len(read.train)}")
    seen = load_arm(path).seen
    worth = np.zeros(len(weights)) if seen is None else seen.now.mean(axis=0)
    rows = [
        {
            "id": f"{seed}-{number}",
            "text": text,
            "policy_weight": float(weight),
            "contribution": float(own),
            "spoiled": spoiled,
            "seed": seed,
        }
        for number, (text, weight, own, spoiled) in enumerate(
            zip(read.train, weights, worth, read.spoiled, strict=True)
        )
    ]
    spoiled = np.array(read.spoiled)
    return rows, Found(seed, found_by(weights, spoiled), found_by(worth, spoiled))


def write_weights(folder: Path, drawn: Sequence[tuple[int, Sentences]]) -> tuple[Path, list[Found]]:
    """The table of every seed in its folder, and of all in one file, a sentence once: its first seed's.

    Args:
        folder: of the language learner.
        drawn: seeds and their sentences.
    """
    rows: dict[str, dict[str, Any]] = {}
    found: list[Found] = []
    for seed, read in drawn:
        own, how = rows_of(folder / f"seed-{seed}", seed, read)
        found.append(how)
        _write_rows(folder / f"seed-{seed}" / FILE, own)
        for row in own:
            rows.setdefault(row["text"], row)
    _write_rows(folder / FILE, [*rows.values()])
    return folder / FILE, found


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def write_spec(folder: Path, seed: int, models: Sequence[Path]) -> Path:
    """A sweep of a learner's checkpoints on the sentences that it was trained on.

    Args:
        folder: of the seed.
        seed: its number.
        models: checkpoints in it.
    """
    suite = {"file": FILE, "name": f"weights_{seed}", "prompt": "text", "level": AXIS, "axis": AXIS}
    told = {
        "models": [f"./{model.relative_to(folder)}" for model in models],
        "suites": [suite],
        "positions": "mean",
        "familiarity": ["bits_per_byte"],
        "controls": "none",
    }
    write(folder / SPEC, yaml.safe_dump(told, sort_keys=False).encode())
    return folder / SPEC


def seeds_of(folder: Path) -> list[int]:
    """Seeds that a folder holds.

    Raises:
        InputError: if it holds none.
    """
    found = sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*"))
    if not found:
        raise InputError(f"{folder} holds no seed: run `sparsity learning-law --learner language --out ...` first")
    return found
