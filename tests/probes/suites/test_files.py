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
from probes.suites.files import FileSuite, Source, read
from probes.vocabulary.axes import Axis


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
    assert suite.suite().axis == Axis(
        name="steps", unit="calculations in the solution", kind="difficulty", harder="higher"
    )


def test_an_axis_without_levels_is_nominal(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "x"})
    assert FileSuite(file=str(path), name="t", axis="domain").suite().axis.kind == "nominal"


def test_an_item_without_id_is_known_by_its_content(tmp_path: Path) -> None:
    one = write(tmp_path / "1.jsonl", {"text": "x"}, {"text": "y"})
    two = write(tmp_path / "2.jsonl", {"text": "y"}, {"text": "x"})
    ids_one, ids_two = ([name for name, _ in items(FileSuite(file=str(path), name="t"))] for path in (one, two))
    assert ids_one == ids_two[::-1]


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
    path = tmp_path_factory.getbasetemp() / "written.csv"
    kept = [cell for cell in cells if cell.strip()] or ["x"]
    as_format(path, [{"id": str(number), "text": cell} for number, cell in enumerate(kept)])
    assert [record.fields["text"] for record in read(Source(file=str(path)))] == kept


def test_a_wording_is_filled_once_and_braces_in_fields_mean_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "what is {a}?", "a": "{q}"})
    suite = FileSuite(file=str(path), name="t", prompt="Q: {q}\nA: {a} {}")
    ((_, example),) = items(suite)
    assert example.text == "Q: what is {a}?\nA: {q} {}"


@pytest.mark.parametrize("answer", ["B", "(b)", "blue", "2"])
def test_choices_are_lettered_and_the_answer_may_be_letter_text_or_label(tmp_path: Path, answer: object) -> None:
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
        ({"o": ["x", "y"], "a": 3}, r"line 1: field 'a' should be one of 2 choices and is '3'"),
        ({"o": "x", "a": "x"}, r"line 1: field 'o' should be a list of texts, as .*, and is 'x'"),
        ({"o": [], "a": "x"}, r"line 1: field 'o' should be a list of texts and is empty"),
        ({"o": ["x", None], "a": "x"}, r"line 1: field 'o' should be a list of texts and holds empty"),
        ({"o": [f"c{i}" for i in range(27)], "a": "c3"}, r"line 1: 27 choices; there are letters for 26"),
        ({"a": "x"}, r"line 1: no field 'o'; there are 'q', 'a'"),
    ],
)
def test_faults_of_choices_name_item_and_field(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write(tmp_path / "t.jsonl", {"q": "?", **row})
    with pytest.raises(InputError, match=message):
        items(FileSuite(file=str(path), name="t", prompt="q", choices="o", answer="a"))


def test_one_bad_row_is_recorded_and_the_others_are_asked(tmp_path: Path) -> None:
    good = [{"text": f"number {i}", "level": i} for i in range(4)]
    bad = [
        {"text": None, "level": 1},
        {"text": None, "level": 1},
        {"text": " \n"},
        {"txt": "x"},
        {"text": "half \ud83d", "level": 2},
        {"text": "y", "level": "many"},
        "{torn",
        "3",
    ]
    suite = FileSuite(file=str(write(tmp_path / "t.jsonl", *good, *bad)), name="t", level="level", kind="difficulty")
    found = suite.model_copy(update={"harder": "higher"}).suite().items(np.random.default_rng(0))
    assert len({item.example_id for item in found}) == len(good) + len(bad)
    assert [item.example.text for item in found if not item.example.fault] == [f"number {i}" for i in range(4)]
    faults = [item.example.fault for item in found if item.example.fault]
    expected = ["is empty", "is empty", "is empty", "no field 'text'", "0xd83d", "is 'many'", "not JSON", "and is int"]
    assert all(said in fault for said, fault in zip(expected, faults, strict=True))
    assert [item.example.level for item in found[4:6]] == [1.0, 1.0]  # counted where it would have stood
    assert found[8].example.text == r"half \ud83d"


def test_the_same_item_twice_is_asked_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Once.\n\nYes, sir.\n\nThe dog.\n\nYes, sir.\n\nYes, sir.\n")
    found = [example for _, example in items(FileSuite(file=str(tmp_path / "book.txt"), name="t"))]
    assert [example.text for example in found] == ["Once.", "Yes, sir.", "The dog.", "Yes, sir.", "Yes, sir."]
    assert [bool(example.repeats) for example in found] == [False, False, False, True, True]
    assert not any(example.fault for example in found)


def test_another_item_with_the_id_of_an_earlier_one_is_a_fault_and_the_same_item_a_repetition(tmp_path: Path) -> None:
    rows = [{"id": 7, "text": "x"}, {"id": 7, "text": "y"}, {"id": 7, "text": "x"}, {"id": 8, "text": "x"}]
    found = items(FileSuite(file=str(write(tmp_path / "t.jsonl", *rows)), name="t", id="id"))
    assert [name for name, _ in found] == ["t:7", "t:7#2", "t:7#3", "t:8"]
    assert "another item before has the id '7'" in found[1][1].fault
    assert [bool(example.repeats) for _, example in found] == [False, False, True, False]


def test_where_an_item_lies_is_no_part_of_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "x", "steps": 1, "hops": 5})
    one, other = (items(FileSuite(file=str(path), name="t", level=level)) for level in ("steps", "hops"))
    assert one[0][0] == other[0][0]
    assert (one[0][1].level, other[0][1].level) == (1.0, 5.0)


def test_levels_may_be_booleans_or_names(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "x", "hard": True, "tongue": "sw"}, {"text": "y", "hard": False}]
    for name in ("t.jsonl", "t.parquet", "t.csv"):
        path = str(as_format(tmp_path / name, rows))
        graded = [example for _, example in items(FileSuite(file=path, name="t", level="hard"))]
        assert [(example.level, example.label()) for example in graded] == [(1.0, "True"), (0.0, "False")]
        named = [example for _, example in items(FileSuite(file=path, name="t", level="tongue", kind="nominal"))]
        assert [example.label() for example in named] == ["sw", "t"]
        assert all(math.isnan(example.level) for example in named)


def test_whole_numbers_and_booleans_are_written_as_people_write_them(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"text": "a", "a": 51.0}, {"text": "b", "a": 2.5}, {"text": "c", "a": True})
    assert [example.target for _, example in items(FileSuite(file=str(path), name="t", answer="a"))] == [
        "51",
        "2.5",
        "True",
    ]


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
        ("t.jsonl.gz", b"nonsense", r"t\.jsonl\.gz is not compressed with gzip"),
        ("t.json", b"[]", r"t\.json holds no items"),
        ("t.json", b'[{"text": "x"},\n{"text": ', r"t\.json, line 2: not JSON"),
        ("t.xlsx", b"PK\x03\x04rest", r"t\.xlsx is a zip archive \(.xlsx is one, too\); unpack it, or save it as CSV"),
        (
            "t.csv",
            b"text;steps\na;1\n",
            r"line 1: one column only, 'text;steps', .* separated by ';' .* save the file as",
        ),
        ("t.jsonl", b'{"text": "x", "steps": Infinity}\n', r"field 'steps' should be a number and is inf"),
        ("t.jsonl", b'{"text": \n', r"t\.jsonl, line 1: not JSON"),
        ("t.jsonl", b"[1]\n", r"item 1: should be a JSON object and is int"),
        ("t.jsonl", b'{"prompt": "x"}\n', r"line 1: no field 'text'; there are 'prompt'"),
        ("t.jsonl", b'{"text": ["x"]}\n', r"line 1: field 'text' should be text and is list"),
        ("t.jsonl", b'{"text": "x", "steps": "many"}\n', r"line 1: field 'steps' should be a number and is 'many'"),
        ("t.jsonl", b"\n \n", r"t\.jsonl is empty"),
        ("t.txt", b"", r"t\.txt is empty"),
        (
            "t.txt",
            b"good\ncaf\xe9\n",
            r"t\.txt, line 2: not UTF-8 \(byte 8 is 0xe9\); .* iconv -f WINDOWS-1252 -t UTF-8",
        ),
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
