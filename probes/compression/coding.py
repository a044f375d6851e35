"""Chunks through one range coder: what a model expects becomes the lengths of the codes of what came.

The chunks of a group are read side by side and coded time by time: first which way each was written, then the first
symbol of every row, then the second, and so on; a row whose bytes are complete is silent. An entropy coder of its own
for every chunk would waste half a word each time. A symbol that the model holds for impossible still has a code, of 24
bits, because the coder gives every symbol at least 2^-24; an escaped byte has one because the escape keeps 2^-16 of
what the model gave away. What both cost together is told by :func:`mass_kept`.

The coder itself is the range coder of the package constriction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from probes.compression.reading import Reader
from probes.compression.spelling import N_BYTES, Spelling, Way
from probes.errors import InputError
from probes.extras import extra

ESCAPE_MASS: Final = 2.0**-16
"""Weight of the escape, as a share of all other symbols together."""
CODER_FLOOR: Final = 2.0**-24
"""The least probability that the coder gives a symbol."""
WAYS: Final[tuple[Way, Way]] = ("tokens", "bytes")

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


class _Table(NamedTuple):
    """Weights from which the symbols of some rows are coded, and how long the codes are.

    Attributes:
        weights: of every symbol.
        totals: of each row.
        rare: code lengths in bits of symbols whose weight is too small for a number.
    """

    weights: Float64[np.ndarray, "rows symbols"]
    totals: Float64[np.ndarray, " rows"]
    rare: Callable[[Int64[np.ndarray, " rows"]], Float64[np.ndarray, " rows"]]

    def bits(self, symbols: Int64[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
        """Ideal code lengths of a symbol of each row."""
        own = self.weights[np.arange(len(symbols)), symbols]
        return np.log2(self.totals / own) if own.all() else self.rare(symbols)


def mass_kept(vocabulary: int) -> float:
    """Share of probability that is kept for symbols a model might give none: for the escape and by the coder's floor.

    Every symbol costs ``-log2(1 - mass)`` bits more than its ideal at most: .0045 bits for 50,000 tokens.

    >>> round(mass_kept(256), 6)
    3.1e-05
    """
    return ESCAPE_MASS + (vocabulary + 1) * CODER_FLOOR


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
    family = model.Categorical(perfect=False)
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
    bits = np.zeros((len(chunks), longest))
    escaped = [iter(one.escaped) for one in written]
    written_as = [np.flatnonzero(as_bytes == (way == "bytes")) for way in WAYS]
    escapes = (symbols == spelling.escape) & ~as_bytes[:, None]
    has_escapes, done = escapes.any(axis=0).tolist(), n_bytes.sum(axis=0).tolist()
    logits, behind = reader.begin(len(chunks)), 0
    for time in range(longest):
        if behind == logits.shape[1]:
            ahead = min(reader.stride, reader.room, longest - time)
            logits, behind = reader.read(torch.from_numpy(read[:, time - 1 : time - 1 + ahead])), 0
        for way, every in zip(WAYS, written_as, strict=True):
            rows = every[lengths[every] > time]
            if len(rows):
                table = _table(reader, logits, behind, rows, way, spelling)
                own = symbols[rows, time]
                encoder.encode(own.astype(np.int32), family, table.weights)
                bits[rows, time] = table.bits(own)
        for row in np.flatnonzero(escapes[:, time]).tolist() if has_escapes[time] else ():
            encoder.encode(np.array([next(escaped[row])], dtype=np.int32), model.Uniform(N_BYTES))
            bits[row, time] += math.log2(N_BYTES)
        behind += 1
        tell(done[time])
    model_bits = np.where(escapes | as_bytes[:, None], np.nan, bits - math.log2(1 + ESCAPE_MASS))
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
    as_bytes = np.array(_decoded(decoder, model.Uniform(2), len(lengths))) == 1
    chunks = [bytearray() for _ in lengths]
    left = np.array(lengths, dtype=np.int64)
    written_as = [np.flatnonzero(as_bytes == (way == "bytes")) for way in WAYS]
    logits = reader.begin(len(lengths))
    while True:
        symbols = np.full(len(lengths), -1, dtype=np.int64)
        read = np.full(len(lengths), spelling.placeholder, dtype=np.int64)
        active = left > 0
        for way, every in zip(WAYS, written_as, strict=True):
            rows = every[active[every]]
            if len(rows):
                symbols[rows] = _decoded(decoder, family, _table(reader, logits, 0, rows, way, spelling).weights)
                read[rows] = spelling.read_as(way, symbols[rows])
        outside = set(_escapes(symbols, active & ~as_bytes, spelling))
        before = int(left.sum())
        for row in np.flatnonzero(active).tolist():
            symbol = int(symbols[row])
            if row in outside:
                own = bytes([int(_decoded(decoder, model.Uniform(N_BYTES), 1)[0])])
            else:
                own = bytes([symbol]) if as_bytes[row] else spelling.spelled[symbol]
            chunks[row] += own
            left[row] -= len(own)
            if not own or left[row] < 0:
                raise InputError("the stream is corrupted: its symbols do not add up to the bytes that it should hold")
        tell(before - int(left.sum()))
        if not left.any():
            return [bytes(chunk) for chunk in chunks]
        logits = reader.read(torch.from_numpy(read[:, None]))


def _table(
    reader: Reader,
    logits: Float64[Tensor, "rows times vocabulary"],
    time: int,
    rows: Int64[np.ndarray, " chosen"],
    way: Way,
    spelling: Spelling,
) -> _Table:
    """Probability table from which the coder codes some rows that are written the same way."""
    own = logits[:, time] if len(rows) == len(logits) else logits[torch.from_numpy(rows), time]
    table = _token_table(reader, own) if way == "tokens" else _byte_table(reader, own, spelling)
    if not np.isfinite(table.totals.sum()):
        raise InputError("the model's logits are not numbers (NaN or infinite), so nothing can be coded with it")
    return table


def _token_table(reader: Reader, logits: Float64[Tensor, "rows vocabulary"]) -> _Table:
    """The model's weights of its tokens, and that of the escape."""
    size = logits.shape[-1]
    weights = np.empty((len(logits), size + 1))
    weights[:, :size] = reader.weigh(logits).cpu().numpy()
    total = weights[:, :size].sum(-1)
    weights[:, size] = ESCAPE_MASS * total

    def rare(symbols: Int64[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
        index = np.minimum(symbols, size - 1)
        own = logits[torch.arange(len(index)), torch.from_numpy(index)].cpu().numpy()
        coded = (logits.amax(-1).cpu().numpy() - own) / math.log(2) + np.log2(total)
        return np.where(symbols == size, -math.log2(ESCAPE_MASS), coded) + math.log2(1 + ESCAPE_MASS)

    return _Table(weights, (1 + ESCAPE_MASS) * total, rare)


def _byte_table(reader: Reader, logits: Float64[Tensor, "rows vocabulary"], spelling: Spelling) -> _Table:
    """The model's weights of byte tokens among themselves; a byte without a token has one in 256."""
    table = np.full((len(logits), N_BYTES), 1 / N_BYTES)
    known = np.flatnonzero(spelling.byte_tokens >= 0)
    totals = np.ones(len(logits))
    if len(known):
        tokens = torch.from_numpy(spelling.byte_tokens[known]).to(logits.device)
        weights = reader.weigh(logits[:, tokens])
        table[:, known] = (len(known) / N_BYTES * weights / weights.sum(-1, keepdim=True)).cpu().numpy()
        totals = table.sum(-1)

    def rare(symbols: Int64[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
        with np.errstate(divide="ignore"):
            return -np.log2(table[np.arange(len(table)), symbols])

    return _Table(table, totals, rare)


def _escapes(symbols: Int64[np.ndarray, " rows"], active: Bool[np.ndarray, " rows"], spelling: Spelling) -> list[int]:
    return np.flatnonzero(active & (symbols == spelling.escape)).tolist()


def _decoded(decoder: Any, *arguments: object) -> Int64[np.ndarray, " symbols"]:  # noqa: ANN401  no type stubs
    try:
        return np.asarray(decoder.decode(*arguments)).astype(np.int64)
    except (ValueError, AssertionError) as error:
        raise InputError(f"the stream is corrupted: {error}") from None
