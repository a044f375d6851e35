"""Suites from a user's own files: JSON lines or plain text, with the mapping from fields to examples.

A JSONL file has one object per line. A text file has one paragraph per line; ``passage`` joins consecutive paragraphs
until they have that many characters, and passages of one file share a cluster, because they share an author and a
subject. A path may be a pattern (``books/*.txt``). Every fault names the file and the line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Axis, Example, Suite

Name = Annotated[str, Field(pattern=r"^[^:/\s]+$")]


class Source(BaseModel):
    """Where the texts of a suite or of one domain lie.

    Attributes:
        file: path or pattern of ``.jsonl`` or text files; relative to the spec.
        prompt: the JSONL field that holds the text.
        passage: for text files, the least number of characters of one item; None makes every paragraph an item.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    prompt: str = "text"
    passage: int | None = Field(default=None, ge=1)


class FileSuite(Source):
    """A suite declared in the spec: a source, and what its fields mean.

    Attributes:
        name: the suite's name in tables.
        version: to be raised when texts change under their old ids.
        answer: field of the target, or None.
        id: field of the item's id; None hashes the item.
        level: a field, or a number that holds for all items; absent in an item means NaN.
        split: ``in``, ``shifted``, or a field that holds one of them.
        cluster: field of the cluster.
        axis: a name, or an axis written out. A name alone is a difficulty axis if there is a level, else nominal.
        limit: items per (split, level); None takes all.
    """

    name: Name
    version: str = "1"
    answer: str | None = None
    id: str | None = None
    level: str | float | None = None
    split: str = "in"
    cluster: str | None = None
    axis: str | Axis = "domain"
    limit: int | None = Field(default=None, ge=1)

    def suite(self) -> Suite:
        """The suite that this declaration describes."""
        return Suite(
            name=self.name,
            version=self.version,
            axis=self._axis(),
            generate=self._examples,
            description=f"items of {self.file}",
            source=self.file,
        )

    def _axis(self) -> Axis:
        if isinstance(self.axis, Axis):
            return self.axis
        if self.level is None:
            return Axis(name=self.axis, unit="", kind="nominal", harder=None)
        return Axis(name=self.axis, unit=self.axis.replace("_", " "), kind="difficulty", harder="higher")

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        for record in read(self):
            level = self._level(record)
            yield Example(
                id=record.text(self.id) if self.id else "",
                text=record.text(self.prompt),
                target=record.text(self.answer) if self.answer else None,
                split=self._split(record),
                level=level,
                level_name=self.name if math.isnan(level) else "",
                cluster=record.text(self.cluster) if self.cluster else record.cluster,
            )

    def _level(self, record: Record) -> float:
        if self.level is None:
            return math.nan
        return record.number(self.level) if isinstance(self.level, str) else float(self.level)

    def _split(self, record: Record) -> Literal["in", "shifted"]:
        value = self.split if self.split in ("in", "shifted") else record.text(self.split)
        if value == "in":
            return "in"
        if value == "shifted":
            return "shifted"
        raise InputError(f"{record.place}: field {self.split!r} should be 'in' or 'shifted' and is {value!r}")


class Record(NamedTuple):
    """One raw item and where it stood."""

    place: str
    fields: Mapping[str, Any]
    cluster: str

    def text(self, field: str) -> str:
        """A field as text; numbers are written out.

        Raises:
            InputError: if the field is missing or holds no text.
        """
        if field not in self.fields:
            raise InputError(f"{self.place}: no field {field!r}; there are {', '.join(map(repr, self.fields))}")
        value = self.fields[field]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{self.place}: field {field!r} should be text and is {type(value).__name__}")
        return str(value)

    def number(self, field: str) -> float:
        """A field as a number; NaN where it is absent or null.

        Raises:
            InputError: if it is there and not a number.
        """
        value = self.fields.get(field)
        if value is None:
            return math.nan
        if isinstance(value, bool):
            raise InputError(f"{self.place}: field {field!r} should be a number and is {value!r}")
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InputError(f"{self.place}: field {field!r} should be a number and is {value!r}") from None


def read(source: Source) -> Iterator[Record]:
    """All items of a source in file order.

    Raises:
        InputError: if no file is there, one is empty, not UTF-8 or not JSON; the message names file and line.
    """
    for path in _files(source.file):
        lines = _lines(path)
        yield from _json_records(path, lines) if path.suffix == ".jsonl" else _passages(path, lines, source)


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


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 (byte {error.start}); convert the file to UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text.split("\n")


def _json_records(path: Path, lines: list[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{place}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(fields, dict):
            raise InputError(f"{place}: should be a JSON object and is {type(fields).__name__}")
        yield Record(place, fields, cluster="")


def _passages(path: Path, lines: list[str], source: Source) -> Iterator[Record]:
    held: list[str] = []
    first = 1
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not held:
            first = number
        held.append(line.strip())
        text = "\n".join(held)
        if len(text) >= (source.passage or 1):
            yield Record(f"{path}, line {first}", {source.prompt: text}, cluster=path.stem)
            held = []
