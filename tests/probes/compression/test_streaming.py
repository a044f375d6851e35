"""Files that are larger than memory: either side holds one stream of them."""

import io
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from probes.compression.archive import STREAM_BYTES, Codec, Input, codec_of, pack, unpack
from probes.compression.container import Opened
from probes.suites.sources.media import CHUNK, read_chunks

STREAM = 1 << 12
SMALL = 2 * STREAM
MANY = 4  # times as many bytes, none of which may be held
MEGABYTES = 16


class Even:
    """A reader to whom all symbols are equally likely, at no cost."""

    stride = room = 1

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def begin(self, n_rows: int) -> torch.Tensor:
        return torch.zeros((1, 1, self.vocabulary)).expand(n_rows, 1, -1)

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        return self.begin(len(ids))

    def weigh(self, _: torch.Tensor, out: np.ndarray) -> float:
        out[:] = 1 / out.shape[1]
        return 1.0


class Made(io.RawIOBase):
    """A file that is made while it is read: bytes that are no UTF-8, each as the seed and its place have it."""

    def __init__(self, n_bytes: int) -> None:
        self.left = n_bytes
        self.rng = np.random.default_rng(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        n_bytes = min(len(buffer), self.left)
        buffer[:n_bytes] = self.rng.integers(128, 192, n_bytes, dtype=np.uint8).tobytes()
        self.left -= n_bytes
        return n_bytes


class Same(io.BufferedIOBase):
    """Where such a file goes: each byte has to be the one that was made."""

    def __init__(self, n_bytes: int) -> None:
        self.made = opened(n_bytes)
        self.fits = True

    def write(self, data: bytes) -> int:
        self.fits = self.fits and self.made.read(len(data)) == data
        return len(data)


def opened(n_bytes: int) -> io.BufferedReader:
    return io.BufferedReader(Made(n_bytes), CHUNK)


def there_and_back(codec: Codec, n_bytes: int, archive: Path, *, chunk: int, batch: int) -> bool:
    with archive.open("wb") as sink:
        pack([Input("a", n_bytes, lambda: opened(n_bytes))], sink, codec, chunk=chunk, batch=batch)
    back = Same(n_bytes)
    with archive.open("rb") as source:
        unpack(Opened(source, "a"), codec, lambda _: back)
    return back.fits and not back.made.read(1)


def even(model: Path) -> Codec:
    codec = codec_of(str(model))
    return codec._replace(reader=Even(codec.reader.vocabulary))


def test_memory_does_not_grow_with_the_file(byte_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.compression.archive.STREAM_BYTES", STREAM)
    codec, peaks = even(byte_model), list[int]()
    for n_bytes in (SMALL, SMALL, MANY * SMALL):  # the first one fills the caches of every library
        tracemalloc.start()
        assert there_and_back(codec, n_bytes, tmp_path / "a.spz", chunk=32, batch=64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "a.spz").stat().st_size > MANY * SMALL / 2  # nothing was held because it was made small
    assert peaks[2] < peaks[1] + SMALL


def test_text_is_read_a_chunk_at_a_time(tmp_path: Path) -> None:
    """A file of zeros that no memory holds is begun at once."""
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(1 << 40)
    assert next(read_chunks(tmp_path / "a.txt")).data == bytes(CHUNK)


@pytest.mark.long
def test_a_file_of_many_streams_in_little_memory(
    byte_model: Path, tmp_path: Path, proof: Callable[[str], None]
) -> None:
    codec, few = even(byte_model), 2 * STREAM_BYTES
    rows = STREAM_BYTES // CHUNK
    assert there_and_back(codec, few, tmp_path / "a.spz", chunk=CHUNK, batch=rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert there_and_back(codec, MEGABYTES << 20, tmp_path / "a.spz", chunk=CHUNK, batch=rows)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES - (few >> 20)
    proof(
        f"Compression: a file of {MEGABYTES} MB was written and read again in {grown:.1f} MB more memory than one of "
        f"{few >> 20} MB"
    )
