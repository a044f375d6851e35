"""From what a batch showed to rows: arrays in, Arrow tables out.

Names are repeated by dictionary index, never as strings, so that a row costs a few bytes until it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float32, Int32

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
    """What one site gave at one position for the items of a batch: one row per vector, or per mean over vectors."""

    @property
    def site(self) -> Place:
        """Where."""
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
        """How many vectors behind each value gave no number."""
        ...


def measurement_rows(
    readings: Iterable[Readings], *, run_id: str, example_ids: Sequence[str], metrics: Sequence[str]
) -> pa.Table:
    """Rows of ``measurements``: metric by metric, items in batch order.

    Args:
        readings: what the batch showed, all with the same metrics.
        run_id: the run they belong to.
        example_ids: the items of the batch.
        metrics: names of the metric columns, as ``str(spec)`` writes them.
    """
    parts = [_long(reading, run_id, example_ids, metrics) for reading in readings]
    return _stacked(parts, SCHEMAS["measurements"])


def token_rows(
    readings: Iterable[Readings], *, run_id: str, example_ids: Sequence[str], metrics: Sequence[str]
) -> pa.Table:
    """Rows of ``token_measurements``: one per token, one column per metric. Arguments as :func:`measurement_rows`."""
    parts = [
        _where(reading, run_id, example_ids, repeats=1)
        | {"token": reading.token}
        | dict(zip(metrics, np.ascontiguousarray(reading.values.T), strict=True))
        for reading in readings
    ]
    return _stacked(parts, token_measurements(metrics))


def outcome_rows(outcomes: Mapping[str, np.ndarray], *, run_id: str, example_ids: Sequence[str]) -> pa.Table:
    """Rows of ``outcomes``; an outcome that an item does not have (NaN) gets no row."""
    parts: list[dict[str, Any]] = []
    for name, values in outcomes.items():
        (present,) = np.nonzero(~np.isnan(values))
        parts.append(
            {
                "run_id": _constant(run_id, len(present)),
                "example_id": _indexed(present, example_ids),
                "name": _constant(name, len(present)),
                "value": values[present],
            }
        )
    return _stacked(parts, SCHEMAS["outcomes"])


def _long(reading: Readings, run_id: str, example_ids: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    n_rows, n_metrics = len(reading.item), len(metrics)
    which = np.repeat(np.arange(n_metrics), n_rows)
    return _where(reading, run_id, example_ids, repeats=n_metrics) | {
        "position": _constant(reading.position, n_rows * n_metrics),
        "token": np.tile(reading.token, n_metrics),
        "metric": _indexed(which, metrics),
        "value": reading.values.T.ravel(),
        "n_undefined": reading.n_undefined.T.ravel(),
    }


def _where(reading: Readings, run_id: str, example_ids: Sequence[str], *, repeats: int) -> dict[str, Any]:
    rows = len(reading.item) * repeats
    return {
        "run_id": _constant(run_id, rows),
        "example_id": _indexed(np.tile(reading.item, repeats), example_ids),
        "site": _constant(reading.site.name, rows),
        "layer": np.full(rows, reading.site.layer, dtype=np.int16),
        "unit": np.full(rows, reading.unit, dtype=np.int32),
        "basis": _constant(reading.basis, rows),
    }


def _stacked(parts: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    if not parts:
        return schema.empty_table()
    tables = [pa.Table.from_pandas(pd.DataFrame(part), schema=schema, preserve_index=False) for part in parts]
    return pa.concat_tables(tables).unify_dictionaries()


def _constant(name: str, rows: int) -> object:
    return _indexed(np.zeros(rows, dtype=np.int32), [name])


def _indexed(index: np.ndarray, names: Sequence[str]) -> object:
    return pd.Categorical.from_codes(index, categories=pd.Index(names))
