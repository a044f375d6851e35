"""A sweep as analyses see it: tables to read, and a memory for whoever asks many questions of one sweep.

Analyses know nothing of files: anything with these readers is a run, `probes.records.Records` or a handful of frames in
a notebook.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import pandas as pd

from probes.records.stored_states import States, StoredPlace
from probes.vocabulary.axes import Axis

T = TypeVar("T")


@runtime_checkable
class Run(Protocol):
    """Tables of a sweep that an analysis may read; `probes.records.Records` is one."""

    def runs(self) -> pd.DataFrame: ...  # noqa: D102  a row per model x suite

    def examples(self) -> pd.DataFrame: ...  # noqa: D102

    def inputs(self) -> pd.DataFrame: ...  # noqa: D102

    def measurements(  # noqa: D102  basis None: in every basis
        self, *, suite: Sequence[str] | None = None, basis: str | None = "raw"
    ) -> pd.DataFrame: ...

    def token_measurements(  # noqa: D102  the same
        self, *, suite: Sequence[str] | None = None, basis: str | None = "raw"
    ) -> pd.DataFrame: ...

    def outcomes(self) -> pd.DataFrame: ...  # noqa: D102

    def populations(self) -> pd.DataFrame: ...  # noqa: D102

    def familiarity(self) -> pd.DataFrame: ...  # noqa: D102

    def familiarity_tokens(self) -> pd.DataFrame: ...  # noqa: D102

    def failures(self) -> pd.DataFrame: ...  # noqa: D102

    def width(self, run_id: str, site: str) -> int: ...  # noqa: D102


@runtime_checkable
class KeepsStates(Protocol):
    """A run that may hold raw vectors beside its numbers."""

    def stored_states(self) -> Sequence[StoredPlace]: ...  # noqa: D102

    def states(  # noqa: D102
        self,
        site: str,
        *,
        layer: int | None = None,
        position: str | None = None,
        suite: Sequence[str] | None = None,
        model: Sequence[str] | None = None,
    ) -> States: ...


def with_states(run: Run) -> KeepsStates | None:
    """The run as one that can be asked for raw vectors; None where it cannot. Vectors are never remembered."""
    inner = unwrapped(run)
    return inner if isinstance(inner, KeepsStates) else None


def unwrapped(run: Run) -> Run:
    """The run itself, without its memory."""
    return run.unwrapped if isinstance(run, _Once) else run


def once(run: Run) -> Run:
    """The same run, its tables and panels read when first asked for and kept; for asking many questions."""
    return run if isinstance(run, _Once) else _Once(run)


class _Once:
    """A run that remembers what was read of it. Frames are shared: who changes one copies it first."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._kept: dict[str, Any] = {}

    @property
    def unwrapped(self) -> Run:
        """The run itself."""
        return self._run

    def _keep(self, name: str, read: Callable[[], T]) -> T:
        if name not in self._kept:
            self._kept[name] = read()
        return cast("T", self._kept[name])

    def runs(self) -> pd.DataFrame:
        return self._keep("runs", self._run.runs)

    def examples(self) -> pd.DataFrame:
        return self._keep("examples", self._run.examples)

    def inputs(self) -> pd.DataFrame:
        return self._keep("inputs", self._run.inputs)

    def outcomes(self) -> pd.DataFrame:
        return self._keep("outcomes", self._run.outcomes)

    def populations(self) -> pd.DataFrame:
        return self._keep("populations", self._run.populations)

    def familiarity(self) -> pd.DataFrame:
        return self._keep("familiarity", self._run.familiarity)

    def familiarity_tokens(self) -> pd.DataFrame:
        return self._keep("familiarity_tokens", self._run.familiarity_tokens)

    def failures(self) -> pd.DataFrame:
        return self._keep("failures", self._run.failures)

    def measurements(self, *, suite: Sequence[str] | None = None, basis: str | None = "raw") -> pd.DataFrame:
        rows = self._of(self._keep("measurements", lambda: self._run.measurements(basis=None)), suite)
        return rows if basis is None else rows[rows["basis"] == basis]

    def token_measurements(self, *, suite: Sequence[str] | None = None, basis: str | None = "raw") -> pd.DataFrame:
        rows = self._of(self._keep("token_measurements", lambda: self._run.token_measurements(basis=None)), suite)
        return rows if basis is None or rows.empty else rows[rows["basis"] == basis]

    def width(self, run_id: str, site: str) -> int:
        return self._keep(f"width {run_id} {site}", lambda: self._run.width(run_id, site))

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made before under this name, else what is made now."""
        return self._keep(f"made {name}", make)

    def _of(self, rows: pd.DataFrame, suites: Sequence[str] | None) -> pd.DataFrame:
        if suites is None:
            return rows
        runs = self.runs()
        wanted = runs.loc[runs["suite"].isin(list(suites)), "run_id"]
        return rows if len(wanted) == len(runs) else rows[rows["run_id"].isin(list(wanted))]


def remember(run: Run, name: str, make: Callable[[], T]) -> T:
    """Return what was made of this run before under this name, where the run remembers (:func:`once`); else make it."""
    return run.keep(name, make) if isinstance(run, _Once) else make()


def facts(spec_json: str) -> dict[str, Any]:
    """Recorded facts of a run's model and settings; empty where nothing readable was recorded."""
    try:
        content = json.loads(spec_json)
    except (json.JSONDecodeError, TypeError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def axis_of(spec_json: str, name: str) -> Axis:
    """The axis of a run; one that is not recorded counts as nominal, because no direction was declared."""
    recorded = facts(spec_json).get("axis")
    return Axis(**recorded) if recorded else Axis(name=name, unit="", kind="nominal", harder=None)


def ordered_axes(run: Run) -> dict[str, str]:
    """Name of the axis by run, of those runs whose levels are in an order; of a level they are needed to name it."""
    runs = run.runs()
    axes = {str(run_id): axis_of(spec, "") for run_id, spec in zip(runs["run_id"], runs["spec_json"], strict=True)}
    return {run_id: axis.name for run_id, axis in axes.items() if axis.kind != "nominal"}
