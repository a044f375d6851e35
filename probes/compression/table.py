"""Rates of compressors on data of several kinds; each is the length of streams that were read again.

The raw rate is compressed bytes over bytes; the adjusted rate adds what both sides must have before the first byte
comes: the weights of a model as they are stored, or a dictionary. Random bytes show what a compressor loses where there
is nothing to gain. A language model reads chunks, as it has to; classical compressors also get everything at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from probes.compression.again import Fresh, archive_again, recalled, streams_again
from probes.compression.archive import BATCH, Codec, Input, Progress, codec_of, pack
from probes.compression.classical import Classical, compressors, dictionary_of
from probes.compression.coding import Cost
from probes.compression.fingerprint import Mode
from probes.compression.prequential import Plan, describe
from probes.errors import InputError
from probes.intervals import mean_interval
from probes.models.loading import LoadedModel
from probes.suites.sources.media import CHUNK, MODALITIES, Chunk, Modality, modality_of, packaged, read_chunks

COLUMNS: Final = (
    *("compressor", "kind", "modality", "chunk", "n_chunks", "n_bytes", "n_stream_bytes", "rate", "rate_header_once"),
    *("n_file_bytes", "n_known_bytes", "adjusted_rate", "bytes_of_each"),
)
LONGEST: Final = 1 << 16
POSITION_BYTES: Final = 128
"""Width of the stretches of a chunk that bits per byte are averaged over."""
DICTIONARY_CHUNKS: Final = 400
"""Chunks beyond those compressed that zstd's dictionary is trained with, at most."""

POSITION_COLUMNS: Final = (
    *("compressor", "modality", "chunk", "position", "bits_per_byte", "bits_low", "bits_high", "n_chunks"),
)

Tell = Callable[[str, int, int], None]
Made = tuple[Mapping[str, object], Sequence[Mapping[str, object]]]
"""A row of the table, and those of its positions."""
Keep = Callable[["Rows"], None]


class Sample(NamedTuple):
    """Data of one kind.

    Attributes:
        modality: what it is.
        chunks: what is compressed.
        seen: further chunks, which a dictionary may be trained with.
    """

    modality: Modality
    chunks: Sequence[bytes]
    seen: Sequence[bytes]

    @property
    def n_bytes(self) -> int:
        """Bytes of what is compressed."""
        return sum(map(len, self.chunks))


class Rates(NamedTuple):
    """Rates of all compressors on all data, and code length by position in the chunk.

    Attributes:
        table: a row per compressor, kind of data and chunk; see :func:`rates`.
        positions: mean bits per byte of language models by position in the chunk: compressor, modality, chunk, position
            (the first byte of a stretch of 128), bits_per_byte (mean over chunks; NaN where none is so long) with its
            95 % interval bits_low to bits_high (Student's t over chunks; NaN for one), n_chunks.
    """

    table: pd.DataFrame
    positions: pd.DataFrame


class Rows(NamedTuple):
    """Rows that were made so far, of both tables."""

    rows: Sequence[Mapping[str, object]]
    positions: Sequence[Mapping[str, object]]

    def holds(self, one: _Todo) -> bool:
        """True if a row is among them."""
        key = (one.name, one.sample.modality, one.chunk)
        return any((row["compressor"], row["modality"], row["chunk"]) == key for row in self.rows)


class _Todo(NamedTuple):
    """A row that is to be made."""

    name: str
    sample: Sample
    chunk: int
    make: Callable[[Fresh | None, Progress | None], Made]

    def __str__(self) -> str:
        """Name it as progress does."""
        cut = f"chunks of {self.chunk}" if self.chunk else "everything at once"
        return f"{Path(self.name).name} on {self.sample.modality}, {cut}"


def samples(
    files: Iterable[Path] = (), *, limit: int, kinds: Collection[str] | None = None, seed: int = 0
) -> list[Sample]:
    """Data of the files, or the packaged sample of every kind that no file is of.

    Args:
        files: what to read; what they hold is told by their endings.
        limit: chunks of 2,048 bytes per kind, at most.
        kinds: those to take; None takes the kinds of the files and random bytes, or all where there are no files.
        seed: of what is drawn.

    Raises:
        InputError: if there is no such kind, or a file cannot be read, or is shorter than a chunk.
    """
    paths = list(files)
    unknown = next((kind for kind in kinds or () if kind not in MODALITIES), None)
    if unknown is not None:
        raise InputError(f"the kinds of data are {', '.join(MODALITIES)}; got {unknown!r}")
    given = {modality_of(path) for path in paths}
    wanted = set(kinds) if kinds else given | {"random"} if paths else set(MODALITIES)
    found: list[Sample] = []
    for modality in MODALITIES:
        if modality not in wanted:
            continue
        rng = np.random.default_rng([seed, MODALITIES.index(modality)])
        own = [path for path in paths if modality_of(path) == modality]
        source = _of_files(own) if own else packaged(modality, rng)
        chunks = [chunk.data for chunk in islice(source, limit)]
        if not chunks:
            raise InputError(f"{', '.join(map(str, own))}: there is not one chunk of {CHUNK} bytes in it")
        found.append(Sample(modality, chunks, [chunk.data for chunk in islice(source, DICTIONARY_CHUNKS)]))
    return found


def rates(
    models: Sequence[object],
    data: Sequence[Sample],
    *,
    mode: Mode = "lockstep",
    batch: int = BATCH,
    chunks: Sequence[int] = (CHUNK,),
    process: Fresh | None = None,
    tell: Tell | None = None,
    known: Rows | None = None,
    keep: Keep | None = None,
) -> Rates:
    """Rates of language models and of every classical compressor that is installed.

    Args:
        models: anything that :func:`probes.load_model` takes, codecs of such (:func:`.archive.codec_of`), and plans of
            models that are trained while they code (:class:`probes.compression.prequential.Plan`), which read
            everything at once and need no weights.
        data: what to compress (:func:`samples`).
        mode: of language models.
        batch: chunks that a model reads side by side.
        chunks: lengths of chunks in bytes, a row each; those longer than 2,048 go over the ends of the sample's own.
        process: where streams are read again (:func:`probes.compression.again.fresh_process`); in this one if there is
            none. It loads models by their names, so they must be paths or names of the hub.
        tell: told of the row that is being made, of the bytes of it that were written or read again, and of all.
        known: rows of an earlier call with the same arguments, which are not made again.
        keep: told of all rows so far whenever there is one more.

    Returns:
        The table has one row per compressor, kind of data and chunk (in bytes; 0 for everything at once): compressor,
        kind (``model``, ``prequential`` or ``classical``), modality, chunk, n_chunks, n_bytes, n_stream_bytes, rate
        (0 for nothing left, 1 for no gain), rate_header_once (with the header of each chunk but the first taken off;
        models write one stream for all chunks), n_file_bytes (what a file of it takes; for models with the container's
        own header, which no rate counts), n_known_bytes, adjusted_rate and bytes_of_each (of every chunk, without its
        header, separated by spaces, for intervals over chunks; of models the ideal code length).

    Raises:
        InputError: if a model cannot be a codec.
    """
    if not chunks or min(chunks) < 1 or max(chunks) > LONGEST:
        raise InputError(f"chunks have 1 to {LONGEST} bytes; got {', '.join(map(str, chunks)) or 'none'}")
    made = known or Rows([], [])
    coders = [model if isinstance(model, Plan | Codec) else codec_of(model, mode) for model in models]
    todo = [one for sample in data for one in _rows_of(coders, sample, batch, chunks)]
    for number, one in enumerate(todo, 1):
        if made.holds(one):
            continue
        told = None if tell is None else partial(tell, f"{one} (row {number} of {len(todo)})")
        row, positions = one.make(process, told)
        made = Rows([*made.rows, row], [*made.positions, *positions])
        if keep is not None:
            keep(made)
    return Rates(
        pd.DataFrame(list(made.rows), columns=list(COLUMNS)),
        pd.DataFrame(list(made.positions), columns=list(POSITION_COLUMNS)),
    )


def _rows_of(coders: Sequence[Codec | Plan], sample: Sample, batch: int, chunks: Sequence[int]) -> Iterator[_Todo]:
    """Rows of one kind of data, in the order of the table."""
    for coder in coders:
        if isinstance(coder, Plan):
            yield _Todo(coder.name, sample, 0, partial(_prequential_row, coder, sample))
            continue
        for chunk in chunks:
            yield _Todo(coder.model.name, sample, chunk, partial(_model_row, coder, sample, chunk, batch))
    dictionary = dictionary_of(sample.seen)
    for one in compressors(dictionary):
        for chunk in (*chunks, 0):
            if min(chunk or math.inf, sample.n_bytes) <= one.most:
                yield _Todo(one.name, sample, chunk, partial(_classical_row, one, sample, chunk, dictionary))


def weight_bytes(model: LoadedModel) -> int:
    """Bytes of a model's weights as they are stored: of its files, or in memory for one that has none."""
    folder = Path(model.name)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return stored or sum(tensor.numel() * tensor.element_size() for tensor in model.module.state_dict().values())


def _model_row(
    codec: Codec, sample: Sample, chunk: int, batch: int, process: Fresh | None, progress: Progress | None
) -> Made:
    """One model on one kind of data, chunk by chunk, read again."""
    data, sink, costs = b"".join(sample.chunks), BytesIO(), list[Cost]()
    inputs = [Input("data", len(data), lambda: BytesIO(data))]
    first, second = _halves(progress)
    packed = pack(inputs, sink, codec, chunk=chunk, batch=batch, progress=first, on_costs=costs.extend)
    if archive_again(process, codec.model, sink.getvalue(), len(data), second) != data:
        raise RuntimeError(f"{codec.model.name} does not give its {len(data)} bytes back")
    lengths = (packed.n_stream_bytes, packed.n_stream_bytes / len(data), packed.n_container_bytes)
    each = [float(cost.bits.sum()) / 8 for cost in costs]
    row = _row(codec.model.name, "model", sample, chunk, lengths, weight_bytes(codec.model), each)
    return row, list(_positions(codec.model.name, sample.modality, chunk, costs))


def _prequential_row(plan: Plan, sample: Sample, process: Fresh | None, progress: Progress | None) -> Made:
    """A model that is trained on one kind of data while it codes it, read again."""
    data = b"".join(sample.chunks)
    first, second = _halves(progress)
    found = describe(data, plan, progress=first)
    if recalled(process, found.archive, len(data), second) != data:
        raise RuntimeError(f"{plan.name} does not give its {len(data)} bytes back")
    lengths = (len(found.stream), len(found.stream) / len(data), len(found.archive))
    return _row(plan.name, "prequential", sample, 0, lengths, 0, [float(lengths[0])]), []


def _classical_row(
    compressor: Classical, sample: Sample, chunk: int, dictionary: bytes, process: Fresh | None, _: Progress | None
) -> Made:
    """One compressor on one kind of data, in chunks of a length or (0) whole, read again."""
    n_bytes = sample.n_bytes
    parts = _cut(sample, chunk) if chunk else [b"".join(sample.chunks)]
    streams = [compressor.encode(part) for part in parts]
    if streams_again(process, compressor.name, dictionary, streams, [len(part) for part in parts]) != parts:
        raise RuntimeError(f"{compressor.name} does not give its {n_bytes} bytes back")
    length = sum(map(len, streams))
    once = (length - (len(parts) - 1) * compressor.n_header) / n_bytes
    each = [float(len(stream) - compressor.n_header) for stream in streams]
    return _row(compressor.name, "classical", sample, chunk, (length, once, length), compressor.n_known, each), []


def _halves(progress: Progress | None) -> tuple[Progress | None, Progress | None]:
    """Progress of writing and of reading again, each half of what is told."""
    if progress is None:
        return None, None
    return (lambda done, total: progress(done, 2 * total)), (lambda done, total: progress(total + done, 2 * total))


def _row(
    name: str,
    kind: str,
    sample: Sample,
    chunk: int,
    lengths: tuple[int, float, int],
    n_known: int,
    each: Sequence[float],
) -> Mapping[str, object]:
    length, once, n_file = lengths
    n_bytes = sample.n_bytes
    values = (name, kind, sample.modality, chunk, len(_cut(sample, chunk)) if chunk else 1, n_bytes, length)
    rate, adjusted = length / n_bytes, (length + n_known) / n_bytes
    listed = " ".join(f"{one:.1f}" for one in each)
    return dict(zip(COLUMNS, (*values, rate, once, n_file, n_known, adjusted, listed), strict=True))


def _cut(sample: Sample, chunk: int) -> list[bytes]:
    """Its bytes in chunks of a length."""
    data = b"".join(sample.chunks)
    return [data[start : start + chunk] for start in range(0, len(data), chunk)]


def _positions(name: str, modality: Modality, chunk: int, costs: Sequence[Cost]) -> Iterator[Mapping[str, object]]:
    """Bits per byte by position; a symbol's bits are spread evenly over its bytes."""
    spread = np.full((len(costs), -(-chunk // POSITION_BYTES) * POSITION_BYTES), np.nan)
    for row, cost in zip(spread, costs, strict=True):
        own = np.repeat(cost.bits / cost.n_bytes, cost.n_bytes)
        row[: len(own)] = own
    for start in range(0, chunk, POSITION_BYTES):
        own = spread[:, start : start + POSITION_BYTES]
        means = np.array([row[np.isfinite(row)].mean() for row in own if np.isfinite(row).any()])
        values = (name, modality, chunk, start, *mean_interval(means))
        yield dict(zip(POSITION_COLUMNS, values, strict=True))


def _of_files(paths: Sequence[Path]) -> Iterator[Chunk]:
    for path in paths:
        yield from read_chunks(path)
