"""Writing a sweep so that no moment of death loses or doubles a row.

A commit is one JSON file under ``commits/``. It lists the Parquet parts it stands for, in every table, with their
checksums, and the blocks of cells they fill. Parts are written first, each to a temporary name, synced and renamed;
the commit file is renamed into place last. Readers and resuming runs believe commit files only, so a part whose commit
never came does not exist, and its name is simply used again. One process writes at a time: it holds an flock on
``.lock``, which the kernel frees when the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import socket
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from probes.errors import InputError
from probes.records.cells import Block, Done
from probes.records.layout import ROW_GROUP, in_order
from probes.records.schema import READABLE, SCHEMA_VERSION, Table
from probes.records.tensors import SUFFIX, in_parts, to_safetensors
from probes.records.versions import KEY, stamped

COMMITS = "commits"
LOCK = ".lock"
READING = ".reading"
SHARD = "shard-"


class Part(NamedTuple):
    """One file of one table: Parquet, or safetensors for states."""

    table: str
    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Rows and files that became true at once, in one folder.

    Attributes:
        folder: where it was written.
        id: its number there.
        parts: the files whose rows it made true.
        done: the cells they settle.
        replaces: commits that it stands for since a compaction, ``<id>`` or ``<shard>/<id>``.
    """

    folder: Path
    id: str
    parts: tuple[Part, ...]
    done: tuple[Done, ...]
    replaces: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The commit file."""
        return self.folder / COMMITS / f"{self.id}.json"

    def to_json(self) -> str:
        """The commit file's text."""
        return json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "id": self.id,
                "parts": [part._asdict() for part in self.parts],
                "replaces": self.replaces,
                "done": [{**entry._asdict(), "block": asdict(entry.block)} for entry in self.done],
            },
            ensure_ascii=False,
        )

    @staticmethod
    def from_json(text: bytes, path: Path) -> Commit:
        """Read a commit file.

        Raises:
            InputError: if it was written by another schema or is no commit file.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            schema = raw["schema"]
            if schema not in READABLE:  # told apart from what is no commit at all
                known = " and ".join(map(str, READABLE))
                raise InputError(
                    f"{path} has table schema {schema} and this version reads {known}; use the version that wrote it"
                )
            done = tuple(
                Done(
                    entry["run_id"],
                    tuple(entry["example_ids"]),
                    _block(entry["block"]),
                    entry["failed"],
                    entry.get("min_tokens"),
                )
                for entry in raw["done"]
            )
            return Commit(
                folder=path.parent.parent,
                id=raw["id"],
                parts=tuple(Part(**part) for part in raw["parts"]),
                done=done,
                replaces=tuple(raw.get("replaces", ())),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # whatever stands there instead
            raise InputError(f"{path} is not a commit file of a sweep ({error})") from None


def _block(raw: Mapping[str, Sequence[str]]) -> Block:
    return Block(**{name: tuple(values) for name, values in raw.items()})


def read_commits(directory: Path, left_out: list[str] | None = None) -> tuple[Commit, ...]:
    """All commit files of one folder, oldest first; empty where nothing was committed.

    Args:
        directory: the folder.
        left_out: where given, commits that this version cannot read are left out and said here, not refused.

    Raises:
        InputError: if a commit file cannot be read.
    """
    commits: list[Commit] = []
    for path in sorted((directory / COMMITS).glob("*.json")):
        try:
            commits.append(Commit.from_json(path.read_bytes(), path))
        except InputError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    return tuple(commits)


def folders_of(directory: Path) -> list[Path]:
    """The folders that make up a sweep: the directory itself, and its shards if several processes write it."""
    shards = (path for path in directory.glob(f"{SHARD}*") if (path / COMMITS).is_dir())
    return [directory, *sorted(shards, key=lambda path: (len(path.name), path.name))]


class Reading:
    """Someone reads a sweep directory: as long as this object lives, what was committed when it began stays on disk.

    A shared flock, freed with the object or the process. A directory that cannot be locked (read-only, or a network
    disk without locks) is read all the same; there, a compaction at the wrong moment is one clear line.
    """

    def __init__(self, directory: Path) -> None:
        if not any((folder / COMMITS).is_dir() for folder in folders_of(directory)):
            return
        handle = _opened(directory / READING)
        if handle is not None:
            weakref.finalize(self, os.close, handle)
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_SH)


def committed(directory: Path, left_out: list[str] | None = None) -> tuple[Commit, ...]:
    """The commits of a sweep directory and its shards that hold: all but those that a compaction stands for.

    Args:
        directory: the sweep directory.
        left_out: as :func:`read_commits` takes it.

    Raises:
        InputError: if a commit file cannot be read.
    """
    commits = [commit for folder in folders_of(directory) for commit in read_commits(folder, left_out)]
    replaced = {
        commit.folder / Path(name).parent / COMMITS / f"{Path(name).name}.json"
        for commit in commits
        for name in commit.replaces
    }
    return tuple(commit for commit in commits if commit.path not in replaced)


def remove_replaced(directory: Path) -> None:
    """Delete the commits that others stand for, and the parts that only they list; whoever dies here can do it again.

    Nothing is deleted while somebody reads the directory (:class:`Reading`); the next call does it then. The oldest go
    first: a commit that was itself a replacement must outlive what it replaced.
    """
    handle = _opened(directory / READING)
    if handle is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return
    try:
        _remove_replaced(directory)
    finally:
        os.close(handle)


def _opened(path: Path) -> int | None:
    """A file to lock, made if it is not there; None where that cannot be."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, flags, 0o666)
    return None


def _remove_replaced(directory: Path) -> None:
    holding = committed(directory)
    paths = {commit.path for commit in holding}
    listed = {commit.folder / part.file for commit in holding for part in commit.parts}
    for folder in folders_of(directory):
        for commit in read_commits(folder):
            if commit.path in paths:
                continue
            for part in commit.parts:
                if folder / part.file not in listed:
                    (folder / part.file).unlink(missing_ok=True)
            commit.path.unlink()


class Writer:
    """The one process that may add to a sweep directory. Use as ``with Writer.open(directory) as writer``."""

    def __init__(self, directory: Path, commits: Sequence[Commit], about: Callable[[], Mapping[str, str]]) -> None:
        self.directory = directory
        self._about: Callable[[], Mapping[str, str]] | None = about
        self._next = 1 + max((int(commit.id) for commit in commits), default=0)
        self.seconds = 0.0  # spent writing

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path, about: Callable[[], Mapping[str, str]] = dict) -> Generator[Writer]:
        """Take the lock of a sweep directory, creating it if need be.

        Args:
            directory: the sweep directory, or a shard of it.
            about: gives the files about the sweep that are written before the first commit, by name; who commits
                nothing writes none.

        Raises:
            InputError: if another process holds the lock, or the directory cannot be written.
        """
        try:
            (directory / COMMITS).mkdir(parents=True, exist_ok=True)
            handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"cannot write to {directory}: {error.strerror}") from None
        try:
            _take(handle, directory)
            yield cls(directory, read_commits(directory), about)
        finally:
            os.close(handle)

    def commit(self, tables: Mapping[Table, pa.Table], done: Sequence[Done] = ()) -> Commit:
        """Make rows and the cells they fill true together; empty tables are left out.

        Raises:
            InputError: if the disk is full or fails; what was committed before stands.
        """
        return self.replace((), tables.items(), done)

    def replace(
        self, commits: Sequence[Commit], tables: Iterable[tuple[Table, pa.Table]], done: Sequence[Done]
    ) -> Commit:
        """Like :meth:`commit`, in place of other commits; a table may come in several parts."""
        self.introduce()
        name = f"{self._next:06d}"
        began = time.perf_counter()
        try:
            parts: list[Part] = []
            for table, rows in (cut for whole in tables for cut in _in_parts(*whole)):
                if rows.num_rows:
                    n_before = sum(part.table == table for part in parts)
                    suffix = SUFFIX if table == "states" else ".parquet"
                    file = f"{table}/{name}-{n_before}{suffix}" if n_before else f"{table}/{name}{suffix}"
                    parts.append(self._write_part(table, file, stamped(table, rows, done)))
            replaces = tuple(str(commit.folder.relative_to(self.directory) / commit.id) for commit in commits)
            commit = Commit(folder=self.directory, id=name, parts=tuple(parts), done=tuple(done), replaces=replaces)
            write_atomically(commit.path, commit.to_json().encode())
        except OSError as error:
            raise self._stopped(error) from error
        self._next += 1
        self.seconds += time.perf_counter() - began
        return commit

    def introduce(self) -> None:
        """Write the files about the sweep, if that was not done yet."""
        about, self._about = self._about, None
        for name, text in about().items() if about else ():
            self.write(name, text)

    @property
    def has_written(self) -> bool:
        """True where anything was committed, and so the files about the sweep are there."""
        return self._about is None

    def write(self, name: str, text: str) -> None:
        """Write a file about the sweep beside its tables.

        Raises:
            InputError: if the disk is full or fails; what was committed before stands.
        """
        try:
            write_atomically(self.directory / name, text.encode())
        except OSError as error:
            raise self._stopped(error) from error

    def _stopped(self, error: OSError) -> InputError:
        return InputError(
            f"cannot write to {self.directory}: {error.strerror}; what was committed stands, "
            "run the same command again once this is mended"
        )

    def _write_part(self, table: Table, file: str, rows: pa.Table) -> Part:
        data = as_file(table, rows)
        (self.directory / table).mkdir(exist_ok=True)
        write_atomically(self.directory / file, data)
        return Part(table, file, rows.num_rows, hashlib.sha256(data).hexdigest())


def _in_parts(table: Table, rows: pa.Table) -> Iterable[tuple[Table, pa.Table]]:
    """Rows as parts hold them: of all tables states alone may be too large to be written at once."""
    return ((table, part) for part in (in_parts(rows) if table == "states" else (rows,)))


def as_file(table: Table, rows: pa.Table) -> bytes:
    """The bytes of a part: Parquet, and safetensors for states."""
    if table == "states":
        return to_safetensors(rows)
    buffer = io.BytesIO()
    told: Any = rows.schema.metadata or {}
    metadata = {b"schema_version": str(SCHEMA_VERSION).encode(), **{key: told[key] for key in (KEY,) if key in told}}
    schema = rows.schema.with_metadata(metadata)
    pq.write_table(in_order(table, rows.cast(schema)), buffer, compression="zstd", row_group_size=ROW_GROUP)
    return buffer.getvalue()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _take(handle: int, directory: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
        raise InputError(f"{directory} is being written by {holder}; wait for it or stop it") from None
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
