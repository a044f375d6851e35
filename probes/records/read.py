"""Reading a sweep back: DataFrames with the columns of the schema, filtered while reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from probes.errors import InputError
from probes.records.arrow import newest
from probes.records.cells import Done
from probes.records.filters import (
    Filter,
    Layers,
    Wanted,
    listed,
    of_metrics,
    owed,
    refuse_unknown_names,
    understood,
    versions_wanted,
)
from probes.records.layout import read_rows, scan
from probes.records.schema import FAMILIARITY_STAGE, Table
from probes.records.sessions import Shards, shards_of
from probes.records.store import Commit, Reading, committed
from probes.records.stored_states import States, StoredPlace, joined, read_states, stored_places
from probes.records.versions import TOKENS, of_versions, recorded, versions_in
from probes.vocabulary.massive_tokens import massive
from probes.vocabulary.names import RAW
from probes.vocabulary.run_facts import RunFacts

ROWS_AT_ONCE: Final = 4096


class Records:
    """The tables of one sweep directory, as far as they are committed.

    Methods named after a table return a pandas DataFrame with exactly its columns in :mod:`probes.records.schema`,
    names as categories; :meth:`states` returns arrays. What they are asked for is read as a spec is: ``site`` may be
    ``resid_post.3``, ``metric`` may be ``top_k_energy(.10)``, and a name that the sweep does not have raises
    ``InputError`` with the nearest one. Measurements are in the model's own coordinates (``basis="raw"``) unless
    another basis is asked for; ``basis=None`` gives those in all.
    """

    def __init__(self, directory: Path, commits: Sequence[Commit], reading: Reading | None = None) -> None:
        self.directory = directory
        self.commits = commits
        self._reading = reading  # held as long as this is: what was committed then can be read, whatever is written
        self._facts: dict[str, RunFacts] | None = None

    def runs(self) -> pd.DataFrame:
        """One row per model x suite: the newest row written for it.

        Column ``status``: ``done``; ``running`` while, or because, not all of it was measured; ``incomplete`` where
        shards of the sweep have not begun (:attr:`shards`).
        """
        folders = list(dict.fromkeys(commit.folder for commit in self.commits))
        written = [read_rows("runs", self._files("runs", folder), {}).to_pandas() for folder in folders]
        newest = [rows.drop_duplicates("run_id", keep="last") for rows in written]
        rows = pd.concat(newest, ignore_index=True) if newest else self._read("runs")
        whole = np.repeat([folder == self.directory for folder in folders], [len(found) for found in newest])
        rows = rows.iloc[np.argsort(rows["started"].to_numpy(dtype=str), kind="stable")] if len(folders) > 1 else rows
        last = rows.drop_duplicates("run_id", keep="last")
        if len(folders) > 1:
            shards = rows[~whole[rows.index]]
            partly = set(shards.loc[shards["status"] != "done", "run_id"])
            by_shard = last["run_id"].isin(partly) & ~whole[last.index]
            last = last.assign(status=last["status"].where(~by_shard, "running"))
        if self.shards is not None and self.shards.n_missing:
            last = last.assign(status=last["status"].where(last["status"] != "done", "incomplete"))
        return last.reset_index(drop=True)

    @cached_property
    def versions(self) -> Mapping[str, frozenset[str]]:
        """The versions in which each metric is recorded, ``gini`` -> ``{"1"}``: of most metrics one."""
        return recorded(entry for commit in self.commits for entry in commit.done)

    @cached_property
    def shards(self) -> Shards | None:
        """Shards of the sweep that are there; None for a sweep in one piece."""
        return shards_of(self.directory)

    def _repr_html_(self) -> str:
        shown = ["model", "suite", "dtype", "device", "status", "started"]
        return f"<p>{escape(str(self.directory))}</p>{self.runs()[shown].to_html()}"

    def examples(self, *, suite: Wanted = None) -> pd.DataFrame:
        """One row per item."""
        self._runs_of(suite)
        return self.rows("examples", Filter({} if suite is None else {"suite": listed(suite)})).to_pandas()

    def inputs(self) -> pd.DataFrame:
        """One row per item and run: its tokens as the model read them."""
        return self._read("inputs").drop_duplicates(["run_id", "example_id"], ignore_index=True)

    def measurements(
        self,
        *,
        site: Wanted = None,
        layer: Layers = None,
        metric: Wanted = None,
        suite: Wanted = None,
        position: Wanted = None,
        basis: Wanted = RAW,
    ) -> pd.DataFrame:
        """One row per item, place and metric, for positions that give one vector or one mean per item.

        Args:
            site: of these sites only, with or without their layer.
            layer: of these layers only.
            metric: by these metrics only, ``gini`` or, with its version, ``gini@2``. Of a metric that the sweep holds
                in several versions (:attr:`versions`) one must be named; rows of several have them in their name.
            suite: of these suites only.
            position: at these positions only.
            basis: in these coordinates; the controls of a sweep measure in others than ``raw``. None: in all.

        Raises:
            InputError: if a name is not one that the sweep has, or a metric is recorded in two versions and none of
                them is asked for.
        """
        return self._read(
            "measurements",
            versions_wanted(metric, self.versions, str(self.directory)),
            site=site,
            layer=layer,
            metric=metric,
            position=position,
            basis=basis,
            run_id=self._runs_of(suite),
        )

    def token_measurements(
        self,
        *,
        site: Wanted = None,
        layer: Layers = None,
        metric: Wanted = None,
        suite: Wanted = None,
        basis: Wanted = RAW,
        flag_massive: bool = False,
    ) -> pd.DataFrame:
        """One row per token and place, one column per metric (position ``all``).

        Args:
            site: of these sites only.
            layer: of these layers only.
            metric: columns of these metrics only, as :meth:`measurements` takes them.
            suite: of these suites only.
            basis: in these coordinates; None: in all.
            flag_massive: add a column ``massive``: whether the state is more than five times as long as the median of
                the item's tokens there, as attention sinks are; ``rows[~rows.massive]`` leaves them out.

        Raises:
            InputError: if a name is not one that the sweep has, a metric is recorded in two versions and none of them
                is asked for, or massive tokens are asked for without ``l2_norm``.
        """
        versions = versions_wanted(metric, self.versions, str(self.directory))
        rows = self._read(TOKENS, versions, site=site, layer=layer, basis=basis, run_id=self._runs_of(suite))
        if metric is not None:
            rows = rows[of_metrics(list(rows.columns), metric, f"{self.directory}, {TOKENS}")]
        if not flag_massive:
            return rows
        if "l2_norm" not in rows:
            raise InputError(
                f"{self.directory} has no l2_norm of tokens, by which massive tokens are found; add the metric"
            )
        places = rows.groupby(["run_id", "example_id", "site", "layer", "unit", "basis"], observed=True, sort=False)
        return rows.assign(massive=massive(rows["l2_norm"].to_numpy(np.float64), places.ngroup().to_numpy(np.int64)))

    def outcomes(self, *, suite: Wanted = None) -> pd.DataFrame:
        """One row per item and outcome."""
        return self._read("outcomes", run_id=self._runs_of(suite))

    def next_tokens(self, *, suite: Wanted = None) -> pd.DataFrame:
        """One row per item: the tokens likeliest to follow it, the likeliest first, and their probabilities."""
        return self._read("next_tokens", run_id=self._runs_of(suite))

    def familiarity(self, *, suite: Wanted = None, measure: Wanted = None, corpus: Wanted = None) -> pd.DataFrame:
        """One row per item and familiarity measure; NaN has its reason in :meth:`undefined`."""
        return self._read("familiarity", run_id=self._runs_of(suite), measure=measure, corpus=corpus)

    def familiarity_tokens(
        self, *, suite: Wanted = None, measure: Wanted = None, corpus: Wanted = None
    ) -> pd.DataFrame:
        """One row per token and familiarity measure, with the characters that the token stands for."""
        return self._read("familiarity_tokens", run_id=self._runs_of(suite), measure=measure, corpus=corpus)

    def tokens(
        self,
        *,
        site: Wanted = None,
        layer: Layers = None,
        suite: Wanted = None,
        measure: Wanted = None,
        corpus: Wanted = None,
    ) -> pd.DataFrame:
        """Sparsity of each token beside its outcomes.

        Row ``token = t`` has the sparsity of the state after reading token t, and familiarity of token t: a surprisal
        is what the state before it made of it, a count is of the stretch that ends with it.

        Returns:
            The columns of :meth:`token_measurements`, ``char_start`` and ``char_end``, and one column per familiarity
            measure, called ``measure`` or ``measure|corpus``; NaN where a token has none. Tokens that no measure is
            about (a BOS) have no characters.
        """
        told = self.familiarity_tokens(suite=suite, measure=measure, corpus=corpus)
        sparse = self.token_measurements(site=site, layer=layer, suite=suite)
        keys = ["run_id", "example_id", "token"]
        for frame in (told, sparse):
            frame[keys[:2]] = frame[keys[:2]].astype(str)
        against = told["corpus"].astype(str)
        of_name, names = pd.factorize(told["measure"].astype(str) + ("|" + against).where(against != "", ""))
        place = told.groupby(keys, sort=False).ngroup().to_numpy()
        values = np.full((place.max(initial=-1) + 1, len(names)), np.nan)
        values[place, of_name] = told["value"]
        tokens = told.drop_duplicates(keys)[[*keys, "char_start", "char_end"]].reset_index(drop=True)
        both = sparse.merge(tokens.join(pd.DataFrame(values, columns=names)), on=keys, how="left")
        return both.astype(dict.fromkeys(keys[:2], "category"))

    def stored_states(self) -> tuple[StoredPlace, ...]:
        """The places whose vectors the sweep keeps (spec key ``states``); empty where it keeps none."""
        return stored_places(list(map(Path, self._files("states"))))

    def states(
        self,
        site: str,
        *,
        layer: int | None = None,
        position: str | None = None,
        suite: Wanted = None,
        model: Wanted = None,
    ) -> States:
        """The vectors kept at one place, in float32, and what is known of their items.

        Args:
            site: with or without its layer.
            layer: may be left out where ``site`` has it or one layer is stored.
            position: may be left out where one position is stored.
            suite: of these only, as ``model``.
            model: by name.

        Returns:
            Keys and vectors, sorted by model, suite, example_id and token; an InputError where not one place is meant.
        """
        return joined(self.states_in_parts(site, layer=layer, position=position, suite=suite, model=model))

    def states_in_parts(
        self,
        site: str,
        *,
        layer: int | None = None,
        position: str | None = None,
        suite: Wanted = None,
        model: Wanted = None,
    ) -> Iterator[States]:
        """The same, part by part as measured: at most 64 MB at a time of vectors that may be more than memory holds."""
        runs = self.runs()
        for name, wanted in (("suite", suite), ("model", model)):
            refuse_unknown_names(name, wanted or (), runs[name].astype(str), str(self.directory))
            runs = runs if wanted is None else runs[runs[name].isin(listed(wanted))]
        files = list(map(Path, self._files("states")))
        return read_states(files, runs, self.examples(suite=suite), site, layer, position)

    def undefined(self) -> pd.DataFrame:
        """Reasons that values of familiarity are NaN: columns of ``failures``, one row per item and measure."""
        rows = self._read("failures")
        return rows[rows["stage"] == FAMILIARITY_STAGE].reset_index(drop=True)

    def populations(self, *, suite: Wanted = None, basis: Wanted = None) -> pd.DataFrame:
        """One row per group of items, place and measure of a set of vectors; no measure is there in two bases."""
        return self._read("populations", basis=basis, run_id=self._runs_of(suite))

    def failures(self) -> pd.DataFrame:
        """One row per item that could not be measured, and why; items that a retry has measured since are left out.

        Values of familiarity that an item does not have are no failure of the item: see :meth:`undefined`.
        """
        rows = self._read("failures")
        rows = rows[rows["stage"] != FAMILIARITY_STAGE].drop_duplicates(["run_id", "example_id"], keep="last")
        settled: dict[tuple[str, str], bool] = {}
        for entry in (entry for commit in self.commits for entry in commit.done):
            settled.update(
                dict.fromkeys(((entry.run_id, example_id) for example_id in entry.example_ids), entry.failed)
            )
        still = [
            settled.get((str(run), str(item)), True)
            for run, item in zip(rows["run_id"], rows["example_id"], strict=True)
        ]
        return rows[np.array(still, dtype=bool)].reset_index(drop=True)

    def done(self, run_id: str, *, with_failures: bool = True) -> list[Done]:
        """Settled cells of one run, by numbers or (``with_failures``) by recorded failures."""
        entries = (entry for commit in self.commits for entry in commit.done)
        return [entry for entry in entries if entry.run_id == run_id and (with_failures or not entry.failed)]

    def width(self, run_id: str, site: str) -> int:
        """Number of coordinates of the vectors measured at a site, the d of every null value.

        Raises:
            InputError: if the run did not measure that site.
        """
        widths = self.facts(run_id).widths
        if site not in widths:
            raise InputError(f"run {run_id} has no site {site!r}; it has {', '.join(sorted(widths))}")
        return int(widths[site])

    def facts(self, run_id: str) -> RunFacts:
        """Recorded model and settings of a run (``spec_json`` of its row)."""
        if self._facts is None:
            self._facts = {str(row.run_id): RunFacts.from_json(str(row.spec_json)) for row in self.runs().itertuples()}
        if run_id not in self._facts:
            raise InputError(f"no run {run_id!r} in {self.directory}; there are {', '.join(self._facts)}")
        return self._facts[run_id]

    def _runs_of(self, suite: Wanted) -> list[str] | None:
        if suite is None:
            return None
        runs = self.runs()
        suites = runs["suite"].astype(str)
        refuse_unknown_names("suite", suite, suites, str(self.directory))
        return [str(run) for run in runs.loc[suites.isin(listed(suite)), "run_id"]]

    def batches(self, table: Table, columns: Sequence[str], **wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """Some columns of a table, a few thousand rows at a time, so that memory does not grow with the table."""
        accepted = {name: listed(values) for name, values in wanted.items() if values is not None}
        for file in self._files(table):
            for rows in scan(table, file, accepted, columns):
                yield from rows.to_batches(max_chunksize=ROWS_AT_ONCE)

    def rows(self, table: Table, asked: Filter) -> pa.Table:
        """Rows of a table that a filter accepts, as Arrow; of an item the newest, where a level was corrected."""
        rows = self._told_apart(table, asked) if asked.versions else read_rows(table, self._files(table), asked.values)
        rows = asked.narrowed(rows)
        return rows.filter(newest(rows.column("example_id"))) if table == "examples" else rows

    def _told_apart(self, table: Table, asked: Filter) -> pa.Table:
        """Rows of all parts, less those of versions that are not accepted."""
        found = [read_rows(table, [], asked.values)]
        for commit in self.commits:
            for file in (commit.folder / part.file for part in commit.parts if part.table == table):
                rows = read_rows(table, [str(file)], asked.values)
                found.append(of_versions(table, rows, versions_in(file, commit.done, self.versions), asked.versions))
        return pa.concat_tables(found, promote_options="default").unify_dictionaries()

    def _files(self, table: Table, folder: Path | None = None) -> list[str]:
        return [
            str(commit.folder / part.file)
            for commit in self.commits
            if folder in (None, commit.folder)
            for part in commit.parts
            if part.table == table
        ]

    def _read(
        self, table: Table, versions: Mapping[str, frozenset[str]] | None = None, **wanted: Wanted | Layers
    ) -> pd.DataFrame:
        asked = replace(understood(**wanted), versions=versions or {})
        rows = self.rows(table, asked)
        asked.refuse_unmatched(rows, partial(self._known, table), f"{self.directory}, {table}")
        return rows.to_pandas()

    def _known(self, table: Table, columns: Sequence[str]) -> set[tuple[Any, ...]]:
        """The distinct rows of some columns; of measurements also what is settled by failures and has no row."""
        found: set[tuple[Any, ...]] = set()
        for file in self._files(table):
            for rows in scan(table, file, {}, columns):
                distinct: Any = rows.group_by(list(columns)).aggregate([])
                found.update(zip(*(distinct.column(name).to_pylist() for name in columns), strict=True))
        if table in ("measurements", "token_measurements"):
            for block in {entry.block for commit in self.commits for entry in commit.done}:
                found.update(owed(block, columns))
        return found


def open_sweep(directory: str | Path, left_out: list[str] | None = None) -> Records:
    """Open one sweep directory for reading; see :func:`probes.records.union.open_run`.

    Args:
        directory: the sweep directory.
        left_out: where given, commits that this version cannot read are left out and said here, not refused.

    Raises:
        InputError: if there is no sweep there that can be read.
    """
    path = Path(directory)
    reading = Reading(path)
    commits = committed(path, left_out)
    if not commits:
        reason = left_out[0] if left_out else "nothing is committed there; give the --out of `sparsity sweep`"
        raise InputError(f"{path} is not a sweep directory: {reason}")
    return Records(path, commits, reading)
