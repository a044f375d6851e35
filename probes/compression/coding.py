"""Chunks through one range coder: what a model expects becomes the lengths of the codes of what came.

The chunks of a group are read side by side and coded time by time: first which way each was written, then the first
symbol of every row, then the second, and so on; a row whose bytes are complete is silent. An entropy coder of its own
for every chunk would waste half a word each time. A symbol that the model holds for impossible still has a code, of 24
bits, because the coder gives every symbol at least 2^-24. A reader needs every symbol before it reads on; a writer has
them all, and hands some steps to the coder at once.

The coder itself is the range coder of the package constriction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from probes.compression.distributions import Distributions, escape_bits
from probes.compression.reading import Reader, Totals
from probes.compression.spelling import N_BYTES, Spelling, Way
from probes.errors import InputError
from probes.extras import extra

MOST_STEPS: Final = 32
"""Steps that a writer codes together, at most."""

Tell = Callable[[int], None]


class Cost(NamedTuple):
    """Code length of every symbol of a chunk, as coded and as the model alone would have it.

    Attributes:
        way: how it was written.
        bits: ideal code length of each symbol under the model as it is coded, escapes included.
        model_bits: ``-log2`` of what the model itself gave each symbol among all of its vocabulary; NaN for escapes,
            and for what was written as bytes.
        n_bytes: bytes that each symbol stands for.
    """

    way: Way
    bits: Float64[np.ndarray, " symbols"]
    model_bits: Float64[np.ndarray, " symbols"]
    n_bytes: Int64[np.ndarray, " symbols"]


def encode_group(
    encoder: Any,  # noqa: ANN401  constriction has no type stubs
    reader: Reader,
    spelling: Spelling,
    chunks: Sequence[bytes],
    tell: Tell,
) -> list[Cost]:
    """Code some chunks, none empty, behind what the encoder has coded before.

    Args:
        encoder: a range encoder of constriction.
        reader: the model.
        spelling: what its tokens stand for.
        chunks: what to code.
        tell: told of the bytes that are done, now and then.

    Raises:
        InputError: if the model's logits are not numbers.
    """
    written = [spelling.write(chunk) for chunk in chunks]
    model = extra("constriction").stream.model
    as_bytes = np.array([one.way == "bytes" for one in written])
    encoder.encode(as_bytes.astype(np.int32), model.Uniform(2))
    lengths = np.array([len(one.symbols) for one in written])
    longest = int(lengths.max())
    symbols = np.zeros((len(chunks), longest), dtype=np.int64)
    read = np.full((len(chunks), longest), spelling.placeholder, dtype=np.int64)
    n_bytes = np.zeros((len(chunks), longest), dtype=np.int64)
    for row, one in enumerate(written):
        symbols[row, : lengths[row]] = one.symbols
        read[row, : lengths[row]] = spelling.read_as(one.way, one.symbols)
        n_bytes[row, : lengths[row]] = spelling.n_bytes(one)
    escaped = [iter(one.escaped) for one in written]
    escapes = (symbols == spelling.escape) & ~as_bytes[:, None]
    has_escapes, done = escapes.any(axis=0).tolist(), n_bytes.sum(axis=0).tolist()
    ends, rows_of = set(lengths.tolist()), _by_way(as_bytes)
    waiting = _Waiting(encoder, reader, spelling, symbols)
    logits, behind = reader.begin(len(chunks)), 0
    for time in range(longest):
        if behind == logits.shape[1]:
            ahead = min(reader.stride, reader.room, longest - time)
            logits, behind = reader.read(torch.from_numpy(read[:, time - 1 : time - 1 + ahead])), 0
        if time in ends:
            rows_of = _by_way(as_bytes, lengths > time)
        for way, rows in rows_of:
            waiting.add(logits[:, behind], way, rows, time)
        for row in np.flatnonzero(escapes[:, time]).tolist() if has_escapes[time] else ():
            waiting.code()
            encoder.encode(np.array([next(escaped[row])], dtype=np.int32), model.Uniform(N_BYTES))
        behind += 1
        tell(done[time])
    waiting.code()
    bits = waiting.bits + math.log2(N_BYTES) * escapes
    model_bits = np.where(escapes | as_bytes[:, None], np.nan, bits - escape_bits(spelling))
    return [
        Cost(one.way, bits[row, :length], model_bits[row, :length], n_bytes[row, :length])
        for row, (one, length) in enumerate(zip(written, lengths.tolist(), strict=True))
    ]


def decode_group(
    decoder: Any,  # noqa: ANN401  constriction has no type stubs
    reader: Reader,
    spelling: Spelling,
    lengths: Sequence[int],
    tell: Tell,
) -> list[bytes]:
    """Chunks of so many bytes each, from where the decoder stands.

    Raises:
        InputError: if what comes cannot have been written by :func:`encode_group`.
    """
    model = extra("constriction").stream.model
    family = model.Categorical(perfect=False)
    as_bytes = _decoded(decoder, model.Uniform(2), len(lengths)) == 1
    by_byte: list[bool] = as_bytes.tolist()
    chunks, left = [bytearray() for _ in lengths], list(lengths)
    told, rows_of = Distributions(reader, spelling, len(lengths)), _by_way(as_bytes)
    read = np.full((len(lengths), 1), spelling.placeholder, dtype=np.int64)
    logits = reader.begin(len(lengths))
    while True:
        found: list[tuple[int, int]] = []
        outside: set[int] = set()
        for way, rows in rows_of:
            told.put(_rows(logits[:, 0], rows), way)
            own = _decoded(decoder, family, told.kept(way, len(rows)))
            read[rows, 0] = spelling.read_as(way, own)
            found += zip(rows.tolist(), own.tolist(), strict=True)
            if way == "tokens":
                outside.update(rows[own == spelling.escape].tolist())
        before, ended = sum(left), False
        for row, symbol in sorted(found):
            if row in outside:
                piece = bytes([int(_decoded(decoder, model.Uniform(N_BYTES), 1)[0])])
            else:
                piece = bytes([symbol]) if by_byte[row] else spelling.spelled[symbol]
            chunks[row] += piece
            left[row] -= len(piece)
            if not piece or left[row] < 0:
                raise InputError("the stream is corrupted: its symbols do not add up to the bytes that it should hold")
            ended = ended or left[row] == 0
        tell(before - sum(left))
        if ended:
            goes_on = np.array(left) > 0
            rows_of, read[~goes_on] = _by_way(as_bytes, goes_on), spelling.placeholder
            if not rows_of:
                return [bytes(chunk) for chunk in chunks]
        logits = reader.read(torch.from_numpy(read.copy()))  # the reader keeps what it was given


def _by_way(
    as_bytes: Bool[np.ndarray, " all"], active: Bool[np.ndarray, " all"] | None = None
) -> list[tuple[Way, Int64[np.ndarray, " rows"]]]:
    """Rows that are not complete, by the way in which they are written; a way of none is left out."""
    going = np.ones_like(as_bytes) if active is None else active
    found: list[tuple[Way, Int64[np.ndarray, " rows"]]] = [
        ("tokens", np.flatnonzero(going & ~as_bytes)),
        ("bytes", np.flatnonzero(going & as_bytes)),
    ]
    return [(way, rows) for way, rows in found if len(rows)]


class _Step(NamedTuple):
    """Rows of a step that wait for being coded, their logits, and the sums of their weights."""

    time: int
    rows: Int64[np.ndarray, " rows"]
    logits: Float[Tensor, "rows vocabulary"]
    totals: Totals


class _Waiting:
    """Steps whose distributions are known and whose symbols are not coded yet; all are written the same way.

    Args:
        encoder: where they go.
        reader: the model.
        spelling: what its tokens stand for.
        symbols: of every row and time.

    Attributes:
        bits: ideal code lengths of the symbols that have been coded, ``(rows, times)``; 0 for others.
    """

    def __init__(
        self,
        encoder: Any,  # noqa: ANN401  no type stubs
        reader: Reader,
        spelling: Spelling,
        symbols: Int64[np.ndarray, "rows times"],
    ) -> None:
        self.bits = np.zeros(symbols.shape)
        self._encoder, self._symbols = encoder, symbols
        self._family = extra("constriction").stream.model.Categorical(perfect=False)
        self._told = Distributions(reader, spelling, len(symbols), n_steps=MOST_STEPS)
        self._way: Way = "tokens"
        self._steps: list[_Step] = []
        self._n_rows = 0

    def add(
        self, logits: Float[Tensor, "all vocabulary"], way: Way, rows: Int64[np.ndarray, " rows"], time: int
    ) -> None:
        """Let some rows of a step wait."""
        if way != self._way or len(self._steps) == self._told.n_steps:
            self.code()
            self._way = way
        own = _rows(logits, rows)
        self._steps.append(_Step(time, rows, own, self._told.put(own, way, self._n_rows)))
        self._n_rows += len(rows)

    def code(self) -> None:
        """Code what waits."""
        if not self._steps:
            return
        rows = np.concatenate([step.rows for step in self._steps])
        sizes = [len(step.rows) for step in self._steps]
        times = np.repeat([step.time for step in self._steps], sizes)
        totals = np.concatenate([np.broadcast_to(step.totals, len(step.rows)) for step in self._steps])
        symbols, weights = self._symbols[rows, times], self._told.kept(self._way, len(rows))
        try:
            self._encoder.encode(symbols.astype(np.int32), self._family, weights)
        except ValueError:
            raise _no_numbers() from None
        share = weights[np.arange(len(rows)), symbols] / totals
        with np.errstate(divide="ignore"):
            bits = -np.log2(share)
        for end, step in zip(np.cumsum(sizes).tolist(), self._steps, strict=True):
            own = slice(end - len(step.rows), end)
            if not share[own].all():
                bits[own] = self._told.bits_of_rare(step.logits, self._way, symbols[own])
        self.bits[rows, times] = bits
        self._steps, self._n_rows = [], 0


def _rows(logits: Float[Tensor, "all vocabulary"], rows: Int64[np.ndarray, " rows"]) -> Tensor:
    return logits if len(rows) == len(logits) else logits[torch.from_numpy(rows)]


def _decoded(decoder: Any, family: Any, told: Any) -> Int[np.ndarray, " symbols"]:  # noqa: ANN401  no type stubs
    try:
        return np.asarray(decoder.decode(family, told))
    except (ValueError, AssertionError) as error:
        if isinstance(told, np.ndarray) and not np.isfinite(cast("Float64[np.ndarray, 'rows n']", told)).all():
            raise _no_numbers() from None
        raise InputError(f"the stream is corrupted: {error}") from None


def _no_numbers() -> InputError:
    return InputError("the model's logits are not numbers (NaN or infinite), so nothing can be coded with it")
