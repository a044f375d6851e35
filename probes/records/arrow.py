"""Columns of names in Arrow memory: tens of bytes a name instead of a Python string, and looked up all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Int, Int64

compute: Final[Any] = pyarrow.compute  # its stubs know few of the types that it takes


def column_of(names: Iterable[str]) -> pa.StringArray:
    """Names as a column."""
    column: Any = pa.array(names, pa.string())
    return column


def listed(column: pa.StringArray) -> list[str]:
    """A column as strings."""
    values: Any = column.to_pylist()
    return values


def picked(column: pa.StringArray, indices: Int[np.ndarray, " some"]) -> pa.StringArray:
    """Some entries, in the order asked for."""
    where: Any = pa.array(indices)
    return column.take(where)


def found(column: pa.StringArray, among: pa.StringArray) -> Int64[np.ndarray, " names"]:
    """Index of each name in another column; -1 for those that are not there."""
    where = compute.fill_null(compute.index_in(column, value_set=among), -1)
    return where.to_numpy(zero_copy_only=False).astype(np.int64)


def codes(column: pa.StringArray) -> Int64[np.ndarray, " names"]:
    """Numbers instead of names, in the order of their first appearance."""
    return compute.dictionary_encode(column).indices.to_numpy().astype(np.int64)


def doubled(column: pa.StringArray) -> str | None:
    """A name that occurs twice, if there is one."""
    if compute.count_distinct(column).as_py() == len(column):
        return None
    counts = compute.value_counts(column)
    return next(entry["values"] for entry in counts.to_pylist() if entry["counts"] > 1)


def newest(column: Any) -> Any:  # noqa: ANN401  Arrow arrays, of which the stubs know little
    """Mask of the last row of every name."""
    return pa.array(~pd.Series(column.to_pandas()).duplicated(keep="last").to_numpy())
