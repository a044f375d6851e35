"""Input of a report: sweeps beside each other, as far as they can be read at all, and folders of other commands.

A report is wanted most when something is wrong with a sweep. Commits of another table schema are left out, measures
that were recorded in two versions are read in the newest, and both are said, instead of refusing the whole directory.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from analyses.data.compression_tables import open_compression
from analyses.data.runs import Run
from analyses.data.written_tables import beside, open_law, together
from probes.records import Records
from probes.records.filters import understood
from probes.records.read import open_sweep
from probes.records.schema import Table
from probes.records.sessions import shards_of
from probes.records.union import Union
from probes.records.versions import in_words, newest


class Opened(NamedTuple):
    """Tables to ask, and what had to be left out of them."""

    run: Run
    notes: list[str]


class Asked(NamedTuple):
    """Folders of one report, open.

    Attributes:
        run: the tables to ask.
        notes: what had to be left out of them.
        again: the commands that make every folder again.
    """

    run: Run
    notes: list[str]
    again: list[str]


def open_all(paths: Sequence[Path]) -> Asked:
    """Open sweep directories and folders of `sparsity learning-law`, `compression` and `scaling`, all as one run.

    Raises:
        InputError: if one is neither, or two sweeps call different items by one name.
    """
    laws = {path: law for path in paths if (law := open_law(path) or open_compression(path)) is not None}
    sweeps = [path for path in paths if path not in laws]
    opened = Opened(beside(None, {}), []) if laws and not sweeps else open_sweeps(sweeps)
    run = beside(opened.run, together(laws)) if laws else opened.run
    again = [f"{law.command} {shlex.quote(str(path))}" for path, law in laws.items()]
    return Asked(run, opened.notes, [*map(sweep_again, sweeps), *again])


def sweep_again(path: str | Path) -> str:
    """The command that sweeps a directory again.

    >>> sweep_again("runs/a b")
    "sparsity sweep 'runs/a b/sweep.yaml' --out 'runs/a b'"
    """
    return f"sparsity sweep {shlex.quote(f'{path}/sweep.yaml')} --out {shlex.quote(str(path))}"


def open_sweeps(paths: Sequence[Path]) -> Opened:
    """Open sweep directories, several as one run.

    Raises:
        InputError: if one is no sweep directory, or two call different items by one name.
    """
    left_out: list[str] = []
    sweeps = [open_sweep(path, left_out) for path in dict.fromkeys(paths)]
    notes = [f"Left out: {reason}." for reason in left_out]
    for path in dict.fromkeys(paths):
        shards = shards_of(path)
        if shards is not None and shards.n_missing:
            missing = ", ".join(str(number) for number in range(shards.n) if number not in shards.there)
            notes.append(
                f"Incomplete: of {shards.n} shards of {path.name}, {missing} have written nothing yet; every number "
                "here is of the items of the others."
            )
    run = sweeps[0] if len(sweeps) == 1 else SideBySide(sweeps)
    mixed = {metric: found for metric, found in sorted(run.versions.items()) if len(found) > 1}
    for metric, found in mixed.items():
        notes.append(
            f"{metric} is recorded in versions {in_words(found)}, which are different measures: all numbers here are "
            f"of version {newest(found)}, and items that have none in it are left out."
        )
    return Opened(cast("Run", InNewest(run)) if mixed else run, notes)


class InNewest:
    """A sweep that holds a measure in two versions, read in the newest."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._versions = {
            metric: frozenset({newest(found)}) for metric, found in records.versions.items() if len(found) > 1
        }

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  every other table is the sweep's own
        return getattr(self._records, name)

    def measurements(self, *, suite: Sequence[str] | None = None, basis: str | None = "raw") -> pd.DataFrame:
        """Rows of every measure, in its newest version."""
        return self._read("measurements", suite, basis)

    def token_measurements(self, *, suite: Sequence[str] | None = None, basis: str | None = "raw") -> pd.DataFrame:
        """The same of tokens."""
        return self._read("token_measurements", suite, basis)

    def _read(self, table: Table, suite: Sequence[str] | None, basis: str | None) -> pd.DataFrame:
        runs = self._records.runs()
        own = None if suite is None else runs.loc[runs["suite"].isin(suite), "run_id"].astype(str).tolist()
        asked = replace(understood(basis=basis, run_id=own), versions=self._versions)
        return self._records.rows(table, asked).to_pandas()


class SideBySide(Union):
    """Several sweeps as one; a model that they ran in two ways on one suite is named with the sweep of each."""

    def runs(self) -> pd.DataFrame:
        """Runs of all sweeps, each once."""
        rows = super().runs()
        models = rows["model"].astype(str)
        several = models.isin(set(models[rows.assign(model=models).duplicated(["model", "suite"], keep=False)]))
        names = [sweep.directory.resolve().name for sweep in self.sweeps]
        labels = [name if Counter(names)[name] == 1 else f"{name} {place}" for place, name in enumerate(names, 1)]
        of_run: dict[str, list[str]] = {}
        for label, sweep in zip(labels, self.sweeps, strict=True):
            for run_id in sweep.runs()["run_id"].astype(str):
                of_run.setdefault(run_id, []).append(label)
        labelled = models + [f" [{', '.join(of_run[run_id])}]" for run_id in rows["run_id"].astype(str)]
        return rows.assign(model=models.where(~several, labelled))
