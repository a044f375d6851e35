"""A small sweep over the tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.sweep.spec import SweepSpec, parse_spec

MakeSpec = Callable[..., SweepSpec]


@pytest.fixture
def make_spec(tmp_path: Path, tiny_model: Path) -> MakeSpec:
    """Write ``n`` items of growing length and give the spec over them, with changes."""

    def make(n: int = 7, **changes: Any) -> SweepSpec:
        nouns = ("cat", "dog", "mat", "tree")
        rows = [
            {
                "id": str(i),
                "text": "the cat sat on the mat and saw " + " ".join(nouns[j % 4] for j in range(i + 1)),
                "answer": nouns[i % 4],
                "level": i % 3,
                "split": "in" if i % 2 else "shifted",
            }
            for i in range(n)
        ]
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
        suite = {
            "file": "items.jsonl",
            "name": "items",
            "id": "id",
            "answer": "answer",
            "level": "level",
            "split": "split",
            "axis": "steps",
        }
        content = {
            "models": [str(tiny_model)],
            "suites": [suite],
            "metrics": ["gini", "hoyer"],
            "positions": ["last", "mean", "all"],
            "controls": "none",  # tests of the controls ask for them
        }
        return parse_spec(content | changes, folder=tmp_path)

    return make
