"""What a report reads: one sweep, or several beside each other, as far as they can be read at all.

A report is wanted most when something is wrong with a sweep. Commits of another table schema, and measures that were
recorded in two versions, are left out and said, instead of refusing the whole directory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from analyses.runs import Run, with_states
from probes.errors import InputError
from probes.records import Records, open_run
from probes.records.cells import versions
from probes.records.states import States, StoredPlace
from probes.records.store import Commit, committed

FACTS = ["axis", "level", "level_name", "split", "cluster"]  # of an item, which two sweeps must agree on


class Opened(NamedTuple):
    """Tables to ask, and what had to be left out of them."""

    run: Run
    notes: list[str]


def open_sweeps(paths: Sequence[Path]) -> Opened:
    """Open sweep directories, several as one run.

    Raises:
        InputError: if one is no sweep directory, or two call different items by one name.
    """
    opened = [_open(path) for path in paths]
    notes = [note for _, own in opened for note in own]
    if len(opened) == 1:
        return Opened(opened[0].run, notes)
    names = [path.resolve().name for path in paths]
    labels = [name if Counter(names)[name] == 1 else f"{name} {place}" for place, name in enumerate(names, 1)]
    return Opened(SideBySide({label: own.run for label, own in zip(labels, opened, strict=True)}), notes)


def _open(path: Path) -> Opened:
    commits, notes = _readable(path)
    if not commits:
        return Opened(open_run(path), [])  # its message says what is wrong
    recorded = versions(entry for commit in commits for entry in commit.done)
    mixed = sorted(metric for metric, found in recorded.items() if len(found) > 1)
    records = Records(path, commits)
    if not mixed:
        return Opened(records, notes)
    for metric in mixed:
        found = " and ".join(sorted(recorded[metric]))
        notes.append(f"Left out: {metric}, recorded in versions {found}, which are different measures.")
    told_apart = WithoutMetrics(records, [metric for metric in recorded if metric not in mixed])
    return Opened(cast("Run", told_apart), notes)


def _readable(path: Path) -> tuple[tuple[Commit, ...], list[str]]:
    """The commits of a sweep; where some have another table schema, those that this version reads."""
    try:
        return committed(path), []
    except InputError:
        pass
    commits: list[Commit] = []
    notes: list[str] = []
    for file in sorted([*path.glob("commits/*.json"), *path.glob("*/commits/*.json")]):
        try:
            commits.append(Commit.from_json(file.read_text(encoding="utf-8"), file))
        except InputError as error:
            notes.append(f"Left out: {error}.")
    return tuple(commits), notes


class WithoutMetrics:
    """A sweep of which only some measures are read; of tokens none, because their rows hold all measures."""

    def __init__(self, records: Records, metrics: Sequence[str]) -> None:
        self._records = records
        self._metrics = list(metrics)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  every other table is the sweep's own
        return getattr(self._records, name)

    def measurements(self, *, suite: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of the measures that can be told apart."""
        return self._records.measurements(suite=suite, metric=self._metrics)

    def token_measurements(self, **_: object) -> pd.DataFrame:
        """No rows."""
        return pd.DataFrame(columns=["run_id", "example_id", "site", "layer", "unit", "basis", "token"])


class SideBySide:
    """Several sweeps as one: their runs keep apart, their items are shared, a model in two of them is named by both."""

    def __init__(self, sweeps: dict[str, Run]) -> None:
        self._sweeps = sweeps

    def runs(self) -> pd.DataFrame:
        """Runs of all sweeps; a model that two of them measured on one suite gets the sweep's name."""
        rows = self._joined(lambda run: run.runs())
        sweep = rows["run_id"].astype(str).str.partition("/")[0]
        models = rows["model"].astype(str)
        several = models.isin(set(models[rows.assign(model=models).duplicated(["model", "suite"], keep=False)]))
        return rows.assign(model=models.where(~several, models + " [" + sweep + "]"))

    def examples(self) -> pd.DataFrame:
        """Items of all sweeps, each once.

        Raises:
            InputError: if two sweeps know different items by one name.
        """
        rows = _concatenated([run.examples() for run in self._sweeps.values()])
        facts = rows[["example_id", *FACTS]].astype({name: object for name in FACTS if name != "level"})
        distinct = facts.drop_duplicates()
        twice = distinct["example_id"][distinct.duplicated("example_id")]
        if len(twice):
            raise InputError(
                f"{len(twice)} items have one name but other levels, splits or clusters in another sweep, "
                f"{twice.iloc[0]!r} first; report these sweeps apart, or name their suites differently"
            )
        return rows.drop_duplicates("example_id", ignore_index=True)

    def inputs(self) -> pd.DataFrame:
        """One row per item and run."""
        return self._joined(lambda run: run.inputs())

    def measurements(self, *, suite: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.measurements(suite=suite))

    def token_measurements(self, *, suite: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.token_measurements(suite=suite))

    def outcomes(self) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.outcomes())

    def populations(self) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.populations())

    def familiarity(self) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.familiarity())

    def familiarity_tokens(self) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.familiarity_tokens())

    def failures(self) -> pd.DataFrame:
        """Rows of all sweeps."""
        return self._joined(lambda run: run.failures())

    def stored_states(self) -> tuple[StoredPlace, ...]:
        """The places of which any of the sweeps keeps vectors."""
        keeping = [keeps for run in self._sweeps.values() if (keeps := with_states(run)) is not None]
        return tuple(sorted({stored for keeps in keeping for stored in keeps.stored_states()}))

    def states(
        self,
        site: str,
        *,
        layer: int | None = None,
        position: str | None = None,
        suite: Sequence[str] | None = None,
        model: Sequence[str] | None = None,
    ) -> States:
        """The vectors that the sweeps keep of these models at one place; runs and models are named as in :meth:`runs`.

        Raises:
            InputError: if no sweep keeps vectors of one of these models there, or their widths differ.
        """
        runs = self.runs()
        names = dict(zip(runs["run_id"].astype(str), runs["model"].astype(str), strict=True))
        wanted = {model} if isinstance(model, str) else None if model is None else set(model)
        found: list[States] = []
        missing: InputError | None = None
        for sweep, run in self._sweeps.items():
            keeps = with_states(run)
            try:
                own = keeps.states(site, layer=layer, position=position, suite=suite) if keeps else None
            except InputError as error:
                missing = error
                continue
            if own is not None:
                ids = sweep + "/" + own.keys["run_id"].astype(str)
                keys = own.keys.assign(run_id=ids, model=ids.map(names))
                rows = np.ones(len(keys), bool) if wanted is None else keys["model"].isin(wanted).to_numpy(bool)
                found.append(States(keys[rows], own.vectors[rows]))
        filled = [own for own in found if len(own.keys)]
        if len({own.vectors.shape[1] for own in filled}) != 1:
            raise missing or InputError(f"no states of one width at {site}; ask for one model")
        keys = pd.concat([own.keys.astype({"model": object}) for own in filled], ignore_index=True)
        order = keys.sort_values(["model", "suite", "example_id"], kind="stable").index.to_numpy()
        vectors = np.concatenate([own.vectors for own in filled])
        return States(keys.iloc[order].reset_index(drop=True), vectors[order])

    def width(self, run_id: str, site: str) -> int:
        """Coordinates at a site of one run."""
        sweep, _, own = run_id.partition("/")
        return self._sweeps[sweep].width(own, site)

    def _joined(self, read: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
        frames: list[pd.DataFrame] = []
        for name, run in self._sweeps.items():
            rows = read(run)
            own = rows["run_id"].astype("category")
            frames.append(
                rows.assign(run_id=own.cat.rename_categories([f"{name}/{run_id}" for run_id in own.cat.categories]))
            )
        return _concatenated(frames)


def _concatenated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames below each other, names staying categories, without a copy of every string."""
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return frames[0]
    columns = list(dict.fromkeys(name for frame in filled for name in frame.columns))
    joined: dict[str, Any] = {}
    for name in columns:
        parts = [frame[name] if name in frame else pd.Series(None, index=frame.index, dtype=object) for frame in filled]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            joined[name] = union_categoricals(parts)
        else:
            joined[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(joined)
