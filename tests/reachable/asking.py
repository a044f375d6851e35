"""Texts to ask about, commands as a user gives them, and rows of their tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
import yaml
from typer.testing import CliRunner

from analyses.cli import app
from tests.probes.conftest import uneven
from tests.probes.models.families import FAMILIES
from tests.reachable import plain
from tests.trained import HELD_OUT, PROSE
from tests.trained.stories import stories

PER_LEVEL, AGAIN = 16, 4  # texts of a level, and those that stand there again
LAST_BLOCK = 3
SUITE = {"file": "items.jsonl", "name": "items", "id": "id", "prompt": "text", "answer": "answer"}
SUITE |= {"level": "level", "split": "split", "axis": "reasoning_steps"}


def run(*words: object, status: int = 0) -> str:
    """What one command prints."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    return result.output


def items() -> list[dict[str, Any]]:
    """Beginnings of stories, longer ones, and prose that is like none of them; some with the text of another."""
    rng = np.random.default_rng(0)
    told, prose = stories(2 * PER_LEVEL, HELD_OUT), " ".join(PROSE).split()
    rows = []
    for k in range(PER_LEVEL):
        start = int(rng.integers(len(prose) - 40))
        texts = told[k].split()[: rng.integers(8, 20)], told[PER_LEVEL + k].split()[: rng.integers(12, 32)]
        for level, words in enumerate((*texts, prose[start : start + rng.integers(6, 24)]), 1):
            row = {"id": f"{level}-{k}", "text": " ".join(words[:-1]), "answer": words[-1], "level": level}
            rows.append(row | {"split": "shifted" if level == 3 else "in"})
    return rows + [{**rows[3 * k], "id": f"1-again-{k}", "answer": "cake."} for k in range(AGAIN)]


def spec_in(folder: Path, keys: dict[str, Any]) -> Path:
    """The items and a spec over them."""
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items())))
    (folder / "spec.yaml").write_text(yaml.safe_dump(keys))
    return folder / "spec.yaml"


def bare(folder: Path, *words: object, **keys: Any) -> str:
    """A sweep of these keys alone, into ``run`` in the folder; what it prints."""
    return run("sweep", spec_in(folder, keys), "--out", folder / "run", *words)


def of(rows: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows with these values."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def values(swept: Any, rows: pd.DataFrame) -> np.ndarray:
    """One value per item, in the order of the file."""
    return rows.astype({"example_id": str}).set_index("example_id")["value"][swept.order].to_numpy()


def in_set(swept: Any, metric: str, level: int, **where: object) -> float:
    """One measure of one group's states after the final norm, at its last tokens."""
    split = "shifted" if level == 3 else "in"
    asked = {"site": "final_norm", "position": "last", "basis": "raw", "unit": -1} | where
    return of(swept.sets, metric=metric, group=f"items/{split}/{level}", **asked)["value"].item()


def saved(name: str, folder: Path) -> Path:
    """A tiny model of random weights that reads the words of the trained one, as a folder."""
    prefix, suffix, settings = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**settings | {"vocab_size": 512})
    uneven(getattr(transformers, prefix + suffix)(config).eval()).save_pretrained(folder)
    plain.stories().tokenizer.save_pretrained(folder)
    return folder
