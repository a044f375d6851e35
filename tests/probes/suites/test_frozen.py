"""Frozen suites: what is read is what was written, whoever made it."""

import json
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites.files import FileSuite
from probes.suites.frozen import FrozenSuite, freeze
from probes.suites.shifts.instructions import WordingShift
from probes.suites.shifts.shift_suite import Tools
from probes.sweep.spec import parse_spec


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    rows = [{"q": f"{number} plus one?", "a": str(number + 1), "steps": number or None} for number in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = FileSuite(file=str(tmp_path / "rows.jsonl"), name="rows", prompt="q", answer="a")
    shift = WordingShift(name="worded", shift="wording", of=source, matched=True)
    suite = shift.suite(Tools(owner="words", count_tokens=lambda text: len(text.split())))
    assert freeze(suite, np.random.default_rng(0), tmp_path / "frozen.jsonl") == 20
    return tmp_path


def test_what_is_read_is_what_was_written(frozen: Path) -> None:
    source = FileSuite(
        file=str(frozen / "rows.jsonl"), name="rows", prompt="q", answer="a", level="steps", axis="steps"
    )
    suite = source.suite()
    freeze(suite, np.random.default_rng(0), frozen / "plain.jsonl")
    again = FrozenSuite(frozen=str(frozen / "plain.jsonl"), name="rows").suite()
    before, after = (each.items(np.random.default_rng(0)) for each in (suite, again))
    assert again.axis == suite.axis
    assert [item.example_id for item in after] == [item.example_id for item in before]
    assert [item.example.content_hash() for item in after] == [item.example.content_hash() for item in before]


def test_matched_items_need_no_tokenizer_once_frozen(frozen: Path) -> None:
    spec = parse_spec({"models": ["m"], "suites": [{"frozen": "frozen.jsonl", "name": "worded"}]}, folder=frozen)
    (entry,) = spec.suites
    assert isinstance(entry, FrozenSuite)
    suite = entry.suite()
    items = suite.items(np.random.default_rng(0))
    assert len(items) == 20
    assert suite.version.startswith("1+words+frozen-")
    assert {dict(item.example.attrs)["prompt_tokens"] for item in items} == {str(len(items[0].example.text.split()))}


def test_another_content_is_another_version(frozen: Path) -> None:
    entry = FrozenSuite(frozen=str(frozen / "frozen.jsonl"), name="worded")
    before = entry.suite().version
    path = frozen / "frozen.jsonl"
    path.write_text(path.read_text().replace("3 plus", "4 plus"))
    assert entry.suite().version != before


def test_a_frozen_suite_is_not_overwritten(frozen: Path) -> None:
    suite = FrozenSuite(frozen=str(frozen / "frozen.jsonl"), name="worded").suite()
    with pytest.raises(InputError, match=r"frozen\.jsonl is there already"):
        freeze(suite, np.random.default_rng(0), frozen / "frozen.jsonl")


@pytest.mark.parametrize(
    ("line", "row", "message"),
    [
        (0, {"text": "x"}, r"frozen\.jsonl, line 1: no frozen suite; its first line should say its axis"),
        (1, {"id": "x"}, r"frozen\.jsonl, line 2: field 'text': field required"),
        (1, {"text": "x", "split": "train"}, r"line 2: field 'split': input should be 'in' or 'shifted'"),
        (1, {"text": "x", "level": "hard"}, r"line 2: field 'level' should be a number and is 'hard'"),
    ],
)
def test_faults_name_file_item_and_field(frozen: Path, line: int, row: dict[str, object], message: str) -> None:
    path = frozen / "frozen.jsonl"
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(row)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        FrozenSuite(frozen=str(path), name="worded").suite().items(np.random.default_rng(0))
