"""Suites from a user's own files: JSON lines, CSV, Parquet or plain text.

A JSONL file has one object per line, a CSV file (``.csv``, or ``.tsv`` with tabs) one item per row under a header, a
Parquet file one item per row. A text file has one paragraph per line; ``passage`` joins consecutive paragraphs until
they have that many characters, and passages of one file share a cluster, because they share an author and a subject.
Text formats may be gzipped (``.jsonl.gz``). A path may be a pattern (``books/*.txt``). Every fault names file and line.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Example, Suite
from probes.suites.fields import FieldMap, Record
from probes.suites.question import Question


class Source(BaseModel):
    """Where the texts of a suite or of one domain lie.

    Attributes:
        file: path or pattern; relative to the spec.
        prompt: the field that holds the text.
        passage: for text files, the least number of characters of one item; None makes every paragraph an item.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    prompt: str = "text"
    passage: int | None = Field(default=None, ge=1)


class FileSuite(FieldMap, Source):
    """A suite declared in the spec: files, and what their fields mean.

    ``{file: mine.csv, name: mine, prompt: question, answer: answer, level: steps, axis: reasoning_steps}``
    """

    def suite(self) -> Suite:
        """The suite that this declaration describes."""
        return Suite(
            name=self.name,
            version=self.version,
            axis=self.ruler(),
            generate=self._examples,
            description=f"items of {self.file}",
            source=self.file,
        )

    def questions(self) -> Iterator[Question]:
        """The items, not yet worded."""
        return self.read(read(self))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        return (question.example() for question in self.questions())


def read(source: Source) -> Iterator[Record]:
    """All items of a source in file order.

    Raises:
        InputError: if no file is there, one is empty, or cannot be read as what its name says it is; the message names
            file and line.
    """
    for path in _files(source.file):
        kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
        if kind == ".parquet":
            yield from _rows(path)
        elif kind == ".jsonl":
            yield from _objects(path)
        elif kind in (".csv", ".tsv"):
            yield from _cells(path, "\t" if kind == ".tsv" else ",")
        elif kind == ".json":
            raise InputError(f"{path}: write one JSON object per line and call the file .jsonl")
        else:
            yield from _passages(path, source)


def _files(pattern: str) -> list[Path]:
    path = Path(pattern)
    if any(mark in pattern for mark in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(anchor.glob(str(path.relative_to(path.anchor)) if path.is_absolute() else pattern))
        if not found:
            raise InputError(f"no file matches {pattern}")
        return found
    if not path.is_file():
        raise InputError(f"no file {pattern}")
    return [path]


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, one at a time, so that a large file takes no more memory than a small one."""
    n_bytes, is_empty = 0, True
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    text = raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
                except UnicodeDecodeError as error:
                    place = f"{path}, line {number}"
                    at = n_bytes + error.start
                    raise InputError(f"{place}: not UTF-8 (byte {at}); convert the file to UTF-8") from None
                n_bytes += len(raw)
                is_empty = is_empty and not text.strip()
                yield from text.removesuffix("\n").split("\n")
    except gzip.BadGzipFile:
        raise InputError(f"{path} is not gzipped, though its name says so") from None
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if is_empty:
        raise InputError(f"{path} is empty")


def _objects(path: Path) -> Iterator[Record]:
    part = path.stem
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{place}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(fields, dict):
            raise InputError(f"{place}: should be a JSON object and is {type(fields).__name__}")
        yield Record(place, fields, part=part)


def _cells(path: Path, delimiter: str) -> Iterator[Record]:
    """Rows under a header; an empty cell is an absent value, because CSV knows no other."""
    rows = csv.reader((f"{line}\n" for line in _lines(path)), delimiter=delimiter, strict=True)
    header: list[str] = []
    n_items = 0
    try:
        for row in rows:
            if not any(row):
                continue
            place = f"{path}, line {rows.line_num}"
            if not header:
                header = row
                twice = next((name for name in header if header.count(name) > 1), None)
                if twice is not None:
                    raise InputError(f"{place}: two columns are called {twice!r}")
                continue
            if len(row) != len(header):
                raise InputError(f"{place}: {len(row)} cells, but the header has {len(header)}")
            yield Record(place, {name: cell or None for name, cell in zip(header, row, strict=True)}, part=path.stem)
            n_items += 1
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not CSV ({error})") from None
    if not n_items:
        raise InputError(f"{path} has a header and no items")


def _rows(path: Path) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(path)
        if not table.metadata.num_rows:
            raise InputError(f"{path} has no rows")
        number = 0
        for batch in table.iter_batches():
            for fields in batch.to_pylist():
                number += 1
                yield Record(f"{path}, row {number}", fields, part=path.stem)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from None


def _passages(path: Path, source: Source) -> Iterator[Record]:
    held: list[str] = []
    first = 1
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        if not held:
            first = number
        held.append(line.strip())
        text = "\n".join(held)
        if len(text) >= (source.passage or 1):
            yield Record(f"{path}, line {first}", {source.prompt: text}, cluster=path.stem, part=path.stem)
            held = []
