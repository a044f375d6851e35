"""Suites written down: the items of any suite in one JSONL file, to be asked again without what made them.

Items that a model or tokenizer had a hand in (matched lengths, conflicts with what a model knows) belong to that model
until they are frozen; frozen, they are texts like any others, the same for every model. The first line says which
suite this was; every other line is one item. The version of a frozen suite holds the hash of its file.

    {frozen: matched.jsonl, name: matched}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from probes.errors import InputError
from probes.suites.example import Example, Item, Suite
from probes.suites.files import Source, read
from probes.suites.sources.fields import Declared, digest
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import Axis

AXIS: Final = TypeAdapter(Axis)
EXAMPLE: Final = TypeAdapter(Example)


def freeze(suite: Suite, rng: np.random.Generator, path: Path) -> int:
    """Write the items of a suite to a new file.

    Returns:
        How many items there are.

    Raises:
        InputError: if the suite cannot give its items, or the file is there already.
    """
    items = suite.items(rng)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(written_down(suite, items))
    except FileExistsError:
        raise InputError(f"{path} is there already; a frozen suite does not change") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return len(items)


def written_down(suite: Suite, items: Iterable[Item]) -> str:
    """The content of the file of some items of a suite."""
    head = {"suite": suite.name, "version": suite.version, "axis": asdict(suite.axis)}
    lines: list[dict[str, Any]] = [{**head, "description": suite.description, "source": suite.source}]
    for item in items:
        given = {field.name: getattr(item.example, field.name) for field in fields(Example)}
        lines.append({**given, "id": item.example_id.split(":", 1)[1], "level": _number(item.example.level)})
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


class FrozenSuite(Declared):
    """A frozen suite as a spec asks for it.

    Attributes:
        frozen: path of the file; relative to the spec.
        growing: whether items may be added to the file, so that its hash is no part of the version; an item whose text
            changes is refused by a sweep all the same.
    """

    frozen: str
    growing: bool = False

    def suite(self) -> Suite:
        """The suite as it was written down."""
        head = next(self._records())
        content = "" if self.growing else f"+frozen-{digest(Path(self.frozen).read_bytes())}"
        try:
            axis = AXIS.validate_python(head.fields.get("axis"))
        except ValidationError:
            raise InputError(f"{head.place}: no frozen suite; its first line should say its axis") from None
        return Suite(
            name=self.name,
            version=f"{head.text('version')}{content}",
            axis=axis,
            generate=self._examples,
            description=head.text("description"),
            source=head.text("source"),
        )

    def _records(self) -> Iterator[Record]:
        return read(Source(file=self.frozen))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        records = self._records()
        next(records)
        for record in records:
            given = {**record.fields, "level": record.number("level")}
            try:
                yield EXAMPLE.validate_python(given)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise InputError(f"{record.place}: field {where!r}: {first['msg'].lower()}") from None


def _number(level: float) -> float | None:
    """A level as JSON has it, which knows no NaN."""
    return None if math.isnan(level) else level
