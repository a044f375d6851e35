"""Several sweep directories read as one, in which nothing is counted twice.

A run and an item are called the same wherever they are recorded: a run by a hash of the model and of how it is asked,
an item by its suite and its own name. So two sweeps of one model are one sweep in two places, as shards are: a number
that both hold is taken from the first, and what only one holds is added. Controls of a run depend on which items were
sampled for them, and are taken whole from the first sweep that has them. One name for two different items is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool

from probes.errors import InputError
from probes.records.filters import Filter, Wanted
from probes.records.read import Records, open_sweep
from probes.records.schema import Table
from probes.records.stored_states import States
from probes.vocabulary.names import RAW

VECTOR: Final = ("run_id", "example_id", "site", "layer", "unit", "basis")
KEYS: Final[dict[Table, tuple[str, ...]]] = {
    "examples": ("example_id",),
    "inputs": ("run_id", "example_id"),
    "measurements": (*VECTOR, "position", "metric"),
    "token_measurements": (*VECTOR, "token"),
    "populations": ("run_id", "group", "site", "layer", "unit", "basis", "position", "metric"),
    "outcomes": ("run_id", "example_id", "name"),
    "next_tokens": ("run_id", "example_id"),
    "familiarity": ("run_id", "example_id", "measure", "corpus"),
    "familiarity_tokens": ("run_id", "example_id", "token", "measure", "corpus"),
}
ASKED: Final = ("text", "target")
FACTS: Final = ("axis", "level", "level_name", "split", "cluster")  # of an item, which sweeps must agree on


def open_run(directory: str | Path, *more: str | Path) -> Records:
    """Open a sweep directory for reading, or several as one.

    A sweep that is still being written can be read as far as it is committed: everything that is read of it belongs to
    the moment at which it was opened. Of several sweeps, a number that more than one holds is there once.

    Raises:
        InputError: if there is no sweep there, or two sweeps call different items by one name.
    """
    paths = list(dict.fromkeys(map(Path, (directory, *more))))
    sweeps = [open_sweep(path) for path in paths]
    return sweeps[0] if len(sweeps) == 1 else Union(sweeps)


class Union(Records):
    """Several sweeps as one; see the module.

    Args:
        sweeps: the sweeps, the one that is believed first where two hold the same.

    Raises:
        InputError: if two of them call different items by one name.
    """

    def __init__(self, sweeps: Sequence[Records]) -> None:
        commits = [commit for sweep in sweeps for commit in sweep.commits]
        super().__init__(Path(" + ".join(str(sweep.directory) for sweep in sweeps)), commits)
        self.sweeps = tuple(sweeps)
        runs = pd.concat([sweep.runs()[["run_id"]] for sweep in sweeps], ignore_index=True)
        self._shared = frozenset(runs.loc[runs.duplicated(), "run_id"].astype(str))
        _refuse_other_items(sweeps)

    def runs(self) -> pd.DataFrame:
        """One row per model x suite, the newest; ``done`` when every sweep that has it is."""
        rows = pd.concat([sweep.runs() for sweep in self.sweeps], ignore_index=True)
        rows = rows.sort_values("started", kind="stable")
        unfinished = rows.loc[rows["status"] != "done", ["run_id", "status"]]
        still = dict(zip(unfinished["run_id"].astype(str), unfinished["status"].astype(str), strict=True))
        last = rows.drop_duplicates("run_id", keep="last", ignore_index=True)
        return last.assign(status=[still.get(run_id, "done") for run_id in last["run_id"].astype(str)])

    def states_in_parts(
        self,
        site: str,
        *,
        layer: int | None = None,
        position: str | None = None,
        suite: Wanted = None,
        model: Wanted = None,
    ) -> Iterator[States]:
        """The vectors that any of the sweeps keeps at one place, each once; see :meth:`Records.states_in_parts`."""
        seen: set[tuple[str, str]] = set()
        for part in super().states_in_parts(site, layer=layer, position=position, suite=suite, model=model):
            items = list(zip(part.keys["run_id"], part.keys["example_id"], strict=True))
            fresh = np.array([item not in seen for item in items])
            seen.update(items)
            if fresh.any():
                yield States(part.keys[fresh].reset_index(drop=True), part.vectors[fresh])

    def failures(self) -> pd.DataFrame:
        """One row per item that none of the sweeps could measure, and why."""
        rows = pd.concat([sweep.failures() for sweep in self.sweeps], ignore_index=True)
        settled = {
            (entry.run_id, name)
            for commit in self.commits
            for entry in commit.done
            if not entry.failed and entry.run_id in self._shared
            for name in entry.example_ids
        }
        items = zip(rows["run_id"].astype(str), rows["example_id"].astype(str), strict=True)
        rows = rows[np.array([item not in settled for item in items], dtype=bool)]
        return rows.drop_duplicates(["run_id", "example_id"], ignore_index=True)

    def width(self, run_id: str, site: str) -> int:
        """Number of coordinates of the vectors at a site, as whichever sweep measured it there says.

        Raises:
            InputError: if none of them did.
        """
        refused: InputError | None = None
        for sweep in self.sweeps:
            try:
                return sweep.width(run_id, site)
            except InputError as error:
                refused = error
        raise refused or InputError(f"no sweep has the run {run_id!r}")

    def rows(self, table: Table, asked: Filter) -> pa.Table:
        """Rows of a table, each once."""
        parts = [sweep.rows(table, asked) for sweep in self.sweeps]
        rows = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
        keys = KEYS.get(table)
        if keys is None or (not self._shared and table != "examples"):
            return rows
        sweep = np.repeat(np.arange(len(parts)), [part.num_rows for part in parts])
        return self._once(table, rows, keys, sweep)

    def _once(self, table: Table, rows: pa.Table, keys: Sequence[str], sweep: np.ndarray) -> pa.Table:
        named: Any = rows.select(list(keys)).to_pandas()
        shared = np.ones(len(named), bool) if table == "examples" else named["run_id"].isin(self._shared).to_numpy()
        if table == "token_measurements":
            return _merged(rows, keys, shared)
        kept = ~shared
        if table == "examples":  # of one sweep the newest row holds, of several the first sweep
            newest = ~named.assign(sweep=sweep).duplicated(keep="last").to_numpy()
            kept[newest] = ~named[newest].duplicated().to_numpy()
        else:
            kept[shared] = ~named[shared].duplicated().to_numpy()
        controls = _controls(table, named) & shared
        if controls.any():
            of_run = pd.DataFrame({"run": named["run_id"].astype(str)[controls], "sweep": sweep[controls]})
            first: Any = of_run.groupby("run")["sweep"].transform("min")
            kept[controls] &= first.to_numpy() == sweep[controls]
        mask: Any = pa.array(kept)
        return rows.filter(mask)


def _controls(table: Table, named: pd.DataFrame) -> Bool[np.ndarray, " rows"]:
    """Rows that the controls of a run wrote."""
    if table == "populations":
        return np.ones(len(named), dtype=bool)
    if table == "measurements":
        return (named["basis"] != RAW).to_numpy(dtype=bool)
    return np.zeros(len(named), dtype=bool)


def _merged(rows: pa.Table, keys: Sequence[str], shared: Bool[np.ndarray, " rows"]) -> pa.Table:
    """Rows of tokens, each once: a metric that one sweep has stands beside those of another."""
    frame: pd.DataFrame = rows.to_pandas()
    once = frame[shared].groupby(list(keys), observed=True, sort=False).first().reset_index()
    both = pd.concat([frame[~shared], once[frame.columns]], ignore_index=True)
    return pa.Table.from_pandas(both, schema=rows.schema, preserve_index=False)


def _refuse_other_items(sweeps: Sequence[Records]) -> None:
    """Refuse items that two sweeps call by one name, though they ask or say something else.

    A suite that is made for each model (padded to equal numbers of its tokens, say) names the model in its version: its
    items differ by design.
    """
    first = sweeps[0].examples()
    own_to_models = _made_per_model(sweeps)
    for number, sweep in enumerate(sweeps[1:], 1):
        own = sweep.examples()
        both = first.merge(own, on="example_id", suffixes=("", "_other"))
        both = both[~both["suite"].astype(str).isin(own_to_models)]
        for column in (*ASKED, *FACTS):
            one, other = both[column].astype(object), both[f"{column}_other"].astype(object)
            differs = (one != other) & one.notna() & other.notna()
            if differs.any():
                names = both.loc[differs, "example_id"]
                what = "ask something else" if column in ASKED else f"have another {column}"
                raise InputError(
                    f"{len(names)} items of one name {what} in {sweep.directory}, {names.iloc[0]!r} first; "
                    "report these sweeps apart, or name their suites differently"
                )
        if number < len(sweeps) - 1:
            first = pd.concat([first, own]).drop_duplicates("example_id")


def _made_per_model(sweeps: Sequence[Records]) -> set[str]:
    """Suites of which the sweeps hold several versions that differ only behind a ``+``."""
    runs = pd.concat([sweep.runs()[["suite", "suite_version"]] for sweep in sweeps], ignore_index=True)
    versions = runs.dropna().astype(str).drop_duplicates()
    parts = versions["suite_version"].str.partition("+")
    groups = versions.assign(own=parts[0], added=parts[2]).groupby("suite")
    return {str(suite) for suite, group in groups if len(set(group["own"])) == 1 < len(set(group["added"]))}
