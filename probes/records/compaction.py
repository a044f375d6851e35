"""Joining many small parts into few sorted ones. No row changes, and no moment of death loses or doubles one.

A compaction is one commit that says which commits it stands for. From the rename of that one file on, readers see the
new parts instead of the old; removing the old files is tidying up, which a later compaction finishes if this one died.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from probes.records.cells import Done
from probes.records.layout import in_order, read_rows, scan
from probes.records.read import Records
from probes.records.schema import SCHEMAS, TABLES, Table
from probes.records.sessions import MANIFEST, SPEC, manifest, sessions_in, sessions_of
from probes.records.store import Commit, Writer, committed, folders_of, remove_replaced
from probes.records.tensors import PART_BYTES, tensors_of
from probes.records.versions import VERSIONED, compatible, recorded, stamped, versions_in


def compact(directory: Path) -> tuple[int, int]:
    """Join the parts of every table, those of shards included, into one part per table, run and version of its metrics.

    Returns:
        How many parts there were, and how many there are.

    Raises:
        InputError: if another process writes the sweep, or the disk is full.
    """
    with ExitStack() as stack:
        writer, *_ = [stack.enter_context(Writer.open(folder)) for folder in folders_of(directory)]
        before = committed(directory)
        records = Records(directory, before)
        _gather(writer)
        after = writer.replace(before, _tables(records, before), _done(before))
        remove_replaced(directory)
    return sum(len(commit.parts) for commit in before), len(after.parts)


def _gather(writer: Writer) -> None:
    """Bring what the shards say about the sweep to where their rows go."""
    directory = writer.directory
    calls = sessions_of(directory)
    if calls != sessions_in(directory):
        writer.write(MANIFEST, manifest(calls))
    specs = [path for folder in folders_of(directory) if (path := folder / SPEC).is_file()]
    if specs and specs[0].parent != directory:
        writer.write(SPEC, specs[-1].read_text(encoding="utf-8"))


def _tables(records: Records, commits: Sequence[Commit]) -> Iterator[tuple[Table, pa.Table]]:
    for table in TABLES:
        for rows in _states(commits) if table == "states" else _joined(table, records, commits):
            yield table, rows


def _states(commits: Sequence[Commit]) -> Iterator[pa.Table]:
    """Vectors some at a time: of all tables this one alone may be larger than memory."""
    waiting: list[pa.Table] = []
    for file in (commit.folder / part.file for commit in commits for part in commit.parts if part.table == "states"):
        for tensor in tensors_of(file):
            waiting.append(tensor.rows(file))
            if sum(rows.nbytes for rows in waiting) >= PART_BYTES:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _joined(table: Table, records: Records, commits: Sequence[Commit]) -> list[pa.Table]:
    if table == "runs":
        return [pa.Table.from_pandas(records.runs(), schema=SCHEMAS["runs"], preserve_index=False)]
    parts = [(commit, commit.folder / part.file) for commit in commits for part in commit.parts if part.table == table]
    if table not in VERSIONED:
        return list(_by_run(table, [str(file) for _, file in parts]))
    known = recorded(entry for commit in commits for entry in commit.done)
    apart = compatible((str(file), versions_in(file, commit.done, known)) for commit, file in parts)
    return [stamped(table, rows, versions=versions) for files, versions in apart for rows in _by_run(table, files)]


def _by_run(table: Table, files: Sequence[str]) -> Iterator[pa.Table]:
    if "run_id" not in SCHEMAS[table].names:
        yield in_order(table, read_rows(table, files, {}))
        return
    found = (rows.column("run_id").unique().to_pylist() for file in files for rows in scan(table, file, {}, ["run_id"]))
    for run_id in dict.fromkeys(str(run_id) for some in found for run_id in some):
        yield in_order(table, read_rows(table, files, {"run_id": [run_id]})).replace_schema_metadata(None)


def _done(commits: Sequence[Commit]) -> list[Done]:
    """Cells that are settled, in the same order; neighbours that differ only in their items become one."""
    joined: list[Done] = []
    for entry in (entry for commit in commits for entry in commit.done):
        if joined and joined[-1]._replace(example_ids=()) == entry._replace(example_ids=()):
            joined[-1] = entry._replace(example_ids=joined[-1].example_ids + entry.example_ids)
        else:
            joined.append(entry)
    return joined
