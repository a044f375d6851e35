"""A comparison over a model of a few words, small enough to follow by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.curriculum.spec import CurriculumSpec, parse_curriculum

Make = Callable[..., CurriculumSpec]
NOUNS = ("cat", "dog", "mat", "tree")
VERBS = ("sat", "ran", "saw")
NUMBERS = ("one", "two", "three", "four", "five", "six")


def rows(n: int) -> list[dict[str, Any]]:
    """Items of five to seven tokens, no two alike, with stated difficulty and four choices."""
    every = [
        (noun, verb, number, more)
        for more in ("", " and", " under", " on")
        for noun in NOUNS
        for verb in VERBS
        for number in NUMBERS
    ]
    return [
        {
            "id": str(index),
            "text": f"the {noun} {verb} {number}{more}",
            "answer": NOUNS[index * 7 % 4],
            "options": list(NOUNS),
            "level": index % 3,
        }
        for index, (noun, verb, number, more) in enumerate(every[:n])
    ]


@pytest.fixture
def make(tmp_path: Path, tiny_model: Path) -> Make:
    """Write items and give a comparison over them, with changes."""

    def build(items: list[dict[str, Any]] | None = None, /, **changes: Any) -> CurriculumSpec:
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items or rows(40))))
        entry = {"file": "items.jsonl", "name": "words", "id": "id", "answer": "answer", "choices": "options"}
        content = {
            "models": [str(tiny_model)],
            "pool": {**entry, "level": "level", "axis": "steps"},
            "n_pool": 12,
            "n_questions": 5,
            "seeds": 2,
            "levels": 3,
            "near": 6,
            "retrieval": "states",
            "gap": " ",
        }
        return parse_curriculum(content | changes, folder=tmp_path)

    return build
