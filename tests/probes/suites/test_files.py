"""Suites from files: fields become examples, and every fault names its file and line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites import Axis
from probes.suites.files import FileSuite, Source, read


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def items(suite: FileSuite) -> list[tuple[str, object]]:
    return [(item.example_id, item.example) for item in suite.suite().items(np.random.default_rng(0))]


def test_fields_become_examples(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        {"id": "a", "q": "one?", "a": 1, "steps": 2, "part": "in"},
        {"id": "b", "q": "two?", "a": "x", "part": "shifted"},
    )
    suite = FileSuite(file=str(path), name="t", prompt="q", answer="a", id="id", level="steps", split="part")
    (_, first), (second_id, second) = items(suite)
    assert (first.text, first.target, first.level, first.split, first.label()) == ("one?", "1", 2.0, "in", "2")
    assert (second_id, second.target, second.split, second.label()) == ("t:b", "x", "shifted", "t")
    assert math.isnan(second.level)
    assert suite.suite().axis == Axis(name="domain", unit="domain", kind="difficulty", harder="higher")


def test_an_axis_without_levels_is_nominal(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "x"})
    assert FileSuite(file=str(path), name="t", axis="domain").suite().axis.kind == "nominal"


def test_an_item_without_id_is_known_by_its_content(tmp_path: Path) -> None:
    one = write(tmp_path / "1.jsonl", {"text": "x"}, {"text": "y"})
    two = write(tmp_path / "2.jsonl", {"text": "y"}, {"text": "x"})
    ids_one, ids_two = ([name for name, _ in items(FileSuite(file=str(path), name="t"))] for path in (one, two))
    assert ids_one == ids_two[::-1]


def test_the_same_item_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "x"}, {"text": "x"})
    with pytest.raises(InputError, match="ids must be unique"):
        items(FileSuite(file=str(path), name="t"))


def test_passages_hold_whole_paragraphs_of_one_file(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "aaaa", "", "bbbb", "cc")
    write(tmp_path / "a.txt", "dddd dddd")
    records = list(read(Source(file=str(tmp_path / "*.txt"), passage=8)))
    assert [(record.fields["text"], record.cluster) for record in records] == [
        ("dddd dddd", "a"),
        ("aaaa\nbbbb", "b"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"text": "x"}\n{"text": \n', r"t\.jsonl, line 2: not JSON"),
        ("t.jsonl", b"[1]\n", r"line 1: should be a JSON object and is list"),
        ("t.jsonl", b'{"prompt": "x"}\n', r"line 1: no field 'text'; there are 'prompt'"),
        ("t.jsonl", b'{"text": ["x"]}\n', r"line 1: field 'text' should be text and is list"),
        ("t.jsonl", b'{"text": "x", "steps": "many"}\n', r"line 1: field 'steps' should be a number and is 'many'"),
        ("t.jsonl", b'{"text": "x", "steps": true}\n', r"field 'steps' should be a number and is True"),
        ("t.jsonl", b"\n \n", r"t\.jsonl is empty"),
        ("t.txt", b"", r"t\.txt is empty"),
        ("t.txt", b"good\nb\xffd\n", r"t\.txt, line 2: not UTF-8 \(byte 6\)"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        items(FileSuite(file=str(path), name="t", level="steps"))
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_pattern_without_match_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nowhere\.jsonl"):
        list(read(Source(file=str(tmp_path / "nowhere.jsonl"))))
    with pytest.raises(InputError, match=r"no file matches .*\*\.txt"):
        list(read(Source(file=str(tmp_path / "*.txt"))))


def test_a_split_that_is_neither_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "x", "part": "train"})
    with pytest.raises(InputError, match="field 'part' should be 'in' or 'shifted' and is 'train'"):
        items(FileSuite(file=str(path), name="t", split="part"))
