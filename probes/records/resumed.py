"""Tables of a command that are written row by row, so that a second call goes on where the first one ended.

A folder holds ``task.json``, which says what was asked, and the tables as CSV. Every file is written beside its place
and then moved there, so none is ever half a file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from probes.errors import InputError
from probes.records.store import write_atomically

TASK: Final = "task.json"


def claim(folder: Path, task: Mapping[str, Any]) -> bool:
    """Make a folder one of this task; True if it was one before.

    Raises:
        InputError: if it is in use by something else, or by a task that differs, naming how.
    """
    path = folder / TASK
    asked: dict[str, Any] = json.loads(json.dumps(dict(task)))
    if not folder.exists():
        folder.mkdir(parents=True)
    elif not folder.is_dir() or (not path.exists() and any(folder.iterdir())):
        raise InputError(f"{folder} is there already and was not begun by this command: name another folder")
    if not path.exists():
        write_atomically(path, json.dumps(asked, indent=1).encode())
        return False
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    other = next((key for key in {**found, **asked} if found.get(key) != asked.get(key)), None)
    if other is not None:
        raise InputError(
            f"{folder} was begun with {other} {found.get(other)!r} and now it is {asked.get(other)!r}: ask the same, "
            "or name another folder"
        )
    return True


def read_rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, Any]]:
    """Rows that a table has so far; none where it was not begun."""
    if not path.exists():
        return []
    table = pd.read_csv(path)
    if list(table.columns) != list(columns):
        raise InputError(f"{path} has other columns than this version writes: name another folder")
    return [dict(zip(columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """The whole table, in place of what was there."""
    sink = io.StringIO()
    pd.DataFrame(list(rows), columns=list(columns)).to_csv(sink, index=False)
    write_atomically(path, sink.getvalue().encode())
