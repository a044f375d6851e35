"""Tables that commands write beside sweeps: a comparison of memories, rates of compressors, and the like.

A question about one asks the run for it by name; a run that holds none of that name is not asked anything. So such a
question stands in the same registry and the same report as the questions about sweeps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast, runtime_checkable

import pandas as pd

from analyses.data.runs import Run, remember, unwrapped
from probes.errors import InputError
from probes.records.schema import SCHEMAS, Table

LAW: Final = ("seeds", "curves", "course", "contributions")
"""Tables of `sparsity learning-law`, in a folder for each learner."""


@runtime_checkable
class HoldsTables(Protocol):
    """A run that holds tables of commands beside its own."""

    def written(self, name: str) -> Mapping[str, pd.DataFrame]:
        """Tables of one name by the model that they are about; ``""`` where it is no model of the user's."""
        ...


def written(run: Run, name: str) -> Mapping[str, pd.DataFrame]:
    """Tables of one name by model; none where the run holds none."""
    inner = unwrapped(run)
    return remember(run, f"written {name}", lambda: inner.written(name)) if isinstance(inner, HoldsTables) else {}


class Beside:
    """A run with tables of commands beside it; without a run of its own, one that has no rows."""

    def __init__(self, run: Run | None, tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> None:
        self._run, self._tables = run, tables

    def written(self, name: str) -> Mapping[str, pd.DataFrame]:
        """Tables of one name by model."""
        return self._tables.get(name, {})

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  other tables are those of the sweeps
        if self._run is not None:
            return getattr(self._run, name)
        if name in SCHEMAS:
            return partial(_no_rows, name)
        raise AttributeError(name)

    def width(self, run_id: str, site: str) -> int:
        """The width of a site of the sweeps."""
        return 0 if self._run is None else self._run.width(run_id, site)


def _no_rows(name: Table, **_: object) -> pd.DataFrame:
    return SCHEMAS[name].empty_table().to_pandas()


def beside(run: Run | None, tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Run:
    """The same run, with tables of commands by name and model."""
    return cast("Run", Beside(run, tables))


class Law(NamedTuple):
    """A folder of `sparsity learning-law`.

    Attributes:
        tables: its tables by name and learner.
        command: what makes them again.
    """

    tables: Mapping[str, Mapping[str, pd.DataFrame]]
    command: str


def law_tables(folder: Path) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of `sparsity learning-law` by name and learner; none where there are none."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for path in sorted(path for name in LAW for path in folder.glob(f"*/{name}.csv")):
        found.setdefault(path.stem, {})[path.parent.name] = pd.read_csv(path)
    return found


def open_law(folder: Path) -> Law | None:
    """A folder of `sparsity learning-law`; None where it is another.

    Raises:
        InputError: if its run has not ended.
    """
    path = folder / "task.json"
    task: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "plans" not in task:
        return None
    tables = law_tables(folder)
    learners = [*tables.get(LAW[0], {})]
    if not learners:
        raise InputError(f"{folder} holds a learning law that has not ended: give `sparsity learning-law` again first")
    n_seeds = max(table["seed"].nunique() for table in tables[LAW[0]].values())
    words = [f"--scale {task['scale']}", *(f"--learner {name}" for name in learners), f"--seeds {n_seeds}"]
    if len(learners) == 1:  # two learners may differ in these, and then have their scale's
        words += [f"--{option} {task[option][learners[0]]}" for option in ("step", "epochs")]
    return Law(tables, f"sparsity learning-law {' '.join(words)} --out")


def together(laws: Mapping[Path, Law]) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of several folders; a learner that two of them hold is named by its folder too."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for folder, law in laws.items():
        for name, own in law.tables.items():
            for learner, table in own.items():
                twice = sum(learner in other.tables.get(name, {}) for other in laws.values()) > 1
                found.setdefault(name, {})[f"{learner} [{folder.name}]" if twice else learner] = table
    return found
