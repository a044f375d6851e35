"""Folders of `sparsity compression` and `sparsity scaling`, as tables that questions ask for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from analyses.data.written_tables import Law

RATES: Final = "rates"
POSITIONS: Final = "positions"
SCALING: Final = "scaling"
REPEATED: Final = {
    "files": "--data",
    "kinds": "--kind",
    "prequential": "--prequential",
    "chunks": "--chunk",
}


def open_compression(folder: Path) -> Law | None:
    """A folder of `sparsity compression` or `sparsity scaling`; None where it is another.

    Rows of a model are kept by its name, with those of all classical compressors beside them.
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name in (RATES, POSITIONS):
        path = folder / f"{name}.csv"
        if path.is_file():
            found[name] = _by_model(pd.read_csv(path))
    if (folder / f"{SCALING}.csv").is_file():
        found[SCALING] = {"": pd.read_csv(folder / f"{SCALING}.csv")}
    if not found:
        return None
    path = folder / "task.json"
    task: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    words = _scaling(task, found[SCALING][""]) if SCALING in found else _compression(task)
    return Law(found, f"sparsity {shlex.join(words)} --out")


def _by_model(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows by model, each with those that are of no model; all by ``""`` where there is none."""
    if "kind" not in table.columns:
        return {Path(str(name)).name: own for name, own in table.groupby("compressor", sort=False)}
    models = table.loc[table["kind"] == "model", "compressor"].unique().tolist()
    beside = table["kind"] != "model"
    return {Path(str(name)).name: table[beside | (table["compressor"] == name)] for name in models} or {"": table}


def _compression(task: Mapping[str, Any]) -> Iterator[str]:
    yield "compression"
    for model in task.get("models", ()):
        yield from ("--model", str(model))
    for key, option in REPEATED.items():
        for value in task.get(key) or ():
            yield from (option, str(value))
    for key in ("limit", "mode", "batch"):
        if key in task:
            yield from (f"--{key}", str(task[key]))


def _scaling(task: Mapping[str, Any], table: pd.DataFrame) -> Iterator[str]:
    yield from ("scaling", *map(str, task.get("files", ())))
    models = table[table["kind"] == "model"]
    for size in models["compressor"].unique().tolist():
        yield from ("--size", str(size))
    for n_bytes in models["n_bytes"].unique().tolist():
        yield from ("--bytes", str(n_bytes))
    for key in ("steps", "chunks", "seed"):
        if key in task:
            yield from (f"--{key}", str(task[key]))
