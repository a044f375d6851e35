"""Is a sweep directory what its commits say? Finds damaged, missing, foreign and doubled parts, and says what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from probes.records.cells import Cell
from probes.records.schema import TABLES
from probes.records.store import COMMITS, Commit, Part, read_commits


class Fault(NamedTuple):
    """One thing that is wrong with a sweep directory.

    Attributes:
        path: the file it is about, relative to the directory.
        what: what is wrong.
        remedy: what to do about it.
    """

    path: str
    what: str
    remedy: str


def check(directory: Path) -> list[Fault]:
    """Compare every committed part with its checksum, and the folders and cells with the commits.

    Raises:
        InputError: if a commit file cannot be read at all.
    """
    commits = read_commits(directory)
    faults = [fault for commit in commits for part in commit.parts for fault in _part_faults(directory, commit, part)]
    listed = {part.file for commit in commits for part in commit.parts}
    for table in TABLES:
        for path in sorted((directory / table).glob("*")):
            name = f"{table}/{path.name}"
            if name not in listed:
                faults.append(Fault(name, "no commit lists it", "readers ignore it; delete it, or leave it"))
    return faults + _doubled(commits)


def _part_faults(directory: Path, commit: Commit, part: Part) -> list[Fault]:
    remedy = f"delete {COMMITS}/{commit.id}.json and run the sweep again: it computes what that commit held"
    path = directory / part.file
    if not path.is_file():
        return [Fault(part.file, f"missing, {part.rows} rows lost", remedy)]
    if hashlib.sha256(path.read_bytes()).hexdigest() != part.sha256:
        return [Fault(part.file, "truncated or changed: its checksum is not the committed one", remedy)]
    return []


def _doubled(commits: tuple[Commit, ...]) -> list[Fault]:
    owner: dict[tuple[str, str, Cell], str] = {}
    faults: dict[str, Fault] = {}
    for commit in commits:
        for done in commit.done:
            if done.failed:
                continue
            cells = done.block.cells()
            for example_id in done.example_ids:
                for cell in cells:
                    first = owner.setdefault((done.run_id, example_id, cell), commit.id)
                    if first != commit.id:
                        path = f"{COMMITS}/{commit.id}.json"
                        what = f"measures cells again that commit {first} holds, {example_id} first"
                        faults.setdefault(path, Fault(path, what, "delete it: the rows are in the tables twice"))
    return list(faults.values())
