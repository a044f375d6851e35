"""Files into a container and out of it, a stream at a time, so that they may be larger than memory.

>>> archive = compress(model, b"Once upon a time")                      # doctest: +SKIP
>>> decompress(model, archive)                                          # doctest: +SKIP
b'Once upon a time'
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BufferedIOBase, BytesIO
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from probes.compression.coding import Cost, decode_group, encode_group
from probes.compression.container import FileEntry, Header, Opened, Writer
from probes.compression.distributions import mass_kept
from probes.compression.exact import ExactLlama
from probes.compression.fingerprint import Mode, check_fingerprint, fingerprint, mode_of
from probes.compression.reading import Lockstep, Reader
from probes.compression.spelling import Spelling, spelling_of
from probes.errors import InputError
from probes.extras import extra
from probes.models.loading import LoadedModel, load_model

CHUNK: Final = 2048
BATCH: Final = 16
STREAM_BYTES: Final = 1 << 22
"""Bytes of files that share a range coder: what begins anew costs less than 64 bits, and either side holds one."""

Item = TypeVar("Item")

Progress = Callable[[int, int], None]
OnCosts = Callable[[Sequence[Cost]], None]


class Input(NamedTuple):
    """A file to compress: its name without folders, its length, and how to open it."""

    name: str
    n_bytes: int
    open: Callable[[], BufferedIOBase]


class Packed(NamedTuple):
    """Sizes of an archive and of its parts.

    Attributes:
        n_bytes: of the files.
        n_container_bytes: of everything that was written.
        n_stream_bytes: of the streams in it.
        n_streams: how many range coders were begun.
        n_chunks: chunks of the files.
        n_symbols: tokens, escapes and bytes that were coded.
        ideal_bits: code length of all symbols under the model as it is coded, and a bit for every chunk.
        mass_kept: share of probability kept for what the model gives none (:func:`.distributions.mass_kept`).
    """

    n_bytes: int
    n_container_bytes: int
    n_stream_bytes: int
    n_streams: int
    n_chunks: int
    n_symbols: int
    ideal_bits: float
    mass_kept: float

    @property
    def rate(self) -> float:
        """Bytes written per byte read: 0 for nothing, 1 for no gain, more where it grew; NaN for empty files."""
        return self.n_container_bytes / self.n_bytes if self.n_bytes else float("nan")


class Learner(Protocol):
    """Training that goes on while a model codes (:mod:`probes.compression.prequential`)."""

    @property
    def plan(self) -> Any:  # noqa: ANN401  a dataclass
        """Everything that a reader needs to repeat it, as a dataclass."""
        ...

    def learn(self, chunks: Sequence[bytes]) -> None:
        """Change the model by chunks that have just been coded."""
        ...


class Codec(NamedTuple):
    """A model that is ready to write and read streams.

    Attributes:
        model: the model.
        mode: ``lockstep`` or ``exact``.
        reader: how it reads symbols.
        spelling: what they stand for.
        learner: trains the model after every group of chunks; None leaves it as it is. With one, a codec is for one
            container.
    """

    model: LoadedModel
    mode: Mode
    reader: Reader
    spelling: Spelling
    learner: Learner | None = None


def codec_of(model: object, mode: Mode = "lockstep") -> Codec:
    """Make a model ready to write and read streams.

    Raises:
        InputError: if it cannot: no causal language model, a tokenizer that cannot return its input, or for ``exact``
            an architecture whose order-exact form is not known here.
    """
    extra("constriction")
    loaded = load_model(model)
    reader: Reader = ExactLlama(loaded) if mode == "exact" else Lockstep(loaded)
    return Codec(loaded, mode, reader, spelling_of(loaded.tokenizer, size=reader.vocabulary, model=loaded.name))


def compress(
    model: object,
    data: bytes,
    *,
    mode: Mode = "lockstep",
    chunk: int = CHUNK,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> bytes:
    """Write bytes so that :func:`decompress` gives them back, also in another process.

    Args:
        model: anything that :func:`probes.load_model` takes.
        data: any bytes.
        mode: ``lockstep`` for any causal model, read where it was written; ``exact`` for Llama-like models of the
            laboratory's size, read anywhere.
        chunk: bytes that the model reads from an empty context on.
        batch: chunks that it reads side by side, at most.
        progress: told of bytes done, and of all.

    Returns:
        A container (:mod:`probes.compression.container`).

    Raises:
        InputError: if the model cannot be a codec, or its logits are not numbers.
    """
    sink = BytesIO()
    codec = codec_of(model, mode_of(mode))
    pack([Input("data", len(data), lambda: BytesIO(data))], sink, codec, chunk=chunk, batch=batch, progress=progress)
    return sink.getvalue()


def decompress(model: object, archive: bytes, *, progress: Progress | None = None) -> bytes:
    """The bytes that :func:`compress` was given.

    Args:
        model: the model that wrote them.
        archive: the container.
        progress: told of bytes done, and of all.

    Raises:
        InputError: if the container is damaged, was written by another model or under other circumstances (naming
            which), or holds several files.
    """
    opened = Opened(BytesIO(archive), "the archive")
    if len(opened.header.files) != 1:
        raise InputError(f"the archive holds {len(opened.header.files)} files: sparsity decompress writes them out")
    sink = BytesIO()
    unpack(opened, codec_of(model, opened.header.mode), lambda _: sink, progress=progress)
    return sink.getvalue()


def pack(
    inputs: Sequence[Input],
    sink: BufferedIOBase,
    codec: Codec,
    *,
    chunk: int = CHUNK,
    batch: int = BATCH,
    progress: Progress | None = None,
    on_costs: OnCosts | None = None,
) -> Packed:
    """Write files as a container.

    Args:
        inputs: the files, with different names.
        sink: where the container goes.
        codec: the model.
        chunk: bytes that the model reads from an empty context on.
        batch: chunks that it reads side by side, at most.
        progress: told of bytes done, and of all.
        on_costs: told what the symbols of each chunk cost, in order.

    Raises:
        InputError: if a file changed while it was read, or the model's logits are not numbers.
    """
    n_chunks = sum(-(-each.n_bytes // chunk) for each in inputs)
    rows = -(-n_chunks // max(1, -(-n_chunks // batch))) or 1
    header = Header(
        model=codec.model.name,
        mode=codec.mode,
        chunk=chunk,
        batch=rows,
        stream=rows * max(1, STREAM_BYTES // (chunk * rows)),
        threads=torch.get_num_threads(),
        fingerprint=fingerprint(codec.model, codec.mode),
        trained=None if codec.learner is None else asdict(codec.learner.plan),
        files=[FileEntry(each.name, each.n_bytes) for each in inputs],
    )
    writer = Writer(sink, header)
    digests: list[str] = []
    tell = _Telling(sum(each.n_bytes for each in inputs), progress)
    range_encoder: Any = extra("constriction").stream.queue.RangeEncoder
    n_streams = n_symbols = 0
    bits = 0.0
    for stream in _batched(_read(inputs, header, digests), header.stream):
        encoder = range_encoder()
        for group in _batched(stream, header.batch):
            costs = encode_group(encoder, codec.reader, codec.spelling, group, tell)
            bits += len(group) + sum(float(cost.bits.sum()) for cost in costs)
            n_symbols += sum(len(cost.bits) for cost in costs)
            if on_costs is not None:
                on_costs(costs)
            del costs  # as large as the group, and the next one needs as much
            if codec.learner is not None:
                codec.learner.learn(group)
        writer.stream(np.asarray(encoder.get_compressed(), dtype="<u4").tobytes())
        n_streams += 1
    writer.finish(digests)
    return Packed(
        n_bytes=tell.total,
        n_container_bytes=writer.n_bytes,
        n_stream_bytes=writer.n_stream_bytes,
        n_streams=n_streams,
        n_chunks=n_chunks,
        n_symbols=n_symbols,
        ideal_bits=bits,
        mass_kept=mass_kept(codec.reader.vocabulary, escape=codec.spelling.has_escape),
    )


def unpack(
    opened: Opened, codec: Codec, open_sink: Callable[[FileEntry], BufferedIOBase], *, progress: Progress | None = None
) -> None:
    """Write out the files of a container; what was written is theirs only once this has returned.

    Args:
        opened: the container.
        codec: the model that wrote it, in the mode that its header names.
        open_sink: opens the file that an entry goes to.
        progress: told of bytes done, and of all.

    Raises:
        InputError: if something differs from when it was written, or the container is damaged.
    """
    header = opened.header
    check_fingerprint(header.fingerprint, fingerprint(codec.model, codec.mode))
    tell = _Telling(sum(file.n_bytes for file in header.files), progress)
    with _threads(header.threads if codec.mode == "lockstep" else torch.get_num_threads()):
        found = _write(_decoded(opened, codec, tell), header.files, open_sink)
    if found != opened.digests():
        raise InputError(
            "the bytes came out wrong (their sha256 differs): the stream is damaged, or was written elsewhere"
        )


def _decoded(opened: Opened, codec: Codec, tell: _Telling) -> Iterator[tuple[int, bytes]]:
    """Every chunk and the index of its file."""
    range_decoder: Any = extra("constriction").stream.queue.RangeDecoder
    streams = opened.streams()
    for chunks in _batched(opened.header.chunks(), opened.header.stream):
        data = next(streams, b"")
        if not data or len(data) % 4:
            raise InputError("the archive is damaged: a stream is missing; take another copy of it")
        decoder = range_decoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))
        for group in _batched(chunks, opened.header.batch):
            lengths = [length for _, length in group]
            found = decode_group(decoder, codec.reader, codec.spelling, lengths, tell)
            yield from zip((index for index, _ in group), found, strict=True)
            if codec.learner is not None:
                codec.learner.learn(found)
        if not decoder.maybe_exhausted():
            raise InputError("the archive is damaged: a stream holds more than it should; take another copy of it")
    if next(streams, None) is not None:
        raise InputError("the archive is damaged: it holds more streams than it should; take another copy of it")


def _write(
    chunks: Iterator[tuple[int, bytes]], files: Sequence[FileEntry], open_sink: Callable[[FileEntry], BufferedIOBase]
) -> list[str]:
    """Put chunks where they belong; sha256 of every file."""
    digests: list[str] = []
    waiting = next(chunks, None)
    for index, file in enumerate(files):
        digest = hashlib.sha256()
        sink = open_sink(file)
        while waiting is not None and waiting[0] == index:
            sink.write(waiting[1])
            digest.update(waiting[1])
            waiting = next(chunks, None)
        digests.append(digest.hexdigest())
    return digests


def _read(inputs: Sequence[Input], header: Header, digests: list[str]) -> Iterator[bytes]:
    """Chunks of the files, in order; leaves the sha256 of each file that it has read."""
    for each in inputs:
        digest = hashlib.sha256()
        with each.open() as file:
            for start in range(0, each.n_bytes, header.chunk):
                data = file.read(min(header.chunk, each.n_bytes - start))
                if len(data) < min(header.chunk, each.n_bytes - start):
                    raise InputError(f"{each.name} became shorter while it was read: let nothing write to it")
                digest.update(data)
                yield data
            if file.read(1):
                raise InputError(f"{each.name} became longer while it was read: let nothing write to it")
        digests.append(digest.hexdigest())


class _Telling:
    """Sums up the bytes that are done."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def __call__(self, n_bytes: int) -> None:
        self._done += n_bytes
        if self._progress is not None:
            self._progress(self._done, self.total)


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _threads(count: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
