"""Rows about items: what was asked, how the model read it, and what could not be measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from probes.errors import InputError
from probes.records.arrow import found
from probes.records.read import Records
from probes.records.schema import SCHEMAS
from probes.suites.example import Item, Suite
from probes.sweep.item_store import ItemStore, Place, content_hash, place_hash, place_of, recorded_content
from probes.vocabulary.prompt import Prompt

ASKED: Final = ("text", "target", "attrs")  # by which an item is known to be the same
ITEMS_AT_ONCE: Final = 4096  # per part of the table of examples
NOTHING: Final = np.uint64(content_hash("", None))  # what is asked by items that could not be read
PLACE: Final = tuple(Place.__annotations__)


def example_rows(suite: Suite, items: Iterable[Item], *, no_text: bool = False) -> pa.Table:
    """Rows of ``examples``; an item without a cluster is a cluster of its own."""
    rows = [
        {
            "example_id": example_id,
            "suite": suite.name,
            "axis": suite.axis.name,
            **place_of(example_id, example, no_text=no_text),
            "text": None if no_text else example.text,
            "target": None if no_text else example.target,
            "n_bytes": len(example.text.encode("utf-8", errors="surrogatepass")),
        }
        for example_id, example in items
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["examples"])


def input_rows(run_id: str, prompts: Mapping[str, Prompt], *, no_text: bool = False) -> pa.Table:
    """Rows of ``inputs``: the tokens as the model read them, or their number and hash where no text is kept."""
    rows = [
        {
            "run_id": run_id,
            "example_id": example_id,
            "n_tokens": prompt.end,
            "n_special": prompt.n_special,
            "text_start": prompt.text.start,
            "text_end": prompt.text.stop,
            "n_control": prompt.n_control,
            "truncated": prompt.truncated,
            "prompt_sha": hashlib.sha256(json.dumps(prompt.ids).encode()).hexdigest(),
            "token_ids": None if no_text else prompt.ids,
            "char_starts": None if no_text else prompt.char_starts,
        }
        for example_id, prompt in prompts.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["inputs"])


def failure_rows(run_id: str, failures: Mapping[str, str], stage: str) -> pa.Table:
    """Rows of ``failures``: ``encode`` and ``forward`` are faults; ``filter``: too short, or a repetition."""
    rows = [
        {"run_id": run_id, "example_id": example_id, "stage": stage, "error": error}
        for example_id, error in failures.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["failures"])


def refuse_changed(stored: Records, suites: Iterable[tuple[Suite, ItemStore]], *, no_text: bool = False) -> None:
    """Refuse a suite of which an item has another text than is recorded, another name, or a text that should not be.

    Raises:
        InputError: naming the item.
    """
    for suite, store in suites:
        unrecorded = np.ones(len(store), dtype=bool)
        elsewhere: dict[int, str] = {}
        for recorded in stored.batches("examples", ["example_id", *ASKED], suite=suite.name):
            columns: dict[str, Any] = {name: recorded.column(name) for name in ("example_id", *ASKED)}
            at = found(columns["example_id"], store.example_ids)
            asked = zip(*(columns[name].to_pylist() for name in ASKED), strict=True)
            contents = np.array([recorded_content(*one) for one in asked], dtype=np.uint64)
            if no_text and columns["text"].null_count < len(contents):
                raise InputError(
                    "no_text: the texts of this sweep's items are recorded in it already; sweep into a new directory"
                )
            changed = np.flatnonzero((at >= 0) & (store.contents[at] != contents))
            if len(changed):
                raise InputError(
                    f"{columns['example_id'][int(changed[0])]} is recorded here with another text or target, and what "
                    "was measured of it would stand beside the new one; sweep into a new directory (--out), or give "
                    "the corrected item an id of its own"
                )
            unrecorded[at[at >= 0]] = False
            for row in np.flatnonzero((at < 0) & (contents != NOTHING)):
                elsewhere[int(contents[row])] = str(columns["example_id"][int(row)])
        _refuse_renamed(store, np.flatnonzero(unrecorded), elsewhere)


def _refuse_renamed(store: ItemStore, new: Int64[np.ndarray, " items"], elsewhere: Mapping[int, str]) -> None:
    """Refuse an item that is recorded under a name that nothing has any more: it would count twice."""
    for index in new if elsewhere else ():
        earlier = elsewhere.get(int(store.contents[index]))
        if earlier is not None:
            raise InputError(
                f"{store.example_ids[int(index)]} is recorded here as {earlier} and would count twice under two names; "
                "sweep into a new directory (--out), or leave the ids as they were"
            )


def unrecorded(stored: Records, suite: Suite, store: ItemStore) -> Iterator[list[Item]]:
    """Items that are not recorded as they are: new ones, and those that lie elsewhere now; some thousand at a time."""
    names = ("example_id", "axis", *PLACE)
    differs = np.ones(len(store), dtype=bool)
    for recorded in stored.batches("examples", names, suite=suite.name):
        rows = cast("list[dict[str, Any]]", cast("Any", recorded).to_pylist())
        at = found(cast("Any", recorded).column("example_id"), store.example_ids)
        for row, index in zip(rows, at, strict=True):
            if index >= 0:  # the newest row of an item says where it lies
                place = place_hash(**{name: row[name] for name in PLACE})
                differs[index] = row["axis"] != suite.axis.name or place != int(store.places[index])
    indices = np.flatnonzero(differs)
    for start in range(0, len(indices), ITEMS_AT_ONCE):
        yield [store[int(index)] for index in indices[start : start + ITEMS_AT_ONCE]]
