"""Files as other people save them give the records that their authors meant."""

import bz2
import codecs
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from probes.suites.benchmarks.benchmark_suite import BenchmarkSuite
from probes.suites.files import FileSuite, Source, read
from probes.suites.sources.formats import records
from probes.suites.text_domains import TextDomains

ROWS = [{"text": "Once upon a time, a girl.", "n": 1}, {"text": 'Yes, "sir".\nHe left.', "n": 2}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
INDENTED = json.dumps(ROWS, indent=2)
TABLE = 'text,n\r\n"Once upon a time, a girl.",1\r\n"Yes, ""sir"".\r\nHe left.",2\r\n'
FILES = {
    "marked.jsonl": codecs.BOM_UTF8 + LINES.encode(),
    "joined.jsonl": b"".join(codecs.BOM_UTF8 + line.encode() for line in LINES.splitlines(keepends=True)),
    "wide.jsonl": LINES.encode("utf-16"),
    "windows.jsonl": LINES.replace("\n", "\r\n").encode(),
    "lines.json": LINES.encode(),
    "array.json": json.dumps(ROWS).encode(),
    "indented.json": INDENTED.encode(),
    "marked_array.json": codecs.BOM_UTF8 + INDENTED.encode(),
    "one_after_another.json": "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "c4-train.00000-of-01024.json.gz": gzip.compress(LINES.encode()),
    "members.jsonl.gz": b"".join(gzip.compress(line.encode()) for line in LINES.splitlines(keepends=True)),
    "p.jsonl.zst": zstandard.compress(LINES.encode()),
    "p.json.bz2": bz2.compress(INDENTED.encode()),
    "nameless.jsonl": gzip.compress(LINES.encode()),
    "UPPER.CSV": TABLE.encode(),
    "excel.csv": codecs.BOM_UTF8 + TABLE.encode(),
    "wide.csv": TABLE.encode("utf-16"),
    "trailing.csv": TABLE.replace("n\r", "n,,\r").replace("1\r", "1,,\r").encode(),
    "tabs.tsv": TABLE.replace("n\r", "n\r").replace("text,n", "text\tn").replace('",', '"\t').encode(),
    "t.csv.gz": gzip.compress(TABLE.encode()),
}


@pytest.mark.parametrize("name", FILES)
def test_however_a_file_is_saved_it_holds_the_same_items(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    found = list(records(tmp_path / name))
    assert not any(record.fault for record in found)
    assert [(record.text("text"), record.number("n")) for record in found] == [(row["text"], row["n"]) for row in ROWS]


def test_a_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"One.\r\n\r\nTwo.\r\n")
    assert [record.text("text") for record in records(tmp_path / "a.txt")] == ["One.", "Two."]


def test_a_cell_may_be_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    long = "Once upon a time. " * 10_000  # 180,000 characters; the module stops at 131,072
    (tmp_path / "a.csv").write_text(f'text,level\n"{long}",1\nThe dog ran.,2\n')
    assert [len(record.text("text")) for record in records(tmp_path / "a.csv")] == [len(long), 12]


def test_a_row_that_cannot_be_read_does_not_end_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,n\nfine,1\nthree,cells,here\n"quoted" badly,2\nshort\nlast,3\n')
    found = list(records(tmp_path / "a.csv"))
    assert [record.fields.get("text") for record in found] == ["fine", None, None, None, "last"]
    assert [record.fault.partition("a.csv, ")[2][:24] for record in found] == [
        "",
        "line 3: 3 cells, but the",
        "line 4: not CSV (',' exp",
        "line 5: 1 cells, but the",
        "",
    ]


def test_a_table_without_a_header_takes_the_names_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "mgsm_de.tsv").write_text("Wie viele?\t18\nUnd jetzt?\t3\n")
    (tmp_path / "mgsm_en.tsv").write_text("question\tanswer_number\nHow many?\t18\nAnd now?\t3\n")
    source = Source(file=str(tmp_path / "mgsm_de.tsv"), columns=("q", "a"))
    assert [dict(record.fields) for record in read(source)] == [
        {"q": "Wie viele?", "a": "18"},
        {"q": "Und jetzt?", "a": "3"},
    ]
    suite = BenchmarkSuite(name="mgsm", file=str(tmp_path / "*.tsv")).suite()
    found = [example for _, example in suite.items(suite.generator(0))]
    assert [(example.level_name, example.cluster, example.text, example.target) for example in found] == [
        ("de", "problem-1", "Wie viele?\n", "18"),
        ("de", "problem-2", "Und jetzt?\n", "3"),
        ("en", "problem-1", "How many?\n", "18"),
        ("en", "problem-2", "And now?\n", "3"),
    ]


def test_passages_are_made_of_any_file(tmp_path: Path) -> None:
    rows = [{"text": "aaaa"}, {"text": "bbbb"}, {"text": None}, {"text": "cccc"}, {"text": "dddddddd"}, {"text": "e"}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(read(Source(file=str(tmp_path / "s.jsonl"), passage=8)))
    assert [record.fields.get("text") for record in found] == ["aaaa\nbbbb", None, "cccc\ndddddddd"]
    assert [bool(record.fault) for record in found] == [False, True, False]
    assert {record.cluster for record in found if not record.fault} == {"s"}


def test_a_large_file_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    def peak(n_lines: int) -> int:
        path = tmp_path / f"{n_lines}.jsonl"
        with path.open("w") as file:
            file.writelines(f'{{"text": "line {i} of many"}}\n' for i in range(n_lines))
        tracemalloc.start()
        n_read = sum(1 for _ in records(path))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert n_read == n_lines
        return most

    small, large = peak(1_000), peak(10_000)
    assert large < 2 * small  # the buffer of the file and one line; held in memory, ten times the lines take ten times


def test_two_suites_of_domains_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n\nOne.\n")
    one, other = (
        TextDomains.model_validate({"name": name, "in": {"my books": {"file": str(tmp_path / "a.txt")}}, "shifts": []})
        for name in ("text_domains", "books")
    )
    found = [item for entry in (one, other) for item in entry.suite().items(entry.suite().generator(0))]
    assert len({item.example_id for item in found}) == 6
    assert [item.example.text for item in found if not item.example.repeats] == ["One.", "Two."] * 2


def test_books_are_read_whole_whatever_repeats_in_them(assets: Path) -> None:
    suite = FileSuite(file=str(assets / "text" / "children_fiction" / "[A-E]*.txt"), name="books", passage=1500).suite()
    found = [example for _, example in suite.items(suite.generator(0))]
    paths = sorted((assets / "text" / "children_fiction").glob("[A-E]*.txt"))
    assert {example.cluster for example in found} == {path.stem for path in paths}
    assert not any(example.fault for example in found)
    # characters of all paragraphs, one break between two of a passage, without what is left over at a book's end
    lines = [
        [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()] for path in paths
    ]
    whole = sum(len("\n".join(own)) for own in lines)
    assert 0.97 * whole < sum(len(example.text) for example in found) <= whole
