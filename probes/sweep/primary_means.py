"""Means of the measures that a sweep is about first, for those who watch it: Hoyer at the end of the network.

Named ``model x suite/site/position/metric``, and ``.../level`` by level when the sweep is over; means of outcomes are
``model x suite/outcome``. A curve that bends shows at once that something is wrong; what is true of a sweep, with its
intervals, a report says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from probes.records.read import open_sweep
from probes.records.schema import Table
from probes.sweep.spec import SweepSpec
from probes.vocabulary.names import RAW
from probes.vocabulary.sites import SiteKind
from sparsity import MetricSpec

PRIMARY: Final = "hoyer"
MOST_LEVELS: Final = 16  # of an axis; nobody watches more curves than these


def primary_metric(spec: SweepSpec) -> MetricSpec:
    """Hoyer if the sweep has it, else its first metric."""
    metrics = spec.parsed_metrics()
    return next((metric for metric in metrics if str(metric) == PRIMARY), metrics[0])


class PrimaryMeans:
    """Means over the items of one run that this call has measured so far."""

    def __init__(self, spec: SweepSpec, label: str) -> None:
        self._metric, self._label = str(primary_metric(spec)), label
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, int] = defaultdict(int)

    def add(self, tables: Mapping[Table, pa.Table]) -> dict[str, float]:
        """Count the rows of a batch; the means so far."""
        values, outcomes = (_frame(tables.get(name)) for name in ("measurements", "outcomes"))
        if len(values):
            own = _primary(values, self._metric)
            for place, found in own.groupby("place")["value"]:
                self._count(f"{self._label}/{place}", found)
        if len(outcomes):
            for name, found in outcomes.groupby("name", observed=True)["value"]:
                self._count(f"{self._label}/{name}", found)
        return {name: self._sums[name] / count for name, count in self._counts.items() if count}

    def _count(self, name: str, values: pd.Series) -> None:
        defined = values.to_numpy(np.float64)
        defined = defined[~np.isnan(defined)]
        self._sums[name] += float(defined.sum())
        self._counts[name] += len(defined)


def level_means(directory: Path, spec: SweepSpec) -> dict[str, float]:
    """Means over all items of a finished sweep, level by level, read from its tables."""
    records, metric = open_sweep(directory), primary_metric(spec)
    labels = {entry.name: name for entry, name in zip(spec.models, spec.model_names(), strict=True)}
    items = records.examples().drop_duplicates("example_id").set_index("example_id")["level_name"].astype(str)
    runs = records.runs().set_index("run_id")
    rows = records.measurements(metric=metric.versioned)
    found: dict[str, float] = {}
    for run_id, some in rows.groupby(rows["run_id"].astype(str)):
        run: Any = runs.loc[str(run_id)]
        own = _primary(some, str(metric))
        levels = items.reindex(own["example_id"].astype(str)).tolist()
        if len(set(levels)) > MOST_LEVELS:
            continue
        label = f"{labels.get(str(run['model']), str(run['model']))} x {run['suite']}"
        names = [f"{place}/{level}" for place, level in zip(own["place"], levels, strict=True)]
        means = own["value"].groupby(names).mean().dropna()
        found |= {f"{label}/{name}": float(value) for name, value in means.items()}
    return found


def _primary(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of the primary measure at the end of the network, with their place written out."""
    last = rows["layer"].to_numpy().max()
    own = (rows["metric"] == metric) & (rows["basis"] == RAW) & (rows["unit"] == -1) & (rows["layer"] == last)
    found = rows.iloc[np.flatnonzero(own.to_numpy(bool))]
    sites, layers, positions = (found[name].astype(str).tolist() for name in ("site", "layer", "position"))
    where = [site if site == SiteKind.FINAL_NORM else f"{site}.{at}" for site, at in zip(sites, layers, strict=True)]
    return found.assign(place=[f"{at}/{position}/{metric}" for at, position in zip(where, positions, strict=True)])


def _frame(table: Any) -> pd.DataFrame:  # noqa: ANN401  an Arrow table or None
    return pd.DataFrame() if table is None else table.to_pandas()
