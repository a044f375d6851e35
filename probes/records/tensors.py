"""Stored states in a part: a safetensors file, one tensor per run, site and position, its items in the header.

A row of the tensor is the vector of an item, or of one of its tokens: the header then says for each item its first
token and how many follow each other.

In memory, rows of states are an Arrow table like every other, the vector as the bytes that the model computed: they
travel between processes and wait for their commit as measurements do. On disk they are safetensors, which any tool
opens, bfloat16 as bfloat16. A reader takes the header and the tensors it wants, nothing else of the file. The library
does not read bfloat16 without torch nor write raw bytes but by pointer, and the format is a header and then the data:
so both are done here, and the library is what tests read the files with.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from probes.records.arrow import compute
from probes.records.layout import damaged
from probes.records.schema import SCHEMA_VERSION, SCHEMAS

PART_BYTES: Final = 1 << 26  # of vectors in one part, or one item's where that has more: what writing holds at once
SUFFIX: Final = ".safetensors"
ALIGNED: Final = 8  # the data begins at a multiple of this
HEADER_LENGTH: Final = struct.Struct("<Q")
ITEM_BYTES: Final[Mapping[str, int]] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
WHERE: Final = ("run_id", "site", "layer", "position", "dtype")


class Tensor(NamedTuple):
    """One tensor of a part.

    Attributes:
        run_id: of its items.
        site: without the layer.
        layer: which block.
        position: the selector as asked.
        dtype: as safetensors writes it: ``F32``, ``BF16``, ``F16``, ``F64``.
        items: example ids.
        start: first byte in the file.
        width: numbers per row.
        tokens: first token and number of rows of each item, at position ``all``; None where each item has one row.
    """

    run_id: str
    site: str
    layer: int
    position: str
    dtype: str
    items: tuple[str, ...]
    start: int
    width: int
    tokens: tuple[tuple[int, int], ...] | None = None

    @property
    def n_vectors(self) -> int:
        """Number of rows."""
        return len(self.items) if self.tokens is None else sum(n for _, n in self.tokens)

    def keys(self) -> Iterator[tuple[str, int]]:
        """Item and token of every row; the token is -1 where the vector is of the item."""
        for item, (first, n) in zip(self.items, self.tokens or [(-1, 1)] * len(self.items), strict=True):
            yield from ((item, first + place if first >= 0 else -1) for place in range(n))

    def numbers(self, file: Path) -> Float32[np.ndarray, "vectors width"]:
        """The vectors in float32, which holds every value of the narrower types exactly."""
        data = self._data(file)
        return _numbers(data, self.dtype).reshape(self.n_vectors, self.width)

    def rows(self, file: Path) -> pa.Table:
        """The vectors as rows of the table ``states``."""
        n_bytes = self.width * ITEM_BYTES[self.dtype]
        data = self._data(file)
        place = {name: [getattr(self, name)] * len(self.items) for name in WHERE}
        first, counts = zip(*(self.tokens or [(-1, 1)] * len(self.items)), strict=True)
        ends = list(accumulate(n * n_bytes for n in counts))
        vectors = [data[end - n * n_bytes : end] for end, n in zip(ends, counts, strict=True)]
        own = {"example_id": list(self.items), "token": list(first), "n_vectors": list(counts), "vector": vectors}
        return pa.Table.from_pydict({**place, **own}).select(SCHEMAS["states"].names).cast(SCHEMAS["states"])

    def _data(self, file: Path) -> bytes:
        n_bytes = self.n_vectors * self.width * ITEM_BYTES[self.dtype]
        with _readable(file), file.open("rb") as opened:
            opened.seek(self.start)
            data = opened.read(n_bytes)
            if len(data) < n_bytes:
                raise EOFError
        return data


def to_safetensors(rows: pa.Table) -> bytes:
    """Rows of the table ``states`` as the bytes of a part."""
    header: dict[str, Any] = {}
    metadata = {"schema_version": str(SCHEMA_VERSION)}
    chunks: list[bytes] = []
    size = 0
    for place, own in _by_place(rows):
        items = cast("list[str]", own.column("example_id").to_pylist())
        vectors = cast("list[bytes]", own.column("vector").to_pylist())
        data = b"".join(vectors)
        layer = "" if place["layer"] < 0 else f".{place['layer']}"
        name = f"{place['run_id']} {place['site']}{layer} {place['position']}"
        first, counts = (cast("list[int | None]", own.column(name).to_pylist()) for name in ("token", "n_vectors"))
        each = [(at, n) for at, n in zip(first, counts, strict=True) if at is not None and n is not None and at >= 0]
        n_rows = sum(n for _, n in each) if each else len(items)
        width = len(data) // (n_rows * ITEM_BYTES[place["dtype"]]) if n_rows else 0
        header[name] = {"dtype": place["dtype"], "shape": [n_rows, width], "data_offsets": [size, size + len(data)]}
        metadata[name] = json.dumps({**place, "items": items, **({"tokens": each} if each else {})}, ensure_ascii=False)
        chunks.append(data)
        size += len(data)
    text = json.dumps({"__metadata__": metadata, **header}, ensure_ascii=False).encode()
    text += b" " * (math.ceil(len(text) / ALIGNED) * ALIGNED - len(text))
    return b"".join([HEADER_LENGTH.pack(len(text)), text, *chunks])


def in_parts(rows: pa.Table) -> Iterator[pa.Table]:
    """Rows of the table ``states`` in tables of at most :data:`PART_BYTES` of vectors, of one row at least."""
    begin = size = 0
    lengths = cast("list[int]", compute.binary_length(rows.column("vector")).to_pylist())
    for at, length in enumerate(lengths):
        if at > begin and size + length > PART_BYTES:
            yield rows.slice(begin, at - begin)
            begin, size = at, 0
        size += length
    yield rows.slice(begin)


def tensors_of(file: Path) -> Iterator[Tensor]:
    """List the tensors of a part, from its header."""
    with _readable(file), file.open("rb") as opened:
        (length,) = HEADER_LENGTH.unpack(opened.read(HEADER_LENGTH.size))
        header: dict[str, Any] = json.loads(opened.read(length))
    for name, text in header.pop("__metadata__").items():
        if name in header:
            place: dict[str, Any] = json.loads(text)
            entry = header[name]
            start = HEADER_LENGTH.size + length + entry["data_offsets"][0]
            names = tuple(map(str, place.pop("items")))
            each = place.pop("tokens", None)
            tokens = None if each is None else tuple((int(first), int(n)) for first, n in each)
            yield Tensor(**place, items=names, start=start, width=int(entry["shape"][1]), tokens=tokens)


@contextmanager
def _readable(file: Path) -> Generator[None]:
    try:
        yield
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise damaged(file, error) from None


def _by_place(rows: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Rows of one run, site and position at a time, places in a fixed order, items as they come."""
    keys = list(zip(*(cast("Sequence[Any]", rows.column(name).to_pylist()) for name in WHERE), strict=True))
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    for key in sorted(groups):
        chosen: Any = pa.array(groups[key])
        yield dict(zip(WHERE, key, strict=True)), cast("pa.Table", compute.take(rows, chosen))


def _numbers(data: bytes, dtype: str) -> Float32[np.ndarray, " numbers"]:
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, f"<f{ITEM_BYTES[dtype]}").astype(np.float32)
