"""Coordinates that carry a change of mean Hoyer: the substitution rows of the population table, read into records.

The controls of a sweep replace coordinates of one group by those of another and record which share of the change comes
with them. Where the change does not differ from zero its shares are not defined (a share of nearly nothing is any
number) and are NaN here. Here are only the records; what may be said of them is for the questions.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from analyses.data.panels import model_labels, place
from analyses.data.runs import Run, ordered_axes, remember
from analyses.statistics.resampling import UNDEFINED, Estimate
from probes.vocabulary import names

KEYS: Final = ("run_id", "group", "site", "layer", "position")

READ: Final = (
    names.SUBSTITUTION_CHANGE,
    names.SUBSTITUTION_CURVE,
    names.SUBSTITUTION_K50,
    names.SUBSTITUTION_FORWARD,
)

_Key: TypeAlias = tuple[str, str, str, int, str]


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
        axis: the axis that the groups lie on; empty where they are domains.
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
    axis: str

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
    return remember(run, f"{of}substitutions", lambda: _read(run, of))


def _read(run: Run, of: str) -> list[Substitution]:
    rows = run.populations()
    rows = rows[rows["metric"].isin([of + name for name in READ])]
    if rows.empty:
        return []
    runs = run.runs()
    models = dict(zip(runs["run_id"].astype(str), model_labels(runs), strict=True))
    suites = dict(zip(runs["run_id"].astype(str), runs["suite"].astype(str), strict=True))
    axes = ordered_axes(run)
    found: list[Substitution] = []
    for (run_id, group, site, layer, position), cell in _cells(rows, of).items():
        suite = suites.get(run_id, "")
        change = cell.estimates.get(names.SUBSTITUTION_CHANGE, {}).get(-1, UNDEFINED)
        shares = cell.estimates if change.sign else {}
        found.append(
            Substitution(
                models.get(run_id, ""),
                suite,
                level_of(group, suite),
                site,
                layer,
                position,
                cell.n,
                change,
                shares.get(names.SUBSTITUTION_CURVE, {}),
                shares.get(names.SUBSTITUTION_K50, {}).get(-1, UNDEFINED),
                shares.get(names.SUBSTITUTION_FORWARD, {}),
                axes.get(run_id, ""),
            )
        )
    return found


def level_of(group: str, suite: str) -> str:
    """The level's name in the name of a group.

    >>> level_of("quiz/shifted/7", "quiz"), level_of("a/b/in/x/y", "a/b")
    ('7', 'x/y')
    """
    return group.removeprefix(f"{suite}/").partition("/")[2]


class _Cell(NamedTuple):
    """Vectors of a group at one place and position, and the estimates of each metric by unit, in order of the units."""

    n: int
    estimates: dict[str, dict[int, Estimate]]


def _cells(rows: pd.DataFrame, of: str) -> dict[_Key, _Cell]:
    """Cells in the order of the table; each column is read once, for there may be hundreds of thousands of rows."""
    keys = list(zip(*(rows[name].to_list() for name in KEYS), strict=True))
    most: dict[_Key, int] = {}
    for key, n in zip(keys, rows["n_vectors"].to_list(), strict=True):
        most[key] = max(n, most.get(key, 0))
    found = {key: _Cell(n, {}) for key, n in most.items()}
    metrics, units = rows["metric"].to_list(), rows["unit"].to_list()
    estimates = rows[["value", "ci_low", "ci_high"]].to_numpy(np.float64).tolist()
    for row in np.argsort(units, kind="stable").tolist():
        shares = found[keys[row]].estimates.setdefault(metrics[row].removeprefix(of), {})
        shares[units[row]] = Estimate(*estimates[row])
    return found
