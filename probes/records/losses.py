"""What was cut, undefined or failed, counted by group.

A difference between groups may be nothing but that one of them was cut: where every Telugu item is truncated and no
English one is, their means are about different things. So losses are counted per group, and groups that lost unlike
shares are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from probes.records.read import Records

LOSSES: Final = ("truncated", "control_tokens", "undefined", "failed")
GROUP: Final = ("run_id", "suite", "split", "level_name")
UNLIKE: Final = 0.1  # shares of two groups that are further apart than this are named


def count_losses(run: Records, values: pd.DataFrame | None = None) -> pd.DataFrame:
    """Items per group, and how many of them lost something.

    Args:
        run: a sweep.
        values: rows with ``run_id``, ``example_id`` and ``value`` (measurements, outcomes, familiarity, or some of
            them together) in which NaN counts as undefined; None leaves that column 0.

    Returns:
        One row per run, suite, split and level: ``n_items``, and the items that were ``truncated`` (their text was cut
        to ``max_tokens``), hold ``control_tokens`` (special tokens that the text spells out), have an ``undefined``
        value, or ``failed``. In sweeps written before these were recorded they count 0.
    """
    inputs = run.inputs()[["run_id", "example_id", "truncated", "n_control"]]
    items = inputs.drop_duplicates(["run_id", "example_id"]).astype({"run_id": str, "example_id": str})
    items = items.assign(truncated=items["truncated"].astype(bool), control_tokens=items["n_control"].fillna(0) > 0)
    items = items.assign(undefined=_among(items, _undefined(values)), failed=False).drop(columns="n_control")
    broken = _keys(run.failures(), ["run_id", "example_id"])
    broken = broken[~_among(broken, items)]
    items = pd.concat([items, broken.assign(truncated=False, control_tokens=False, undefined=False, failed=True)])
    examples = run.examples()[["example_id", "suite", "split", "level_name"]].drop_duplicates("example_id").astype(str)
    grouped = items.merge(examples, on="example_id", how="left").groupby(list(GROUP), dropna=False, sort=False)
    counts = grouped[list(LOSSES)].sum().astype(int)
    return counts.assign(n_items=grouped.size()).reset_index()[[*GROUP, "n_items", *LOSSES]]


def unlike_losses(counts: pd.DataFrame) -> list[str]:
    """One sentence per run, suite and kind of loss in which groups lost unlike shares; from :func:`count_losses`.

    >>> counts = pd.DataFrame({"run_id": "r", "suite": "s", "split": "in", "level_name": ["te", "en"], "n_items": 18,
    ...     "truncated": [18, 0], "control_tokens": 0, "undefined": 0, "failed": 0})
    >>> unlike_losses(counts)
    ['s: truncated: te 18 of 18, en 0 of 18']
    """
    found: list[str] = []
    for (_, suite), groups in counts.groupby(["run_id", "suite"], sort=False):
        for loss in LOSSES:
            shares = groups[loss] / groups["n_items"]
            if shares.max() - shares.min() > UNLIKE:
                ordered = groups.assign(share=shares).sort_values("share", ascending=False, kind="stable")
                ends = ordered.iloc[[0, -1]]
                told = [f"{_label(row)} {row[loss]} of {row['n_items']}" for _, row in ends.iterrows()]
                found.append(f"{suite}: {loss.replace('_', ' ')}: {', '.join(told)}")
    return found


def _label(row: pd.Series) -> str:
    return str(row["level_name"] or row["split"])


def _undefined(values: pd.DataFrame | None) -> pd.DataFrame:
    keys = ["run_id", "example_id"]
    return pd.DataFrame(columns=keys) if values is None else _keys(values[values["value"].isna()], keys)


def _keys(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    return rows[list(keys)].astype(str).drop_duplicates()


def _among(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Whether each item is among others."""
    own, theirs = (pd.MultiIndex.from_frame(some[["run_id", "example_id"]]) for some in (rows, others))
    return pd.Series(own.isin(theirs), index=rows.index)
