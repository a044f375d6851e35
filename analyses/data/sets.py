"""Measures of sets of vectors, group by group: rows of the population table, with the levels that groups stand for."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from analyses.data.panels import model_labels, place
from analyses.data.runs import Run, ordered_axes
from analyses.data.substitution import level_of
from analyses.statistics.resampling import Estimate
from probes.vocabulary import names


class SetValue(NamedTuple):
    """One number about the vectors of one group at one place.

    Attributes:
        model: the model as the sweep names it.
        suite: the suite.
        group: the level or domain.
        site: place without layer.
        layer: its layer.
        position: which tokens.
        basis: coordinates, or the null that made the vectors.
        metric: the measure.
        estimate: its value, with an interval where it has one.
        n: how many vectors.
        key: the group as the table names it, suite and split with it.
        axis: the axis that the levels lie on; empty where they are domains.
    """

    model: str
    suite: str
    group: str
    site: str
    layer: int
    position: str
    basis: str
    metric: str
    estimate: Estimate
    n: int
    key: str
    axis: str

    @property
    def place(self) -> str:
        """Site and layer as people write them."""
        return place(self.site, self.layer)


def read_sets(run: Run, metrics: tuple[str, ...], bases: tuple[str, ...] = (names.RAW,)) -> list[SetValue]:
    """The rows of some measures of sets in some bases, groups in the order of their levels."""
    rows = run.populations()
    rows = rows[rows["metric"].astype(str).isin(metrics) & rows["basis"].astype(str).isin(bases) & (rows["unit"] == -1)]
    if rows.empty:
        return []
    runs = run.runs()
    ids = runs["run_id"].astype(str)
    models = dict(zip(ids, model_labels(runs), strict=True))
    suites = dict(zip(ids, runs["suite"].astype(str), strict=True))
    axes = ordered_axes(run)
    levels = run.examples()
    order = levels.assign(group=levels["split"].astype(str) + "/" + levels["level_name"].astype(str))
    at = order.groupby("group", observed=True)["level"].min().to_dict()
    columns = (rows[name].astype(str) for name in ("run_id", "group", "site", "position", "basis", "metric"))
    numbers = (rows[name].to_numpy(np.float64) for name in ("value", "ci_low", "ci_high"))
    found = [
        SetValue(
            models.get(run_id, ""), suites.get(run_id, ""), group.removeprefix(f"{suites.get(run_id, '')}/"), site,
            int(layer), position, basis, metric, Estimate(float(value), float(low), float(high)), int(n), group,
            axes.get(run_id, ""),
        )
        for run_id, group, site, position, basis, metric, layer, n, value, low, high in zip(
            *columns, rows["layer"], rows["n_vectors"], *numbers, strict=True
        )
        if group != suites.get(run_id)
    ]  # fmt: skip
    first = {value.group: rank for rank, value in reversed(list(enumerate(found)))}
    found.sort(key=lambda value: (cast("float", np.nan_to_num(at.get(value.group, np.nan))), first[value.group]))
    return [value._replace(group=level_of(f"x/{value.group}", "x")) for value in found]
