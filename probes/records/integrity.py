"""Is a sweep directory what its commits say? Finds damaged, missing, foreign and doubled parts, and says what to do."""

from __future__ import annotations

import hashlib
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from probes.records.cells import Block
from probes.records.schema import TABLES
from probes.records.store import Commit, Part, committed, folders_of


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
    commits = committed(directory)
    faults = [fault for commit in commits for part in commit.parts for fault in _part_faults(directory, commit, part)]
    listed = {commit.folder / part.file for commit in commits for part in commit.parts}
    for folder in folders_of(directory):
        for path in (path for table in TABLES for path in sorted((folder / table).glob("*"))):
            if path not in listed:
                name = str(path.relative_to(directory))
                faults.append(Fault(name, "no commit lists it", "readers ignore it; delete it, or leave it"))
    return faults + _doubled(directory, commits)


def _part_faults(directory: Path, commit: Commit, part: Part) -> list[Fault]:
    file = commit.path.relative_to(directory)
    remedy = f"delete {file} and run the sweep again: it computes what that commit held"
    path = commit.folder / part.file
    name = str(path.relative_to(directory))
    if not path.is_file():
        return [Fault(name, f"missing, {part.rows} rows lost", remedy)]
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != part.sha256:
            return [Fault(name, "truncated or changed: its checksum is not the committed one", remedy)]
    return []


def _doubled(directory: Path, commits: tuple[Commit, ...]) -> list[Fault]:
    """Items whose cells two commits hold, found per pair of blocks that share cells rather than cell by cell."""
    entries: dict[str, dict[Block, list[pd.DataFrame]]] = {}
    for number, commit in enumerate(commits):
        for done in commit.done:
            if not done.failed:
                frame = pd.DataFrame({"item": done.example_ids, "commit": number})
                entries.setdefault(done.run_id, {}).setdefault(done.block, []).append(frame)
    faults: dict[str, Fault] = {}
    for blocks in entries.values():
        tables = {block: pd.concat(frames) for block, frames in blocks.items()}
        for one, other in combinations_with_replacement(tables, 2):
            if one.cells().isdisjoint(other.cells()):
                continue
            both = tables[one].merge(tables[other], on="item")
            pairs = cast("Any", both[both["commit_x"] != both["commit_y"]])
            found = cast("list[tuple[str, int, int]]", pairs[["item", "commit_x", "commit_y"]].to_numpy().tolist())
            for item, first, second in found:
                early, late = (str(commits[index].path.relative_to(directory)) for index in sorted((first, second)))
                what = f"measures cells again that {early} holds, {item} first"
                faults.setdefault(late, Fault(late, what, "delete it: the rows are in the tables twice"))
    return list(faults.values())
