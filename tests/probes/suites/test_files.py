"""Suites from files: fields become examples, and every fault names its file and line."""

import csv
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


ROWS: list[dict[str, object]] = [
    {"q": 'one, "two"?', "a": "1", "steps": 2, "part": "in"},
    {"q": "a line\nbreak", "a": "x", "steps": None, "part": "shifted"},
]


def as_format(path: Path, rows: list[dict[str, object]]) -> Path:
    """The same rows in the format that the name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        content = "\n".join(map(json.dumps, rows)).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.jsonl.gz"])
def test_every_format_gives_the_same_items(tmp_path: Path, name: str) -> None:
    found, expected = (
        [
            item.example
            for item in FileSuite(
                file=str(as_format(tmp_path / each, ROWS)),
                name="t",
                prompt="q",
                answer="a",
                level="steps",
                split="part",
            )
            .suite()
            .items(np.random.default_rng(0))
        ]
        for each in (name, "t.jsonl")
    )
    # NaN is no level and differs from itself
    assert [repr(example) for example in found] == [repr(example) for example in expected]
    assert [example.split for example in found] == ["in", "shifted"]


@given(cells=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_what_csv_writes_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    kept = [cell for cell in cells if cell.strip()] or ["x"]
    as_format(path, [{"id": str(number), "text": cell} for number, cell in enumerate(kept)])
    assert [record.fields["text"] for record in read(Source(file=str(path)))] == kept


def test_a_wording_is_filled_once_and_braces_in_fields_mean_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "what is {a}?", "a": "{q}"})
    suite = FileSuite(file=str(path), name="t", prompt="Q: {q}\nA: {a} {}")
    ((_, example),) = items(suite)
    assert example.text == "Q: what is {a}?\nA: {q} {}"


@pytest.mark.parametrize("answer", ["B", "blue", 1, "1"])
def test_choices_are_lettered_and_the_answer_may_be_letter_text_or_index(tmp_path: Path, answer: object) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "sky?", "options": ["red", "blue", "green"], "a": answer})
    shown = FileSuite(file=str(path), name="t", prompt="{q}\n{choices}\nAnswer:", answer="a", choices="options")
    ((_, example),) = items(shown)
    assert example.text == "sky?\nA. red\nB. blue\nC. green\nAnswer:"
    assert example.target == "B"
    hidden = FileSuite(file=str(path), name="t", prompt="q", answer="a", choices="options")
    ((_, example),) = items(hidden)
    assert (example.text, example.target) == ("sky?", "blue")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"o": ["x", "X "], "a": "x"}, r"line 1: field 'o' holds the answer 'x' twice"),
        ({"o": ["x", "y"], "a": "z"}, r"line 1: field 'a' should be one of 2 choices and is 'z'"),
        ({"o": ["x", "y"], "a": 2}, r"line 1: field 'a' should be one of 2 choices and is '2'"),
        ({"o": "x", "a": "x"}, r"line 1: field 'o' should be a list of texts and is str"),
        ({"o": [], "a": "x"}, r"line 1: field 'o' should be a list of texts and is empty"),
        ({"o": ["x", None], "a": "x"}, r"line 1: field 'o' should be a list of texts and holds empty"),
        ({"o": [*map(str, range(27))], "a": "3"}, r"line 1: 27 choices; there are letters for 26"),
        ({"a": "x"}, r"line 1: no field 'o'; there are 'q', 'a'"),
    ],
)
def test_faults_of_choices_name_item_and_field(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "?", **row})
    with pytest.raises(InputError, match=message):
        items(FileSuite(file=str(path), name="t", prompt="q", choices="o", answer="a"))


def test_an_id_that_comes_twice_is_named_with_both_places(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"id": 7, "text": "x"}, {"id": 7, "text": "y"})
    with pytest.raises(InputError, match=r"t\.jsonl, line 2: field 'id' holds '7' as in .*t\.jsonl, line 1; ids must"):
        items(FileSuite(file=str(path), name="t", id="id"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"text,steps\n", r"t\.csv has a header and no items"),
        ("t.csv", b"text,text\na,b\n", r"t\.csv, line 1: two columns are called 'text'"),
        ("t.csv", b"text,steps\na\n", r"t\.csv, line 2: 1 cells, but the header has 2"),
        ("t.csv", b'text\n"a\n', r"t\.csv, line 2: not CSV"),
        ("t.csv", b"text,steps\na,nan\n", r"line 2: field 'steps' should be a number and is 'nan'"),
        ("t.csv", b"text,steps\n,1\n", r"line 2: field 'text' should be text and is empty"),
        ("t.parquet", b"nonsense", r"cannot read .*t\.parquet as Parquet"),
        ("t.jsonl.gz", b"nonsense", r"t\.jsonl\.gz is not gzipped"),
        ("t.json", b"[]", r"one JSON object per line"),
        ("t.jsonl", b'{"text": "x", "steps": Infinity}\n', r"field 'steps' should be a number and is inf"),
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
