"""Rows about items: what was asked, how the model read it, and what could not be measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from probes.capture.prompts import Prompt
from probes.errors import InputError
from probes.records.columns import found
from probes.records.read import Records
from probes.records.schema import SCHEMAS
from probes.suites.example import Example, Item, Suite
from probes.sweep.shelf import Shelf, content_hash


def example_rows(suite: Suite, items: Iterable[Item]) -> pa.Table:
    """Rows of ``examples``; an item without a cluster is a cluster of its own."""
    rows = [
        {
            "example_id": example_id,
            "suite": suite.name,
            "axis": suite.axis.name,
            "level": example.level,
            "level_name": example.label(),
            "split": example.split,
            "cluster": example.cluster or example_id,
            "text": example.text,
            "target": example.target,
            "n_bytes": len(example.text.encode("utf-8", errors="surrogatepass")),
            "attrs": json.dumps(_attributes(example), ensure_ascii=False),
        }
        for example_id, example in items
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["examples"])


def _attributes(example: Example) -> dict[str, str]:
    """Attributes of an item, and the turns before its text if it is a conversation."""
    turns = {"before": json.dumps(example.before, ensure_ascii=False)} if example.before else {}
    return {**dict(example.attrs), **turns}


def input_rows(run_id: str, prompts: Mapping[str, Prompt]) -> pa.Table:
    """Rows of ``inputs``: the tokens as the model read them."""
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
            "token_ids": prompt.ids,
            "char_starts": prompt.char_starts,
        }
        for example_id, prompt in prompts.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["inputs"])


def failure_rows(run_id: str, failures: Mapping[str, str], stage: str) -> pa.Table:
    """Rows of ``failures``: ``encode`` and ``forward`` are faults, ``filter`` is an item left out on request."""
    rows = [
        {"run_id": run_id, "example_id": example_id, "stage": stage, "error": error}
        for example_id, error in failures.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["failures"])


def refuse_changed(stored: Records, suites: Iterable[tuple[Suite, Shelf]]) -> None:
    """Refuse a suite whose item has changed under an id that is already recorded.

    Raises:
        InputError: naming the item.
    """
    for suite, shelf in suites:
        for recorded in stored.batches("examples", ["example_id", "text", "target"], suite=suite.name):
            columns: dict[str, Any] = {name: recorded.column(name) for name in ("example_id", "text", "target")}
            at = found(columns["example_id"], shelf.example_ids)
            asked = zip(columns["text"].to_pylist(), columns["target"].to_pylist(), strict=True)
            contents = np.array([content_hash(text, target) for text, target in asked], dtype=np.uint64)
            changed = np.flatnonzero((at >= 0) & (shelf.contents[at] != contents))
            if len(changed):
                name = columns["example_id"][int(changed[0])]
                raise InputError(
                    f"{name} is recorded with another text or target; raise the version of suite {suite.name!r} and "
                    "sweep into a new directory"
                )
