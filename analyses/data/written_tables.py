"""Tables that commands write beside sweeps: a comparison of memories, rates of compressors, and the like.

A question about one asks the run for it by name; a run that holds none of that name is not asked anything. So such a
question stands in the same registry and the same report as the questions about sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import pandas as pd

from analyses.data.runs import Run, remember, unwrapped
from probes.records.schema import SCHEMAS, Table


@runtime_checkable
class HoldsTables(Protocol):
    """A run that holds tables of commands beside its own."""

    def written(self, name: str) -> Mapping[str, pd.DataFrame]:
        """Tables of one name by the model that they are about; ``""`` where it is no model of the user's."""
        ...


def written(run: Run, name: str) -> Mapping[str, pd.DataFrame]:
    """Tables of one name by model; none where the run holds none."""
    inner = unwrapped(run)
    return remember(run, f"written {name}", lambda: inner.written(name)) if isinstance(inner, HoldsTables) else {}


class Beside:
    """A run with tables of commands beside it; without a run of its own, one that has no rows."""

    def __init__(self, run: Run | None, tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> None:
        self._run, self._tables = run, tables

    def written(self, name: str) -> Mapping[str, pd.DataFrame]:
        """Tables of one name by model."""
        return self._tables.get(name, {})

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  other tables are those of the sweeps
        if self._run is not None:
            return getattr(self._run, name)
        if name in SCHEMAS:
            return partial(_no_rows, name)
        raise AttributeError(name)

    def width(self, run_id: str, site: str) -> int:
        """The width of a site of the sweeps."""
        return 0 if self._run is None else self._run.width(run_id, site)


def _no_rows(name: Table, **_: object) -> pd.DataFrame:
    return SCHEMAS[name].empty_table().to_pandas()


def beside(run: Run | None, tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Run:
    """The same run, with tables of commands by name and model."""
    return cast("Run", Beside(run, tables))
