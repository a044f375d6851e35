"""The last stage of a run: its controls, in one commit with the cell that says so.

Whether they are done is one cell per run, named by a hash of all that they depend on: the reservoir, the sites, the
positions, the metrics, the seed. The same sweep again finds that cell and does nothing; a sweep with more items, sites
or metrics finds another one and does the controls over, in place of the old. A process that dies in between has
committed nothing of them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from probes.capture.models import LoadedModel
from probes.controls import names
from probes.controls.reservoir import POSITIONS, Member, draw, member, reference_groups
from probes.controls.stage import Ask, Controls, control
from probes.records.cells import Block, Done
from probes.records.schema import Table
from probes.records.store import Commit, Writer, committed, remove_replaced
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, open_model, read_prompt
from sparsity import MetricSpec

KEY_DIGITS: Final = 16


class Owed(NamedTuple):
    """The controls that a run lacks.

    Attributes:
        plan: the run.
        members: its reservoir.
        cell: what their commit settles.
        outdated: commits of controls that they take the place of.
    """

    plan: RunPlan
    members: tuple[Member, ...]
    cell: str
    outdated: tuple[Commit, ...]


def commit_controls(
    spec: SweepSpec,
    plans: Sequence[RunPlan],
    writer: Writer,
    model: LoadedModel | None,
    run_row: Callable[[RunPlan], pa.Table],
) -> None:
    """Do the controls that are missing, run by run.

    Args:
        spec: the sweep.
        plans: its runs, all measured.
        writer: of the sweep directory.
        model: the model of all runs, if it is loaded already.
        run_row: the row of ``runs`` for a plan.
    """
    loaded: tuple[object, LoadedModel] | None = None if model is None else (spec.models[0], model)
    for plan in plans:
        owed = owed_of(spec, plan, writer.directory)
        if owed is None:
            continue
        if loaded is None or loaded[0] != plan.run.entry:
            loaded = None  # the old weights go before the new ones come
            loaded = (plan.run.entry, open_model(plan.run.entry, plan.device))
        found = _controlled(spec, owed, loaded[1])
        row = run_row(replace(plan, facts=plan.facts | {"controls": found.facts}))
        done = Done(plan.run.run_id, tuple(one.example_id for one in owed.members), Block(outcomes=(owed.cell,)))
        tables: dict[Table, pa.Table] = {"runs": row, **found.tables}
        writer.replace(owed.outdated, tables.items(), [done])
        remove_replaced(writer.directory)


def owed_of(spec: SweepSpec, plan: RunPlan, directory: Path) -> Owed | None:
    """The controls that a run lacks; None if it has them, or was not asked for any."""
    positions = [position for position in spec.positions if position in POSITIONS]
    if spec.controls == "none" or not positions:
        return None
    commits = committed(directory)
    settled = {
        name: entry.failed
        for commit in commits
        for entry in commit.done
        if entry.run_id == plan.run.run_id
        for name in entry.example_ids
    }
    items = (item for item in plan.items if settled.get(item.example_id) is False)
    members = draw((member(plan.suite.name, *item) for item in items), spec.seed)
    if not members:
        return None
    depends_on = [
        names.VERSION,
        spec.seed,
        sorted(map(str, plan.run.sites)),
        positions,
        list(spec.metrics),
        [list(one[:3]) for one in members],
        list(reference_groups(members, plan.suite.axis)),
    ]
    digest = hashlib.sha256(json.dumps(depends_on, ensure_ascii=False).encode()).hexdigest()
    cell = f"controls@{names.VERSION}:{digest[:KEY_DIGITS]}"
    earlier = [commit for commit in commits if any(_is_controls(entry, plan.run.run_id) for entry in commit.done)]
    if any(cell in entry.block.outcomes for commit in earlier for entry in commit.done):
        return None
    if any(not all(_is_controls(entry, plan.run.run_id) for entry in commit.done) for commit in earlier):
        warnings.warn(
            f"{plan.run.label}: its controls were compacted together with its measurements and stay as they are, "
            "though items, sites or metrics have been added since; sweep into a new directory for new ones",
            stacklevel=2,
        )
        return None
    return Owed(plan, tuple(members), cell, tuple(earlier))


def _is_controls(entry: Done, run_id: str) -> bool:
    return entry.run_id == run_id and any(name.startswith("controls@") for name in entry.block.outcomes)


def _controlled(spec: SweepSpec, owed: Owed, model: LoadedModel) -> Controls:
    """The controls, or why there are none: what was measured stands either way."""
    plan = owed.plan
    wanted = {one.example_id for one in owed.members}
    items = {item.example_id: item for item in plan.items if item.example_id in wanted}
    try:
        ask = Ask(
            run_id=plan.run.run_id,
            members=owed.members,
            prompts=[read_prompt(spec, model, items[one.example_id]) for one in owed.members],
            axis=plan.suite.axis,
            sites=plan.run.sites,
            positions=[position for position in spec.positions if position in POSITIONS],
            metrics=[MetricSpec.parse(metric) for metric in spec.metrics],
            seed=spec.seed,
        )
        return control(model, ask)
    except Exception as error:  # noqa: BLE001  a model that controls cannot cope with must not cost its measurements
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        warnings.warn(f"no controls for {plan.run.label}: {reason}", stacklevel=2)
        return Controls({}, {"version": names.VERSION, "skipped": {"everything": reason}})
