"""Missing values: items that were cut, failed, or have no value, by group; controls for which there was no time.

A comparison of groups of which one was cut to the length limit, or has no value for half of its items, is a comparison
of something else. Such groups are named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from analyses.data.panels import WHOLE
from analyses.data.runs import Run, facts
from analyses.findings.formatting import short_model, shown
from analyses.findings.panel import PRIMARY_METRIC
from probes.vocabulary.names import RAW, SUBSTITUTION_CHANGE

CUT: Final = "cut to max_tokens"
FAILED: Final = "failed"
UNDEFINED: Final = "without a defined value of {}"
DIFFERENCE: Final = 0.1  # of the shares of two groups, from which on they are said to differ
MOST_GROUPS: Final = 16
RANGES: Final = 4
MOST_NAMED: Final = 6  # cells of controls
LEFT_OUT: Final = "filter"  # stage of an item that the spec asked to leave out


class Group(NamedTuple):
    """Items of one level or domain, and how many of them are missing."""

    name: str
    n: int
    missing: int


class Loss(NamedTuple):
    """One way in which items of a suite went missing.

    Attributes:
        model: of the run.
        suite: of the run.
        what: what happened to the items.
        groups: by level or domain, in the order of the axis.
    """

    model: str
    suite: str
    what: str
    groups: tuple[Group, ...]

    @property
    def total(self) -> int:
        """Items missing in all groups."""
        return sum(group.missing for group in self.groups)

    @property
    def differs(self) -> bool:
        """True where the share that is missing differs between groups."""
        shares = [group.missing / group.n for group in self.groups if group.n]
        return len(shares) > 1 and max(shares) - min(shares) >= DIFFERENCE

    @property
    def listed(self) -> str:
        """Every group with its count.

        >>> Loss("m", "s", CUT, (Group("english", 18, 0), Group("telugu", 18, 18))).listed
        'english: 0 of 18, telugu: 18 of 18'
        """
        return ", ".join(f"{shown(group.name, 24)}: {group.missing:,} of {group.n:,}" for group in self.groups)


class ControlsRow(NamedTuple):
    """State of the controls of one run.

    Attributes:
        model: of the run.
        suite: of the run.
        n_cells: in all; 0 where it is not recorded.
        seconds: that they took.
        budget: the most they might take, in words.
        left_out: cells that found no time, by name.
        skipped: what the model or the run cannot have, and why.
        no_change: changes of which no share is defined, because they do not differ from zero.
        n_changes: changes that substitution was asked of.
    """

    model: str
    suite: str
    n_cells: int
    seconds: float
    budget: str
    left_out: tuple[str, ...]
    skipped: tuple[str, ...]
    no_change: int
    n_changes: int

    @property
    def said(self) -> str:
        """List what found no time, and how to have it; empty where everything was done."""
        if not self.left_out:
            return ""
        n = len(self.left_out)
        of = f" of {self.n_cells}" if self.n_cells else ""
        names = ", ".join([*self.left_out[:MOST_NAMED], *(["..."] if n > MOST_NAMED else [])])
        return (
            f"{self.model} on {shown(self.suite)}: {n}{of} cells of the controls were left out for lack of time "
            f"(allowed: {self.budget}): {names}. Nothing is known of their bases, populations and substitutions; "
            "sweep again with --set controls_budget=unlimited to add them."
        )


def take_controls(run: Run) -> list[ControlsRow]:
    """The controls of every run that has some."""
    found: list[ControlsRow] = []
    changes = run.populations()
    changes = changes[changes["metric"] == SUBSTITUTION_CHANGE]
    for row in run.runs().itertuples():
        own = facts(str(row.spec_json)).get("controls")
        if own:
            asked = changes[changes["run_id"].astype(str) == str(row.run_id)]
            found.append(
                ControlsRow(
                    short_model(str(row.model)),
                    str(row.suite),
                    int(own.get("n_cells", 0)),
                    float(own.get("seconds", math.nan)),
                    _budget(own.get("budget")),
                    tuple(own.get("left_out", ())),
                    tuple(f"{what}: {why}" for what, why in own.get("skipped", {}).items()),
                    int((~((asked["ci_low"] > 0) | (asked["ci_high"] < 0))).sum()),
                    len(asked),
                )
            )
    return found


def _budget(asked: object) -> str:
    if asked is None:
        return "not recorded"
    return "no limit" if asked == "unlimited" else f"{asked:g} x the time of measuring, at least a minute"


def take_losses(run: Run) -> list[Loss]:
    """All losses of all runs; one that took nothing is not there."""
    examples = run.examples()
    if examples.empty:
        return []
    known = examples.drop_duplicates("example_id").set_index("example_id")
    inputs, failures = run.inputs(), run.failures()
    missing = _undefined(run)
    losses: list[Loss] = []
    for row in run.runs().itertuples():
        run_id, suite, model = str(row.run_id), str(row.suite), short_model(str(row.model))
        own = inputs[inputs["run_id"].astype(str) == run_id]
        failed = failures[(failures["run_id"].astype(str) == run_id) & (failures["stage"].astype(str) != LEFT_OUT)]
        ids = dict.fromkeys([*own["example_id"].astype(str), *failed["example_id"].astype(str)])
        groups = _groups(known.reindex(list(ids)))
        lost = {
            CUT: set(own.loc[own["truncated"].astype(bool), "example_id"].astype(str)),
            FAILED: set(failed["example_id"].astype(str)),
        }
        lost |= {UNDEFINED.format(name): gone for (at, name), gone in missing.items() if at == run_id}
        losses += [
            Loss(model, suite, what, _counted(groups, gone)) for what, gone in lost.items() if gone & groups.keys()
        ]
    return losses


def warnings(losses: Sequence[Loss]) -> list[str]:
    """A clause for each loss that some groups had more of than others."""
    several = len({loss.model for loss in losses}) > 1
    return [
        f"{shown(loss.suite)}{f' ({shown(loss.model)})' if several else ''}, {loss.what}: {loss.listed}"
        for loss in losses
        if loss.differs
    ]


def _undefined(run: Run) -> dict[tuple[str, str], set[str]]:
    """Items by run and measure that have no value: of Hoyer anywhere in the raw basis, and of familiarity."""
    found: dict[tuple[str, str], set[str]] = {}
    rows = run.measurements()
    if len(rows):
        own = ((rows["metric"] == PRIMARY_METRIC) & (rows["unit"] == WHOLE) & (rows["basis"] == RAW)).to_numpy(bool)
        _add(found, rows, own, pd.Series(PRIMARY_METRIC, index=rows.index))
    familiarity = run.familiarity()
    if len(familiarity):
        _add(found, familiarity, np.ones(len(familiarity), bool), familiarity["measure"])
    return found


def _add(found: dict[tuple[str, str], set[str]], rows: pd.DataFrame, own: np.ndarray, names: pd.Series) -> None:
    gone = np.flatnonzero(own & ~np.isfinite(rows["value"].to_numpy(np.float64)))
    columns = (rows["run_id"], names, rows["example_id"])
    for run_id, name, item in zip(*(column.iloc[gone].astype(str) for column in columns), strict=True):
        found.setdefault((run_id, name), set()).add(item)


def _groups(items: pd.DataFrame) -> dict[str, str]:
    """Level or domain of each item; levels that are many are put into ranges."""
    names = items["level_name"].astype(object).fillna("").astype(str)
    levels = items["level"].to_numpy(np.float64)
    written = [name or ("no level" if np.isnan(at) else f"{at:g}") for name, at in zip(names, levels, strict=True)]
    order = np.argsort(levels, kind="stable")
    if len(set(written)) > MOST_GROUPS and np.isfinite(levels).any():
        ranges = pd.qcut(pd.Series(levels), RANGES, duplicates="drop")
        written = ["no level" if pd.isna(own) else f"{own.left:g} to {own.right:g}" for own in ranges]
    return {str(items.index[at]): written[at] for at in order.tolist()}


def _counted(groups: dict[str, str], gone: set[str]) -> tuple[Group, ...]:
    counts: dict[str, list[int]] = {}
    for item, name in groups.items():
        own = counts.setdefault(name, [0, 0])
        own[0] += 1
        own[1] += item in gone
    return tuple(Group(name, n, missing) for name, (n, missing) in counts.items())
