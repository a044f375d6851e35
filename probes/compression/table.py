"""Rates of compressors on data of several kinds; each is the length of streams that were read again.

The raw rate is compressed bytes over bytes; the adjusted rate adds what both sides must have before the first byte
comes: the weights of a model as they are stored, or a dictionary. Random bytes show what a compressor loses where there
is nothing to gain. A language model reads chunks, as it has to; classical compressors also get everything at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from probes.compression.archive import BATCH, Codec, Input, codec_of, pack, unpack
from probes.compression.classical import Classical, compressors, stream_of
from probes.compression.coding import Cost
from probes.compression.container import Opened
from probes.compression.fingerprint import Mode
from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.suites.sources.media import CHUNK, MODALITIES, Chunk, Modality, modality_of, packaged, read_chunks

COLUMNS: Final = (
    *("compressor", "kind", "modality", "chunk", "n_chunks", "n_bytes", "n_stream_bytes", "rate", "rate_header_once"),
    *("n_known_bytes", "adjusted_rate"),
)
POSITION_BYTES: Final = 128
"""Width of the stretches of a chunk that bits per byte are averaged over."""
DICTIONARY_CHUNKS: Final = 400
"""Chunks beyond those compressed that zstd's dictionary is trained with, at most."""

Say = Callable[[str], None]


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


class Rates(NamedTuple):
    """Rates of all compressors on all data, and code length by position in the chunk.

    Attributes:
        table: a row per compressor, kind of data and chunk; see :func:`rates`.
        positions: mean bits per byte of language models by position in the chunk: compressor, modality, position (the
            first byte of a stretch of 128), bits_per_byte.
    """

    table: pd.DataFrame
    positions: pd.DataFrame


def samples(files: Iterable[Path] = (), *, limit: int, seed: int = 0) -> list[Sample]:
    """Data of the files, or the packaged sample of every kind where there are none; random bytes always.

    Args:
        files: what to read; what they hold is told by their endings.
        limit: chunks of 2,048 bytes per kind, at most.
        seed: of what is drawn.

    Raises:
        InputError: if a file cannot be read, or is shorter than a chunk.
    """
    paths = list(files)
    found: list[Sample] = []
    for modality in MODALITIES:
        rng = np.random.default_rng([seed, MODALITIES.index(modality)])
        own = [path for path in paths if modality_of(path) == modality]
        if paths and not own and modality != "random":
            continue
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
    say: Say | None = None,
) -> Rates:
    """Rates of language models and of every classical compressor that is installed.

    Args:
        models: anything that :func:`probes.load_model` takes.
        data: what to compress (:func:`samples`).
        mode: of language models.
        batch: chunks that a model reads side by side.
        say: told of every row of a model before it is made.

    Returns:
        The table has one row per compressor, kind of data and chunk (2048, or 0 for everything at once): compressor,
        kind (``model`` or ``classical``), modality, chunk, n_chunks, n_bytes, n_stream_bytes, rate (0 for nothing left,
        1 for no gain), rate_header_once (with the header of each chunk but the first taken off; models share one
        header, which is not in ``rate``), n_known_bytes and adjusted_rate.

    Raises:
        InputError: if a model cannot be a codec.
    """
    codecs = [codec_of(model, mode) for model in models]
    rows: list[Mapping[str, object]] = []
    positions: list[Mapping[str, object]] = []
    for sample in data:
        for codec in codecs:
            if say is not None:
                say(f"{codec.model.name} on {sample.modality}")
            costs: list[Cost] = []
            rows.append(_model_row(codec, sample, batch, costs))
            positions += _positions(codec.model.name, sample.modality, costs)
        for compressor in compressors(sample.seen):
            rows += _classical_rows(compressor, sample)
    columns = ("compressor", "modality", "position", "bits_per_byte")
    return Rates(pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(positions, columns=list(columns)))


def weight_bytes(model: LoadedModel) -> int:
    """Bytes of a model's weights as they are stored: of its files, or in memory for one that has none."""
    folder = Path(model.name)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return stored or sum(tensor.numel() * tensor.element_size() for tensor in model.module.state_dict().values())


def _model_row(codec: Codec, sample: Sample, batch: int, costs: list[Cost]) -> Mapping[str, object]:
    """One model on one kind of data, chunk by chunk, read again."""
    data = b"".join(sample.chunks)
    sink, back = BytesIO(), BytesIO()
    packed = pack(
        [Input("data", len(data), lambda: BytesIO(data))], sink, codec, chunk=CHUNK, batch=batch, on_costs=costs.extend
    )
    unpack(Opened(BytesIO(sink.getvalue()), "the archive"), codec, lambda _: back)
    if back.getvalue() != data:
        raise RuntimeError(f"{codec.model.name} does not give its {len(data)} bytes back")
    lengths = (packed.n_stream_bytes, packed.n_stream_bytes / len(data))
    return _row(codec.model.name, "model", sample, CHUNK, lengths, weight_bytes(codec.model))


def _classical_rows(compressor: Classical, sample: Sample) -> Iterator[Mapping[str, object]]:
    """One compressor on one kind of data, in chunks and whole."""
    n_bytes = sum(map(len, sample.chunks))
    for chunk, parts in ((CHUNK, list(sample.chunks)), (0, [b"".join(sample.chunks)])):
        if max(map(len, parts)) > compressor.most:
            continue
        length = sum(len(stream_of(compressor, part)) for part in parts)
        once = (length - (len(parts) - 1) * compressor.n_header) / n_bytes
        yield _row(compressor.name, "classical", sample, chunk, (length, once), compressor.n_known)


def _row(
    name: str, kind: str, sample: Sample, chunk: int, lengths: tuple[int, float], n_known: int
) -> Mapping[str, object]:
    length, once = lengths
    n_bytes = sum(map(len, sample.chunks))
    values = (name, kind, sample.modality, chunk, len(sample.chunks) if chunk else 1, n_bytes, length)
    return dict(zip(COLUMNS, (*values, length / n_bytes, once, n_known, (length + n_known) / n_bytes), strict=True))


def _positions(name: str, modality: Modality, costs: Sequence[Cost]) -> Iterator[Mapping[str, object]]:
    """Bits per byte by position; a symbol's bits are spread evenly over its bytes."""
    total = np.zeros(CHUNK)
    for cost in costs:
        spread = np.repeat(cost.bits / cost.n_bytes, cost.n_bytes)
        total[: len(spread)] += spread
    for start in range(0, CHUNK, POSITION_BYTES):
        mean = total[start : start + POSITION_BYTES].mean() / len(costs) if costs else math.nan
        yield {"compressor": name, "modality": modality, "position": start, "bits_per_byte": float(mean)}


def _of_files(paths: Sequence[Path]) -> Iterator[Chunk]:
    for path in paths:
        yield from read_chunks(path)
