"""The last stage of a run: its controls, cell by cell.

A cell (`probes.controls.control_cells`) is named by itself and by a hash of all that it depends on: the reservoir, the
positions, the metrics, the seed, the controls asked for. Finished cells are committed after the first and then every
:data:`FLUSH_SECONDS`, so that a process that is stopped or dies goes on where it was; nothing that is committed is
computed twice. Other sites add cells; more items or other metrics make another reservoir or other names, and then the
controls are done over, in place of the old.

Controls have a budget: at most so many times what measuring the run took. Cells are done in a fixed order, what matters
most first; those that found no time are named in the run's row as left out, until a larger budget is asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

from probes.controls.member_states import States
from probes.controls.request import Ask, Controls, together
from probes.controls.reservoir import POSITIONS, Member, reference_groups, reservoir
from probes.controls.stage import Stage, open_stage
from probes.models.loading import LoadedModel
from probes.records.cells import Block, Done
from probes.records.read import Records
from probes.records.schema import Table
from probes.records.store import Commit, Writer, committed, remove_replaced
from probes.sweep.handover import Handover
from probes.sweep.inputs import open_model, read_prompt
from probes.sweep.interface import Progress
from probes.sweep.planning.run_plan import RunPlan
from probes.sweep.spec import SweepSpec
from probes.vocabulary import names
from sparsity import MetricSpec
from sparsity.population import POPULATION

KEY_DIGITS: Final = 16
FLUSH_SECONDS = 30.0
LEAST_SECONDS: Final = 60.0  # of a budget: nobody waits for less, and the first cells should not hang on a timer
Status = Literal["measured", "done"]
RunRow = Callable[[RunPlan, Status], pa.Table]


class Owed(NamedTuple):
    """The controls that a run lacks.

    Attributes:
        plan: the run.
        members: its reservoir.
        key: stands before the names of its cells in commits.
        cells: those that are left, in the order of work.
        outdated: commits of controls that they take the place of.
        facts: what the run's row remembers of the cells that are done already.
    """

    plan: RunPlan
    members: tuple[Member, ...]
    key: str
    cells: tuple[str, ...]
    outdated: tuple[Commit, ...]
    facts: dict[str, Any]


class _StoppedError(Exception):
    """The sweep was told to stop; the cell in progress is dropped."""


def commit_controls(
    spec: SweepSpec,
    plans: Sequence[RunPlan],
    writer: Writer,
    model: LoadedModel | None,
    run_row: RunRow,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    handover: Handover | None = None,
) -> bool:
    """Do the controls that are missing, run by run.

    Args:
        spec: the sweep.
        plans: its runs, all measured.
        writer: of the sweep directory.
        model: the model of all runs, if it is loaded already.
        run_row: the row of ``runs`` for a plan and a status.
        on_progress: called after every cell.
        should_stop: asked every second or so; True ends the stage with every finished cell committed.
        handover: the states that were kept while the runs were measured.

    Returns:
        Whether it was stopped.
    """
    loaded: tuple[object, LoadedModel] | None = None if model is None else (spec.models[0], model)
    rows = Records(writer.directory, committed(writer.directory)).runs()
    waiting = set(rows.loc[rows["status"] == "measured", "run_id"])
    for plan in plans:
        owed = owed_of(spec, plan, writer.directory)
        if owed is None:
            if plan.run.run_id in waiting:
                writer.commit({"runs": run_row(plan, "done")})
            continue
        if loaded is None or loaded[0] != plan.run.entry:
            loaded = None  # the old weights go before the new ones come
            loaded = (plan.run.entry, open_model(plan.run.entry, plan.device))
        states = handover.take(plan.run.run_id, owed.members) if handover else None
        if _Work(spec, owed, writer, run_row, states).run(loaded[1], on_progress, should_stop):
            return True
    return False


def owed_of(spec: SweepSpec, plan: RunPlan, directory: Path) -> Owed | None:
    """The controls that a run lacks; None if it has them, was not asked for any, or has no time left for them."""
    if not plan.control_cells:
        return None
    commits = committed(directory)
    run_id = plan.run.run_id
    settled = {
        name: entry.failed
        for commit in commits
        for entry in commit.done
        if entry.run_id == run_id
        for name in entry.example_ids
    }
    members = reservoir(plan.suite.name, plan.items, spec.seed, lambda name: settled.get(name) is False)
    if not members:
        return None
    key = _key(spec, plan, members)
    own = (entry for commit in commits for entry in commit.done if entry.run_id == run_id)
    done = {name for entry in own for name in entry.block.outcomes}
    left = tuple(cell for cell in plan.control_cells if f"{key} {cell}" not in done)
    facts = dict(plan.facts.controls) if plan.facts.controls.get("key") == key else {}
    if not left or (
        set(left) <= set(facts.get("left_out", ())) and not _is_larger(spec.controls_budget, facts["budget"])
    ):
        return None
    earlier = [commit for commit in commits if any(_is_outdated(entry, run_id, key) for entry in commit.done)]
    if any(not all(_is_outdated(entry, run_id, key) for entry in commit.done) for commit in earlier):
        warnings.warn(
            f"{plan.run.label}: its controls were compacted together with its measurements and stay as they are, "
            "though items, sites or metrics have been added since; sweep into a new directory for new ones",
            stacklevel=2,
        )
        return None
    return Owed(plan, members, key, left, tuple(earlier), facts)


def budget_seconds(spec: SweepSpec, measuring: float) -> float:
    """The most that the controls of a run may take, if measuring it took so long; infinite without a budget."""
    budget = spec.controls_budget
    return math.inf if budget == "unlimited" else max(budget * measuring, LEAST_SECONDS)


def _key(spec: SweepSpec, plan: RunPlan, members: Sequence[Member]) -> str:
    depends_on = [
        names.VERSION,
        spec.seed,
        [position for position in spec.positions if position in POSITIONS],
        list(spec.metrics),
        sorted(spec.control_names()),
        [list(one[:3]) for one in members],
        list(reference_groups(members, plan.suite.axis)),
        *([] if spec.population_names() is None else [spec.population_names()]),
        *([list(spec.density)] if spec.density else []),
        *([spec.generate.model_dump()] if spec.generate else []),
        *([raised] if (raised := {name: one.version for name, one in POPULATION.items() if one.version > 1}) else []),
    ]
    digest = hashlib.sha256(json.dumps(depends_on, ensure_ascii=False).encode()).hexdigest()
    return f"controls@{names.VERSION}:{digest[:KEY_DIGITS]}"


def _is_outdated(entry: Done, run_id: str, key: str) -> bool:
    return entry.run_id == run_id and any(
        name.startswith("controls@") and not name.startswith(f"{key} ") for name in entry.block.outcomes
    )


def _is_larger(asked: float | Literal["unlimited"], had: float | Literal["unlimited"]) -> bool:
    one, other = (math.inf if budget == "unlimited" else budget for budget in (asked, had))
    return one > other


class _Work:
    """The controls of one run in progress."""

    def __init__(
        self, spec: SweepSpec, owed: Owed, writer: Writer, run_row: RunRow, states: States | None = None
    ) -> None:
        self.spec, self.owed, self.writer, self.run_row = spec, owed, writer, run_row
        self.states = states
        self.budget = budget_seconds(spec, owed.plan.facts.measure_seconds)
        self.facts = dict(owed.facts)
        self.outdated = owed.outdated
        self._began = self._flushed = time.monotonic()
        self._spent = float(owed.facts.get("seconds", 0.0))
        self._found: dict[str, Controls] = {}
        self._done: set[str] = set()

    def run(self, model: LoadedModel, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]) -> bool:
        """Do what is left; True if it was stopped."""
        cells, label = self.owed.cells, self.owed.plan.run.label

        def pause() -> None:
            if should_stop():
                raise _StoppedError

        left_out: tuple[str, ...] = ()
        try:
            at_most = max(self.budget - self._spent, 0.0)
            left_out = self._cells(
                model, pause, lambda n: on_progress(Progress(n, len(cells), label, "control cells", at_most))
            )
        except _StoppedError:
            if self._found:
                self._commit("measured")
            return True
        except Exception as error:  # noqa: BLE001  a model that controls cannot cope with must not cost its measurements
            reason = _reason(error)
            warnings.warn(f"no controls for {label}: {reason}", stacklevel=2)
            self._found |= {cell: Controls({}, {"everything": reason}, {}) for cell in cells if cell not in self._done}
        self._commit("done", left_out)
        if left_out:
            warnings.warn(
                f"{label}: {len(left_out)} of {len(self.owed.plan.control_cells)} control cells are left out, because "
                f"controls may take {self.budget:.0f} s (controls_budget): {', '.join(left_out[:4])} ...; for all of "
                "them run again with --set controls_budget=unlimited",
                stacklevel=2,
            )
        return False

    def _cells(self, model: LoadedModel, pause: Callable[[], None], tell: Callable[[int], None]) -> tuple[str, ...]:
        """Do cell after cell while there is time, one at least once the reservoir is read; those that found none."""
        tell(0)
        ask, cells = self._ask(model), self.owed.cells
        self._remember(ask, reference_groups(ask.members, ask.axis))
        if self.seconds() > self.budget:
            return cells
        with open_stage(model, ask, pause) as stage:
            stage.read()
            longest = 0.0
            for number, cell in enumerate(cells):
                pause()
                at = time.monotonic()
                if number and self.seconds() + longest > self.budget:
                    return cells[number:]
                self._found[cell] = self._cell(stage, cell)
                self._done.add(cell)
                longest = max(longest, time.monotonic() - at)
                if not number or time.monotonic() - self._flushed >= FLUSH_SECONDS:
                    self._commit("measured")
                tell(number + 1)
        return ()

    def seconds(self) -> float:
        """Time that the controls of this run have taken so far, in this call and earlier ones."""
        return self._spent + time.monotonic() - self._began

    def _cell(self, stage: Stage, cell: str) -> Controls:
        try:
            return stage.cell(cell)
        except (_StoppedError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  one cell must not cost the others
            reason = _reason(error)
            warnings.warn(f"no controls at {cell} for {self.owed.plan.run.label}: {reason}", stacklevel=2)
            return Controls({}, {cell: reason}, {})

    def _remember(self, ask: Ask, reference: Sequence[str]) -> None:
        groups = [one.group for one in ask.members]
        self.facts |= {
            "version": names.VERSION,
            "key": self.owed.key,
            "reference": list(reference),
            "groups": {group: groups.count(group) for group in dict.fromkeys(groups)},
        }

    def _commit(self, status: Status, left_out: Sequence[str] = ()) -> None:
        """Make the cells found so far true, with the run's row that tells about them."""
        found = together(list(self._found.values()))
        self.facts |= {
            "skipped": self.facts.get("skipped", {}) | found.skipped,
            "pinned": self.facts.get("pinned", {}) | found.pinned,
            "n_cells": len(self.owed.plan.control_cells),
            "left_out": list(left_out),
            "budget": self.spec.controls_budget,
            "seconds": round(self.seconds(), 3),
        }
        plan, key = self.owed.plan, self.owed.key
        row = self.run_row(replace(plan, facts=replace(plan.facts, controls=dict(self.facts))), status)
        block = Block(outcomes=tuple(f"{key} {cell}" for cell in self._found))
        done = Done(plan.run.run_id, tuple(one.example_id for one in self.owed.members), block)
        tables: dict[Table, pa.Table] = {"runs": row, **found.tables}
        self.writer.replace(self.outdated, tables.items(), [done] if self._found else [])
        if self.outdated:
            remove_replaced(self.writer.directory)
        self.outdated, self._found, self._flushed = (), {}, time.monotonic()

    def _ask(self, model: LoadedModel) -> Ask:
        owed, plan = self.owed, self.owed.plan
        spec = self.spec.for_model(plan.run.entry)
        wanted = {one.example_id for one in owed.members}
        items = {item.example_id: item for item in plan.items if item.example_id in wanted}
        place = {one.example_id: at for at, one in enumerate(owed.members)}
        return Ask(
            run_id=plan.run.run_id,
            members=owed.members,
            prompts=[read_prompt(spec, model, items[one.example_id]) for one in owed.members],
            axis=plan.suite.axis,
            suite=plan.suite.name,
            sites=plan.run.sites,
            positions=[position for position in spec.positions if position in POSITIONS],
            metrics=[MetricSpec.parse(metric) for metric in spec.metrics],
            seed=spec.seed,
            controls=spec.control_names(),
            batches=[[place[name] for name in batch] for batch in plan.member_batches(list(place))],
            states=self.states,
            populations=spec.population_names(),
            density=spec.density,
            generate=None if spec.generate is None else names.Generate(**spec.generate.model_dump()),
        )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
