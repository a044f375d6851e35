"""Streams read by a process that has seen none of what they hold.

A stream that its own writer reads proves little: data, caches and libraries are those of the writer. Here the reader is
a process of its own that is begun anew, told the name of a model or a compressor, and given streams.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar

from probes.compression.archive import Progress, decompress
from probes.compression.classical import compressors
from probes.compression.prequential import recall
from probes.errors import InputError
from probes.models.loading import LoadedModel, load_model

ASKED_EVERY: Final = 0.5  # seconds

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Fresh:
    """A process of its own, and how many bytes of the present stream it has read.

    Attributes:
        executor: runs functions there.
        n_done: a number that both processes see.
    """

    executor: Executor
    n_done: Any  # multiprocessing.Value

    def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """The result of a function there."""
        return self.executor.submit(function, *arguments).result()

    def told(
        self, progress: Progress | None, total: int, function: Callable[..., Result], *arguments: object
    ) -> Result:
        """The result of a function that says how many bytes it has read, passed on now and then."""
        self.n_done.value = 0
        future = self.executor.submit(function, *arguments)
        while True:
            try:
                return future.result(timeout=ASKED_EVERY)
            except TimeoutError:
                if future.done():
                    raise
                if progress is not None:
                    progress(self.n_done.value, total)


class Source(NamedTuple):
    """Settings by which another process loads a model as it is here."""

    name: str
    device: str
    dtype: str


@contextmanager
def fresh_process() -> Generator[Fresh]:
    """A process that begins with nothing of this one."""
    context = get_context("spawn")
    n_done = context.Value("q", 0)
    with ProcessPoolExecutor(1, context, initializer=_begin, initargs=(n_done,)) as executor:
        yield Fresh(executor, n_done)


def archive_again(
    process: Fresh | None, model: LoadedModel, archive: bytes, n_bytes: int, progress: Progress | None = None
) -> bytes:
    """The bytes of an archive, read by a process, or by this one where there is none.

    Args:
        process: where it is read.
        model: what wrote it.
        archive: the container.
        n_bytes: bytes that it should hold.
        progress: told of bytes read, and of all.

    Raises:
        InputError: if the archive cannot be read.
    """
    if process is None:
        return decompress(model, archive, progress=progress)
    source = Source(model.name, str(model.device), str(model.dtype).removeprefix("torch."))
    return process.told(progress, n_bytes, _read_archive, source, archive)


def recalled(process: Fresh | None, archive: bytes, n_bytes: int, progress: Progress | None = None) -> bytes:
    """The bytes of an archive whose model was trained meanwhile, read by a process, or by this one."""
    if process is None:
        return recall(archive, progress=progress)
    return process.told(progress, n_bytes, _recall, archive)


def streams_again(
    process: Fresh | None, name: str, dictionary: bytes, streams: Sequence[bytes], lengths: Sequence[int]
) -> list[bytes]:
    """The bytes of some streams of a classical compressor, read by a process, or by this one where there is none.

    Args:
        process: where they are read.
        name: of the compressor.
        dictionary: what it knows.
        streams: what it wrote.
        lengths: bytes that each stream holds.
    """
    if process is None:
        return _read_streams(name, dictionary, streams, lengths)
    return process.run(_read_streams, name, dictionary, streams, lengths)


class _Here:
    """The number that the process which began this one sees."""

    n_done: Any = None


def _begin(n_done: Any) -> None:  # noqa: ANN401  multiprocessing.Value
    _Here.n_done = n_done
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the process that began this one is killed; an executor's own process would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _tell(done: int, _: int) -> None:
    if _Here.n_done is not None:
        _Here.n_done.value = done


def _read_archive(source: Source, archive: bytes) -> bytes:
    return decompress(_loaded(source), archive, progress=_tell)


def _recall(archive: bytes) -> bytes:
    return recall(archive, progress=_tell)


def _read_streams(name: str, dictionary: bytes, streams: Sequence[bytes], lengths: Sequence[int]) -> list[bytes]:
    one = next((one for one in compressors(dictionary) if one.name == name), None)
    if one is None:
        raise InputError(f"no compressor is called {name!r} in the process that reads its streams")
    return [one.decode(stream, length) for stream, length in zip(streams, lengths, strict=True)]


@lru_cache(maxsize=1)
def _loaded(source: Source) -> LoadedModel:
    return load_model(source.name, device=source.device, dtype=source.dtype)
