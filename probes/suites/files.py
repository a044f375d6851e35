"""Suites from a user's own files, whatever they are: see `probes.suites.sources.formats` for what can be read.

A JSON file has one object per item, a CSV file (``.csv``, or ``.tsv`` with tabs) one item per row under a header, a
Parquet file one item per row, a text file one paragraph per line. ``passage`` joins consecutive texts until they have
that many characters. A path may be a pattern (``books/*.txt``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Example, Suite
from probes.suites.question import Question, slots_of
from probes.suites.sources.fields import FieldMap
from probes.suites.sources.formats import passages, records
from probes.suites.sources.labelled import Record

DEFAULT_FIELD: Final = "text"


class Source(BaseModel):
    """Files that hold the texts of a suite or of one domain.

    Attributes:
        file: path or pattern; relative to the spec.
        prompt: the field that holds the text.
        passage: the least number of characters of one item, made of consecutive texts of a file; None makes every
            text (of a text file every paragraph) an item.
        columns: names of the columns of CSV or TSV files that have no header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    prompt: str = DEFAULT_FIELD
    passage: int | None = Field(default=None, ge=1)
    columns: tuple[str, ...] = ()


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
        return self.read(partial(read, self))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        return (question.example() for question in self.questions())


def read(source: Source) -> Iterator[Record]:
    """All items of a source in file order; what cannot be read of a file is a faulty record.

    Raises:
        InputError: if no file is there, one is empty, or cannot be read as what its name says it is; the message names
            file and line.
    """
    field = DEFAULT_FIELD if slots_of(source.prompt) else source.prompt
    for path in _files(source.file):
        found = records(path, columns=source.columns, text=field)
        yield from found if source.passage is None else passages(found, field, source.passage)


def texts(found: Iterable[Record], field: str, on_fault: Callable[[str], object] = lambda _: None) -> Iterator[str]:
    """The texts of records, without those that have none that can be used.

    Args:
        found: the records.
        field: that holds the text.
        on_fault: told of each record that is left out.

    Raises:
        InputError: if there is not a single text; it says what was wrong with the first record.
    """
    first, n_texts = "", 0
    for record in found:
        try:
            text = record.text(field)
            fault = Example(text=text).sound().fault
        except InputError as error:
            text, fault = "", str(error)
        if fault:
            fault = fault if fault.startswith(record.place) else f"{record.place}: {fault}"
            first = first or fault
            on_fault(fault)
            continue
        n_texts += 1
        yield text
    if first and not n_texts:
        raise InputError(first)


def _files(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]
    if any(mark in pattern for mark in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(anchor.glob(str(path.relative_to(path.anchor)) if path.is_absolute() else pattern))
        if not found:
            raise InputError(f"no file matches {pattern}")
        return found
    raise InputError(f"no file {pattern}")
