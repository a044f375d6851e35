"""Coordinates that carry a change of mean Hoyer: the substitution rows of the population table, read into records.

The controls of a sweep replace coordinates of one group by those of another and record which share of the change comes
with them. Where the change does not differ from zero its shares are not defined (a share of nearly nothing is any
number) and are NaN here. Here are only the records; what may be said of them is for the questions.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from analyses.data.panels import model_labels, place
from analyses.data.runs import Run
from analyses.statistics.resampling import UNDEFINED, Estimate
from probes.vocabulary import names


class Substitution(NamedTuple):
    """Coordinates that carry the change from the reference to one group at one place.

    Attributes:
        model: the model as the sweep names it.
        suite: the suite.
        group: the level or domain.
        site: place without layer.
        layer: its layer.
        position: which tokens.
        n: vectors behind it.
        change: the change of mean Hoyer itself.
        curve: share carried by the m top coordinates together, by m; empty where there is no change.
        k50: the least m that carries half.
        coordinates: share carried by single coordinates, put into the reference, by coordinate; likewise.
    """

    model: str
    suite: str
    group: str
    site: str
    layer: int
    position: str
    n: int
    change: Estimate
    curve: dict[int, Estimate]
    k50: Estimate
    coordinates: dict[int, Estimate]

    @property
    def place(self) -> str:
        """Site and layer as people write them."""
        return place(self.site, self.layer)

    @property
    def has_change(self) -> bool:
        """True where there is a change to carry: its interval leaves out zero."""
        return self.change.sign != 0

    @property
    def top(self) -> tuple[int, Estimate] | None:
        """The coordinate that carries most alone, and its share."""
        known = {unit: share for unit, share in self.coordinates.items() if math.isfinite(share.value)}
        return max(known.items(), key=lambda entry: entry[1].value) if known else None


def read_substitutions(run: Run, of: str = "") -> list[Substitution]:
    """All substitutions of a sweep, of coordinates or (``of`` is ``unit_``) of heads; empty without controls."""
    rows = run.populations()
    rows = rows[rows["metric"].astype(str).str.startswith(f"{of}substitution_")]
    if rows.empty:
        return []
    runs = run.runs()
    models = dict(zip(runs["run_id"].astype(str), model_labels(runs), strict=True))
    suites = dict(zip(runs["run_id"].astype(str), runs["suite"].astype(str), strict=True))
    found: list[Substitution] = []
    keys = ["run_id", "group", "site", "layer", "position"]
    for key, own in rows.groupby(keys, observed=True, sort=False):
        run_id, group, site, layer, position = cast("tuple[str, str, str, int, str]", key)
        by_metric = {
            str(metric).removeprefix(of): _shares(part) for metric, part in own.groupby("metric", observed=True)
        }
        suite = suites.get(str(run_id), "")
        change = by_metric.get(names.SUBSTITUTION_CHANGE, {}).get(-1, UNDEFINED)
        if not change.sign:
            by_metric = {}
        found.append(
            Substitution(
                models.get(str(run_id), ""),
                suite,
                level_of(str(group), suite),
                str(site),
                int(layer),
                str(position),
                int(own["n_vectors"].max()),
                change,
                by_metric.get(names.SUBSTITUTION_CURVE, {}),
                by_metric.get(names.SUBSTITUTION_K50, {}).get(-1, UNDEFINED),
                by_metric.get(names.SUBSTITUTION_FORWARD, {}),
            )
        )
    return found


def level_of(group: str, suite: str) -> str:
    """The level's name in the name of a group.

    >>> level_of("quiz/shifted/7", "quiz"), level_of("a/b/in/x/y", "a/b")
    ('7', 'x/y')
    """
    return group.removeprefix(f"{suite}/").partition("/")[2]


def _shares(rows: pd.DataFrame) -> dict[int, Estimate]:
    ordered = rows.sort_values("unit")
    columns = (ordered[name].to_numpy(np.float64) for name in ("value", "ci_low", "ci_high"))
    return {
        int(unit): Estimate(float(value), float(low), float(high))
        for unit, value, low, high in zip(ordered["unit"], *columns, strict=True)
    }
