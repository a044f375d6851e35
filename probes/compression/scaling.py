"""Adjusted rate against the size of the model, for data of several sizes: every weight has to be paid for by the data.

A model that was trained on some data and is sent along with it is a two-part code. With more weights the streams get
shorter and the weights longer, so over the size of the model the sum falls and then rises, and with more data it turns
later (arXiv:2309.10668, section 3.3). Here a byte-level Llama of every size is trained on the first bytes of a text,
as often as there are sizes of data, always with as many optimizer steps; then chunks spread over those bytes are coded
and read again. The streams of all data are not written: their length is that of the chunks times the ratio of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from probes.compression.again import Fresh, archive_again, streams_again
from probes.compression.archive import Input, codec_of, pack
from probes.compression.classical import Classical, compressors
from probes.compression.coding import Cost
from probes.compression.table import weight_bytes
from probes.errors import InputError
from probes.intervals import mean_interval
from probes.lab.families import n_parameters
from probes.lab.recipe import SIZES, Recipe, changed
from probes.lab.text_training import train_on_text
from probes.lab.training import OnStep

COLUMNS: Final = (
    *("compressor", "kind", "n_bytes", "n_weights", "n_known_bytes", "n_chunks", "n_coded_bytes", "n_stream_bytes"),
    *("rate", "rate_low", "rate_high", "adjusted_rate"),
)
BATCH: Final = 64
WHOLE: Final = ("gzip", "bz2", "LZMA2", "zstd", "PPMd")
"""Classical compressors of bytes, which get all data at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Sizes of models and of data, and the training that all have in common.

    Attributes:
        sizes: of models, by their names in ``sparsity lab text --size``.
        n_bytes: of data: so many bytes of the text, from its beginning.
        steps: optimizer steps of every training.
        context_length: tokens of a training window; a chunk fills one, less the token that begins it.
        batch_size: windows per step.
        learning_rate: reached after the warm-up, then constant.
        n_chunks: chunks that are coded, spread evenly over the data.
        seed: of weights and of the order of windows.
    """

    sizes: tuple[str, ...] = ("0.01M", "0.03M", "0.1M", "0.3M")
    n_bytes: tuple[int, ...] = (500_000, 4_000_000)
    steps: int = 1200
    context_length: int = 256
    batch_size: int = 16
    learning_rate: float = 3e-3
    n_chunks: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained or coded."""
        unknown = next((size for size in self.sizes if size not in SIZES), None)
        if unknown is not None or not self.sizes:
            raise InputError(f"the sizes of models are {', '.join(SIZES)}; got {unknown or 'none'}")
        if not self.n_bytes or min(self.n_bytes) < self.chunk * self.n_chunks:
            raise InputError(
                f"{self.n_chunks} chunks of {self.chunk} bytes are coded, so data has {self.chunk * self.n_chunks:,} "
                f"bytes or more; got {', '.join(map(str, self.n_bytes)) or 'none'}"
            )

    @property
    def chunk(self) -> int:
        """Bytes of a chunk."""
        return self.context_length - 1


class Trained(NamedTuple):
    """A model that was trained on some bytes of a text.

    Attributes:
        size: its name.
        folder: where it is.
        data: what it was trained on.
    """

    size: str
    folder: Path
    data: bytes


def trainings(
    text: bytes, plan: Scaling, folder: Path, told: Callable[[str], OnStep] | None = None
) -> Iterator[Trained]:
    """Train the model of every size on every size of data, smallest data first; what lies in the folder is kept.

    Args:
        text: UTF-8, as long as the largest data at least.
        plan: sizes and training.
        folder: one that exists, for texts and models.
        told: gives, for the name of a model, what is told of its optimizer steps.

    Raises:
        InputError: if the text is too short, is no UTF-8, or a model in the folder was made of something else.
    """
    if len(text) < max(plan.n_bytes):
        raise InputError(f"the text has {len(text):,} bytes, and {max(plan.n_bytes):,} are asked for: name more files")
    for n_bytes in sorted(plan.n_bytes):
        data = text[:n_bytes].decode("utf-8", errors="ignore").encode()  # no letter is cut in two
        path = folder / f"{n_bytes}.txt"
        if not path.exists():
            path.write_bytes(data)
        elif path.read_bytes() != data:
            raise InputError(f"{path} holds another text: name another folder")
        for size in plan.sizes:
            own = folder / f"{size}-{n_bytes}"
            if not own.exists():
                on_step = None if told is None else told(own.name)
                train_on_text([path], own, recipe_of(size, plan), n_steps=plan.steps, on_step=on_step)
            yield Trained(size, own, data)


def recipe_of(size: str, plan: Scaling) -> Recipe:
    """The training of a size."""
    plain = Recipe(
        seed=plan.seed,
        context_length=plan.context_length,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
    )
    return changed(plain, size=size)


def model_row(trained: Trained, plan: Scaling, process: Fresh | None = None) -> Mapping[str, object]:
    """Rate of a model on chunks of the data that it was trained on, read again, and with its weights on all of it.

    Args:
        trained: the model.
        plan: says how many chunks are coded.
        process: where the stream is read again (:func:`probes.compression.again.fresh_process`).

    Returns:
        A row of ``COLUMNS``. The interval is that of a mean over chunks (Student's t), which are taken for draws
        from the data.
    """
    data = b"".join(spread(trained.data, plan))
    codec, sink, costs = codec_of(str(trained.folder)), BytesIO(), list[Cost]()
    inputs = [Input("data", len(data), lambda: BytesIO(data))]
    packed = pack(inputs, sink, codec, chunk=plan.chunk, batch=BATCH, on_costs=costs.extend)
    if archive_again(process, codec.model, sink.getvalue(), len(data)) != data:
        raise RuntimeError(f"{trained.folder} does not give its {len(data)} bytes back")
    own = np.array([cost.bits.sum() for cost in costs]) / (8 * plan.chunk)
    mean, low, high, _ = mean_interval(own)
    n_bytes, n_known = len(trained.data), weight_bytes(codec.model)
    rate = packed.n_stream_bytes / len(data)
    counts = (n_bytes, n_parameters(codec.model.module), n_known, len(own), len(data), packed.n_stream_bytes)
    values = (trained.size, "model", *counts, rate, rate + low - mean, rate + high - mean, rate + n_known / n_bytes)
    return dict(zip(COLUMNS, values, strict=True))


def classical_rows(data: bytes, process: Fresh | None = None) -> Iterator[Mapping[str, object]]:
    """Rates of classical compressors on all data at once, read again; they have no weights."""
    for compressor in compressors():
        if compressor.name in WHOLE:
            yield _classical_row(compressor, data, process)


def _classical_row(compressor: Classical, data: bytes, process: Fresh | None) -> Mapping[str, object]:
    stream = compressor.encode(data)
    if streams_again(process, compressor.name, b"", [stream], [len(data)]) != [data]:
        raise RuntimeError(f"{compressor.name} does not give its {len(data)} bytes back")
    rate = len(stream) / len(data)
    values = (compressor.name, "classical", len(data), 0, 0, 1, len(data), len(stream), rate, np.nan, np.nan, rate)
    return dict(zip(COLUMNS, values, strict=True))


def spread(data: bytes, plan: Scaling) -> Sequence[bytes]:
    """Chunks spread evenly over some data."""
    starts = np.linspace(0, len(data) - plan.chunk, plan.n_chunks).astype(int).tolist()
    return [data[start : start + plan.chunk] for start in starts]


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The model with the lowest adjusted rate for every size of data."""
    models = table[table["kind"] == "model"]
    return models.loc[models.groupby("n_bytes")["adjusted_rate"].idxmin()]
