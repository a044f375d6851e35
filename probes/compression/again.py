"""Streams read by a process that has seen none of what they hold.

A stream that its own writer reads proves little: data, caches and libraries are those of the writer. Here the reader is
a process of its own that is begun anew, told the name of a model or a compressor, and given streams.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

from probes.compression.archive import decompress
from probes.compression.classical import compressors
from probes.errors import InputError
from probes.models.loading import LoadedModel, load_model


class Source(NamedTuple):
    """Settings by which another process loads a model as it is here."""

    name: str
    device: str
    dtype: str


@contextmanager
def fresh_process() -> Generator[Executor]:
    """A process that begins with nothing of this one."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield process


def archive_again(process: Executor | None, model: LoadedModel, archive: bytes) -> bytes:
    """The bytes of an archive, read by a process, or by this one where there is none.

    Raises:
        InputError: if the archive cannot be read.
    """
    if process is None:
        return decompress(model, archive)
    source = Source(model.name, str(model.device), str(model.dtype).removeprefix("torch."))
    return process.submit(_read_archive, source, archive).result()


def streams_again(
    process: Executor | None, name: str, dictionary: bytes, streams: Sequence[bytes], lengths: Sequence[int]
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
    return process.submit(_read_streams, name, dictionary, streams, lengths).result()


def _read_archive(source: Source, archive: bytes) -> bytes:
    return decompress(_loaded(source), archive)


def _read_streams(name: str, dictionary: bytes, streams: Sequence[bytes], lengths: Sequence[int]) -> list[bytes]:
    one = next((one for one in compressors(dictionary) if one.name == name), None)
    if one is None:
        raise InputError(f"no compressor is called {name!r} in the process that reads its streams")
    return [one.decode(stream, length) for stream, length in zip(streams, lengths, strict=True)]


@lru_cache(maxsize=1)
def _loaded(source: Source) -> LoadedModel:
    return load_model(source.name, device=source.device, dtype=source.dtype)
