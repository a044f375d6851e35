"""The familiarity that a spec asks for, opened for one model: the same in the survey and in every worker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from probes.errors import InputError
from probes.familiarity.entry import FamiliarityEntry, KnownTexts
from probes.familiarity.measures.memories import Beside
from probes.familiarity.reader import FamiliarityReader, Known, known_texts
from probes.memory.opening import open_memory
from probes.models.loading import LoadedModel
from probes.records.cells import Done
from probes.suites.example import Item
from probes.suites.shifts.shift_suite import Shift
from probes.sweep.spec import SweepSpec

CELL: Final = re.compile(r"(?P<measure>.+)@(?P<version>\d+)(?:\|(?P<corpus>.+?)(?:#(?P<content>\w+))?)?(?:\|tokens)?")


def open_reader(spec: SweepSpec, model: LoadedModel) -> FamiliarityReader:
    """Open what a spec asks of familiarity.

    Raises:
        InputError: if a source cannot be used with this model, or nothing is asked.
    """
    entry = spec.familiarity
    if entry is None:
        raise InputError("the spec asks for no familiarity")
    known = None if entry.known is None else _known(spec, entry.known)
    reading: dict[str, Any] = {"bos": spec.bos, "max_tokens": spec.max_tokens, "template": spec.template}
    return FamiliarityReader.open(entry, model, known, memories=_memories(entry, model), **reading)


def _memories(entry: FamiliarityEntry, model: LoadedModel) -> list[Beside]:
    try:
        return [open_memory(folder, model).beside(model) for folder in entry.memories]
    except InputError as error:
        raise InputError(f"familiarity: {error}") from None


def refuse_changed_sources(cells: Iterable[str], done: Iterable[Done]) -> None:
    """Refuse a corpus, known texts, a reference or a formula that is not the one recorded under its name.

    Raises:
        InputError: naming it.
    """
    recorded = {cell for block in {entry.block for entry in done} for cell in block.familiarity}
    before = dict(map(_parts, recorded))
    for key, rest in map(_parts, cells):
        if before.get(key, rest) != rest:
            measure, corpus = key
            what = f"{measure} against {corpus!r}" if corpus else measure
            raise InputError(
                f"familiarity: {what} is recorded with another content or version; give it another name or sweep into "
                "a new directory"
            )


def _parts(cell: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Measure and corpus, as rows name them; version and content, which they do not."""
    found = CELL.fullmatch(cell)
    if found is None:
        raise InputError(f"a recorded familiarity cell reads {cell!r}, which this version does not write")
    return (found["measure"], found["corpus"] or ""), (found["version"], found["content"] or "")


def _known(spec: SweepSpec, entry: KnownTexts) -> Known:
    items: Sequence[Item] | Iterable[Item] = ()
    if entry.suite is not None:
        names = [suite.name for suite in spec.suites]
        if entry.suite not in names:
            raise InputError(f"familiarity: known: no suite of the sweep is called {entry.suite!r}: {', '.join(names)}")
        suite = spec.suites[names.index(entry.suite)]
        if isinstance(suite, Shift) and suite.needs:
            raise InputError(f"familiarity: known: suite {entry.suite!r} is made with a model; freeze it first")
        asked = suite.suite()
        named = asked.items(asked.generator(spec.seed))
        items = [item for item in named if not item.example.fault and not item.example.repeats]
    return known_texts(entry, items)
