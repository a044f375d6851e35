"""From what a batch showed to rows: arrays in, Arrow tables out.

Names are repeated by dictionary index, never as strings, so that a row costs a few bytes until it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Float32, Int, Int32, UInt8

from probes.records.schema import SCHEMAS, token_measurements


@runtime_checkable
class Place(Protocol):
    """A place in a network as rows name it."""

    @property
    def name(self) -> str:
        """The ``site`` column."""
        ...

    @property
    def layer(self) -> int:
        """The ``layer`` column."""
        ...


@runtime_checkable
class Readings(Protocol):
    """Values of one site at one position for the items of a batch: one row per vector, or per mean over vectors."""

    @property
    def site(self) -> Place:
        """Site and layer."""
        ...

    @property
    def position(self) -> str:
        """The selector as asked."""
        ...

    @property
    def unit(self) -> int:
        """Head, expert or block index; -1 for the whole vector."""
        ...

    @property
    def basis(self) -> str:
        """Coordinates in which it was measured."""
        ...

    @property
    def item(self) -> Int32[np.ndarray, " rows"]:
        """Index into the batch."""
        ...

    @property
    def token(self) -> Int32[np.ndarray, " rows"]:
        """Index into the item's tokens, -1 when aggregated."""
        ...

    @property
    def values(self) -> Float32[np.ndarray, "rows metrics"]:
        """One column per metric."""
        ...

    @property
    def n_undefined(self) -> Int32[np.ndarray, "rows metrics"]:
        """Number of vectors behind each value that gave no number."""
        ...


@runtime_checkable
class Vectors(Protocol):
    """The vectors that were kept at one place, one per item, or one per token of each."""

    @property
    def site(self) -> Place:
        """Site and layer."""
        ...

    @property
    def position(self) -> str:
        """The selector as asked."""
        ...

    @property
    def dtype(self) -> str:
        """As safetensors writes it: ``F32``, ``BF16``, ``F16``, ``F64``."""
        ...

    @property
    def data(self) -> UInt8[np.ndarray, "vectors bytes"]:
        """The numbers of each vector, as they lie in memory, in the order of items and tokens."""
        ...

    @property
    def tokens(self) -> Sequence[range] | None:
        """The tokens of each item whose vectors these are; None where each item has one vector."""
        ...


def measurement_rows(
    readings: Sequence[Readings], *, run_id: str, example_ids: Sequence[str], metrics: Sequence[str]
) -> pa.Table:
    """Rows of ``measurements``: metric by metric, then place by place, items in batch order.

    Args:
        readings: what the batch showed, all with the same metrics.
        run_id: the run they belong to.
        example_ids: the items of the batch.
        metrics: names of the metric columns, as ``str(spec)`` writes them.
    """
    if not readings:
        return SCHEMAS["measurements"].empty_table()
    values = np.concatenate([reading.values for reading in readings])
    n_undefined = np.concatenate([reading.n_undefined for reading in readings])
    n_metrics = len(metrics)
    return _table(
        _where(readings, run_id, example_ids, n_metrics)
        | {
            "position": _named([reading.position for reading in readings], _lengths(readings), n_metrics),
            "token": np.tile(np.concatenate([reading.token for reading in readings]), n_metrics),
            "metric": _named(metrics, np.full(n_metrics, len(values))),
            "value": values.T.ravel(),
            "n_undefined": n_undefined.T.ravel(),
        },
        SCHEMAS["measurements"],
    )


def token_rows(
    readings: Sequence[Readings], *, run_id: str, example_ids: Sequence[str], metrics: Sequence[str]
) -> pa.Table:
    """Rows of ``token_measurements``: one per token, one column per metric. Arguments as :func:`measurement_rows`."""
    schema = token_measurements(metrics)
    if not readings:
        return schema.empty_table()
    columns = np.ascontiguousarray(np.concatenate([reading.values for reading in readings]).T)
    tokens = np.concatenate([reading.token for reading in readings])
    place = _where(readings, run_id, example_ids, 1)
    return _table(place | {"token": tokens} | dict(zip(metrics, columns, strict=True)), schema)


def outcome_rows(outcomes: Mapping[str, np.ndarray], *, run_id: str, example_ids: Sequence[str]) -> pa.Table:
    """Rows of ``outcomes``; an outcome that an item does not have (NaN) gets no row."""
    if not outcomes:
        return SCHEMAS["outcomes"].empty_table()
    values = np.concatenate(list(outcomes.values()))
    present = ~np.isnan(values)
    frame = pd.DataFrame(
        {
            "run_id": _named([run_id], np.array([len(values)])),
            "example_id": pd.Categorical.from_codes(
                np.tile(np.arange(len(example_ids)), len(outcomes)), categories=pd.Index(example_ids)
            ),
            "name": _named(list(outcomes), np.full(len(outcomes), len(example_ids))),
            "value": values,
        }
    )
    return _table(frame[present], SCHEMAS["outcomes"])


def next_token_rows(
    tokens: Int[np.ndarray, "items kept"],
    chances: Float[np.ndarray, "items kept"],
    *,
    run_id: str,
    example_ids: Sequence[str],
) -> pa.Table:
    """Rows of ``next_tokens``: the likeliest tokens of each item with their probabilities."""
    columns = {
        "run_id": _named([run_id], np.array([len(example_ids)])),
        "example_id": pd.Categorical.from_codes(np.arange(len(example_ids)), categories=pd.Index(example_ids)),
        "tokens": list(tokens.astype(np.int32)),
        "chances": list(chances.astype(np.float32)),
    }
    return _table(columns, SCHEMAS["next_tokens"])


def state_rows(kept: Sequence[Vectors], *, run_id: str, example_ids: Sequence[str]) -> pa.Table:
    """Rows of ``states``: place by place, items in batch order, the vectors of an item's tokens in one row."""
    if not kept:
        return SCHEMAS["states"].empty_table()
    n_items = len(example_ids)
    lengths = np.full(len(kept), n_items)
    columns = {
        "run_id": _named([run_id], np.array([len(kept) * n_items])),
        "example_id": pd.Categorical.from_codes(
            np.tile(np.arange(n_items), len(kept)), categories=pd.Index(example_ids)
        ),
        "site": _named([vectors.site.name for vectors in kept], lengths),
        "layer": np.repeat(np.array([vectors.site.layer for vectors in kept], dtype=np.int16), lengths),
        "position": _named([vectors.position for vectors in kept], lengths),
        "dtype": _named([vectors.dtype for vectors in kept], lengths),
        "token": np.array([at for vectors in kept for at, _ in _spans(vectors, n_items)], dtype=np.int32),
        "n_vectors": np.array([n for vectors in kept for _, n in _spans(vectors, n_items)], dtype=np.int32),
        "vector": [own for vectors in kept for own in _by_item(vectors, n_items)],
    }
    return _table(columns, SCHEMAS["states"])


def _spans(vectors: Vectors, n_items: int) -> list[tuple[int, int]]:
    """First token and number of vectors of every item."""
    return [(-1, 1)] * n_items if vectors.tokens is None else [(own.start, len(own)) for own in vectors.tokens]


def _by_item(vectors: Vectors, n_items: int) -> Iterator[bytes]:
    """The numbers of every item, its vectors back to back."""
    cuts = np.cumsum([n for _, n in _spans(vectors, n_items)])
    return (vectors.data[end - n : end].tobytes() for end, (_, n) in zip(cuts, _spans(vectors, n_items), strict=True))


def _where(readings: Sequence[Readings], run_id: str, example_ids: Sequence[str], repeats: int) -> dict[str, object]:
    lengths = _lengths(readings)
    items = np.tile(np.concatenate([reading.item for reading in readings]), repeats)
    layers = np.array([reading.site.layer for reading in readings], dtype=np.int16)
    units = np.array([reading.unit for reading in readings], dtype=np.int32)
    return {
        "run_id": _named([run_id], np.array([len(items)])),
        "example_id": pd.Categorical.from_codes(items, categories=pd.Index(example_ids)),
        "site": _named([reading.site.name for reading in readings], lengths, repeats),
        "layer": np.tile(np.repeat(layers, lengths), repeats),
        "unit": np.tile(np.repeat(units, lengths), repeats),
        "basis": _named([reading.basis for reading in readings], lengths, repeats),
    }


def _lengths(readings: Sequence[Readings]) -> np.ndarray:
    return np.array([len(reading.item) for reading in readings])


def _named(names: Sequence[str], lengths: np.ndarray, repeats: int = 1) -> object:
    """A column of names, each ``lengths`` times, and all of that ``repeats`` times over."""
    categories = list(dict.fromkeys(names))
    codes = np.array([categories.index(name) for name in names])
    return pd.Categorical.from_codes(np.tile(np.repeat(codes, lengths), repeats), categories=pd.Index(categories))


def _table(columns: Mapping[str, object] | pd.DataFrame, schema: pa.Schema) -> pa.Table:
    frame = columns if isinstance(columns, pd.DataFrame) else pd.DataFrame(columns)
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
