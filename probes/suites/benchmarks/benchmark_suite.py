r"""Published benchmarks as suites: where their items lie, what their fields mean, and on which ruler they are graded.

A benchmark is one decorated function that turns raw records (from the hub, or from a local copy with the same fields)
into questions; everything else about it is data: wording, axis, parts on the hub, citation, licence. A spec names it:

    {name: gsm8k, file: gsm8k.jsonl}        # a local copy
    {name: gsm8k}                           # the hub
    {name: gsm8k, prompt: "Q: {question}\nA:"}    # another wording, which is another version

The wordings are plain (no chat template, no instruction to reason), so that a base model can read them.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Example, Suite
from probes.suites.files import Source, read
from probes.suites.question import Question
from probes.suites.sources.fields import Names
from probes.suites.sources.hub import HubSource, fetch
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import Axis
from sparsity.registry import Registry, UnknownNameError

Reader = Callable[[Iterable[Record]], Iterator[Question]]
WORDING_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A published benchmark.

    Attributes:
        name: what specs and tables call it.
        version: raised whenever the items or their wording change.
        axis: the ruler of its levels.
        wording: the prompt, with slots.
        parts: where it lies on the hub; empty if it does not.
        columns: names of the columns of local copies without a header.
        reader: raw records as questions.
        citation: whom to cite.
        licence: of the data.
        description: one paragraph.
    """

    name: str
    version: int
    axis: Axis
    wording: str
    parts: tuple[HubSource, ...]
    columns: tuple[str, ...]
    reader: Reader
    citation: str
    licence: str
    description: str


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "probes.suites.benchmarks")


def benchmark(
    *,
    version: int,
    axis: Axis,
    wording: str,
    parts: tuple[HubSource, ...],
    citation: str,
    licence: str,
    columns: tuple[str, ...] = (),
) -> Callable[[Reader], Reader]:
    """Register a reader as a benchmark under its own name; its docstring is the description."""

    def register(reader: Reader) -> Reader:
        name = reader.__name__
        entry = Benchmark(
            name=name,
            version=version,
            axis=axis,
            wording=wording,
            parts=parts,
            columns=columns,
            reader=reader,
            citation=citation,
            licence=licence,
            description=inspect.cleandoc(reader.__doc__ or ""),
        )
        BENCHMARKS.add(name, entry)
        return reader

    return register


def _known(name: str) -> str:
    try:
        return BENCHMARKS[name].name
    except UnknownNameError as error:
        raise ValueError(str(error)) from None


class BenchmarkSuite(BaseModel):
    """A benchmark as a spec asks for it.

    Attributes:
        name: of the benchmark.
        file: path or pattern of a local copy with the fields of the original; None asks the hub.
        revision: commit on the hub, instead of the newest.
        streaming: read items as they come instead of downloading first.
        prompt: another wording.
        limit: items per (split, level); None takes all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_known)]
    file: str | None = None
    revision: str | None = None
    streaming: bool | None = None
    prompt: str | None = None
    limit: int | None = Field(default=None, ge=1)

    @property
    def benchmark(self) -> Benchmark:
        """Find the benchmark of a name."""
        return BENCHMARKS[self.name]

    def ruler(self) -> Axis:
        """The axis of the benchmark."""
        return self.benchmark.axis

    def suite(self) -> Suite:
        """The benchmark as a suite; its version names a pinned revision and a wording of one's own."""
        found = self.benchmark
        version = str(found.version)
        if self.revision:
            version += f"+{self.revision}"
        if self.prompt:
            version += f"+wording-{hashlib.sha256(self.prompt.encode()).hexdigest()[:WORDING_DIGITS]}"
        return Suite(
            name=self.name,
            version=version,
            axis=found.axis,
            generate=self._examples,
            description=found.description,
            source=f"{self.file or ', '.join(sorted({part.hub for part in found.parts}))}; "
            f"{found.citation}; licence {found.licence}",
        )

    def questions(self) -> Iterator[Question]:
        """The items, not yet worded. Those whose choices hold the answer twice have no one answer and are left out.

        Raises:
            InputError: if an item lacks what the benchmark has, or none can be read.
        """
        found = self.benchmark
        names, unread = Names(), list[Record]()
        for question in found.reader(_read(self._records(found), unread)):
            if not question.ambiguous():
                yield names.told_apart(replace(question, wording=self.prompt or found.wording))
        for record in unread:
            yield names.unsound(record, Question(place=record.place, slots={}, level_name=self.name), record.fault)
        if unread and not len(names):
            raise InputError(unread[0].fault)

    def _records(self, found: Benchmark) -> Iterator[Record]:
        if self.file is not None:
            yield from read(Source(file=self.file, columns=found.columns))
            return
        if not found.parts:
            raise InputError(f"suite {self.name!r} is not on the hub; give a local copy as `file` ({found.citation})")
        changes = {"revision": self.revision, "streaming": self.streaming}
        for part in found.parts:
            yield from fetch(part.model_copy(update={key: new for key, new in changes.items() if new is not None}))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        return (question.example() for question in self.questions())


def _read(records: Iterable[Record], unread: list[Record]) -> Iterator[Record]:
    """Records without those that could not be read, which are put aside."""
    for record in records:
        if record.fault:
            unread.append(record)
        else:
            yield record
