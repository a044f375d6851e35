"""Run what is left of a sweep and commit as it goes.

Rows are committed after the first batch and at least every :data:`FLUSH_SECONDS` from then on, whole batches at a time,
and sooner when they take much memory. A sweep directory that is complete is left as it is, to the byte.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from probes.lab.training_record import lineage
from probes.models.devices import in_words
from probes.records.read import Records, open_sweep
from probes.records.schema import SCHEMAS
from probes.records.sessions import MANIFEST, SPEC, manifest, sessions_in
from probes.records.store import SHARD, Writer, committed, read_commits
from probes.sweep.controlling import commit_controls
from probes.sweep.execution.executors import open_executor
from probes.sweep.execution.workers import Task
from probes.sweep.handover import Handover
from probes.sweep.interface import Options, Progress, Seconds, SweepResult
from probes.sweep.items import example_rows, unrecorded
from probes.sweep.measurement import Rows, together
from probes.sweep.planning.run_plan import RunPlan, Survey
from probes.sweep.planning.surveys import as_begun, survey
from probes.sweep.primary_means import PrimaryMeans
from probes.sweep.provenance import package_versions, session
from probes.sweep.spec import SweepSpec, load_spec, parse_spec

FLUSH_SECONDS = 30.0
MOST_PENDING_BYTES: Final = 8 << 20
CONTROL_FACTS: Final = ("n_cells", "left_out", "budget", "seconds", "skipped")


def run_sweep(
    spec: SweepSpec | Mapping[str, Any] | str | Path,
    directory: str | Path,
    options: Options | None = None,
    *,
    on_survey: Callable[[Survey], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Run what is left of a sweep; run it again and nothing more is done.

    Args:
        spec: what to measure: a spec, what its file would say as a dict (paths relative to the working directory), or
            the path of its file.
        directory: the sweep directory, made if it is not there.
        options: device, batch size, retries.
        on_survey: called with the plan, before anything is measured.
        on_progress: called after every batch, and after every cell of the controls.
        should_stop: asked after every batch, and every second or so of the controls; True ends the sweep with
            everything so far committed.

    Raises:
        InputError: if the spec, the directory or the disk cannot be used.
    """
    options = options or Options()
    directory = Path(directory)
    spec = _read(spec)
    began = time.perf_counter()
    spec = as_begun(spec, directory)
    found = survey(spec, directory, options)
    plans, model = list(found.plans), found.model
    on_survey(found)
    surveyed = time.perf_counter()
    loaded = (spec.models[0], model) if model else None
    stored = Records(directory, committed(directory))
    folder = directory if options.shard is None else directory / f"{SHARD}{options.shard[0]}"
    finished = _finished(stored if options.shard is None else Records(folder, read_commits(folder)), options)

    def about() -> dict[str, str]:
        calls = [*sessions_in(folder), session(spec, plans, options)]
        return {SPEC: spec.to_yaml(), MANIFEST: manifest(calls)}

    n_items, n_settled, n_measured, interrupted = sum(plan.n_left() for plan in plans), 0, 0, False
    spent = np.zeros(2)  # seconds of encoding, and of forward passes with metrics
    lost = np.zeros(4, dtype=np.int64)
    handover = Handover(spec, plans) if options.in_process else None
    with open_executor(spec, options, loaded, handover) as execute, Writer.open(folder, about) as writer:
        _open_runs(spec, writer, stored, plans)
        pending = Pending(writer)
        for number, plan in enumerate(plans):
            if not plan.batches:  # a sweep can die between its last batch and saying so
                if plan.run.run_id not in finished:
                    writer.commit({"runs": run_row(spec, plan, measured_status(plan, options))})
                continue
            before, means = spent.sum(), PrimaryMeans(spec, plan.run.label)
            for rows in execute(tasks(plan)):
                pending.add(rows)
                n_settled += rows.n_items()
                spent += (rows.encode_seconds, rows.model_seconds)
                n_measured += rows.n_items(failed=False)
                lost += _losses(rows)
                on_progress(Progress(n_settled, n_items, plan.run.label, values=means.add(rows.tables)))
                interrupted = should_stop()
                if interrupted:
                    break
            pending.flush()
            if interrupted:
                break
            plans[number] = plan.measured_for(float(spent.sum() - before))
            writer.commit({"runs": run_row(spec, plans[number], measured_status(plan, options))})
        measured = time.perf_counter()
        if not interrupted and options.shard is None:
            interrupted = commit_controls(
                spec, plans, writer, model, partial(run_row, spec), on_progress, should_stop, handover
            )
            _tell_controls(writer, plans)
        controls_seconds = time.perf_counter() - measured
    failures = open_sweep(directory).failures()
    n_filtered = int((failures["stage"] == "filter").sum())
    seconds = Seconds(
        survey=surveyed - began,
        encode=float(spent[0]),
        model=float(spent[1]),
        controls=controls_seconds,
        store=writer.seconds,
        total=time.perf_counter() - began,
    )
    return SweepResult(
        directory, n_measured, len(failures) - n_filtered, n_filtered, interrupted, seconds, *lost.tolist()
    )


def _finished(records: Records, options: Options) -> set[str]:
    """Runs of which everything is measured; to a shard the others' shares are no business of its own."""
    runs = records.runs()
    settled = ["measured", "done"] if options.shard is None else ["measured", "done", "incomplete"]
    return set(runs.loc[runs["status"].isin(settled), "run_id"])


def _losses(rows: Rows) -> Int64[np.ndarray, " 4"]:
    """Count the items that were truncated and that spell out special tokens; the values, and the NaN among them."""
    inputs: Any = rows.tables.get("inputs")
    values: Any = rows.tables.get("measurements")
    cut = control = recorded = undefined = 0
    if inputs is not None:
        cut = np.count_nonzero(inputs.column("truncated").to_numpy())
        control = np.count_nonzero(inputs.column("n_control").to_numpy() > 0)
    if values is not None:
        shown = values.column("value").to_numpy()
        recorded, undefined = len(shown), np.count_nonzero(np.isnan(shown))
    return np.array([cut, control, recorded, undefined], dtype=np.int64)


def _read(spec: SweepSpec | Mapping[str, Any] | str | Path) -> SweepSpec:
    if isinstance(spec, SweepSpec):
        return spec
    return load_spec(Path(spec)) if isinstance(spec, str | Path) else parse_spec(spec, folder=Path.cwd())


class Pending:
    """Rows that wait for their commit: few enough for memory to stay flat, never for long."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._rows: list[Rows] = []
        self._n_bytes = 0
        self._flushed = float("-inf")  # the first batch is committed at once

    def add(self, rows: Rows) -> None:
        """Take the rows of a batch, and commit all there are when it is time."""
        if not rows.done:
            return
        self._rows.append(rows)
        self._n_bytes += rows.n_bytes()
        if self._n_bytes >= MOST_PENDING_BYTES or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit what waits."""
        if self._rows:
            rows = together(self._rows)
            self._writer.commit(rows.tables, rows.done)
        self._rows, self._n_bytes, self._flushed = [], 0, time.monotonic()


def tasks(plan: RunPlan) -> Iterator[Task]:
    """The batches of a plan with their items, read from disk one batch at a time."""
    for batch in plan.batches:
        yield Task(plan.run, tuple(plan.items[int(index)] for index in batch.items), batch.block)


def _open_runs(spec: SweepSpec, writer: Writer, stored: Records, plans: Sequence[RunPlan]) -> None:
    """Record what is new before the first batch: the runs, the items, and where items lie now.

    A corrected axis or level changes no measurement. The newest row of a run and of an item says what holds.
    """
    if not (writer.directory / MANIFEST).exists():  # of a sweep whose shards did everything
        writer.introduce()
    recorded = stored.runs().set_index("run_id")["status"]
    moved = {
        plan.run.run_id
        for plan in plans
        if plan.run.run_id in recorded and stored.facts(plan.run.run_id).axis != plan.facts.axis
    }
    shelved: set[str] = set()
    for plan in plans:
        run_id = plan.run.run_id
        if plan.suite.name not in shelved:
            shelved.add(plan.suite.name)
            for items in unrecorded(stored, plan.suite, plan.items):
                writer.commit({"examples": example_rows(plan.suite, items, no_text=spec.no_text)})
        if run_id not in recorded or plan.batches:
            writer.commit({"runs": run_row(spec, plan, "running")})
        elif run_id in moved:
            writer.commit({"runs": run_row(spec, plan, "done" if recorded[run_id] == "done" else "running")})


def _tell_controls(writer: Writer, plans: Sequence[RunPlan]) -> None:
    """Add what the controls came to to this call's entry in the manifest."""
    if not writer.has_written:
        return
    records = Records(writer.directory, committed(writer.directory))
    recorded = set(records.runs()["run_id"])
    found: dict[str, Any] = {
        plan.run.label: {name: own[name] for name in CONTROL_FACTS if name in own}
        for plan in plans
        if plan.run.run_id in recorded and (own := records.facts(plan.run.run_id).controls)
    }
    *earlier, last = sessions_in(writer.directory)
    if found:
        writer.write(MANIFEST, manifest([*earlier, {**last, "controls": found}]))


def measured_status(plan: RunPlan, options: Options) -> str:
    """Status of a run when everything is measured; a shard leaves the controls to a call without one."""
    return "measured" if plan.control_cells and options.shard is None else "done"


def run_row(spec: SweepSpec, plan: RunPlan, status: str) -> pa.Table:
    """The row of ``runs`` that says what a run is and how far: ``running``, ``measured`` (controls wait), ``done``."""
    origin = lineage(plan.run.entry.name, plan.run.entry.revision)
    row = {
        "run_id": plan.run.run_id,
        "model": plan.run.entry.name,
        "revision": plan.run.entry.revision,
        "step": origin.step,
        "model_seed": origin.seed,
        "dtype": plan.identity.dtype,
        "device": in_words(plan.run.entry.device_map or plan.device),
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "spec_json": plan.facts.to_json(),
        "versions": json.dumps(package_versions()),
        "seed": spec.seed,
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "status": status,
    }
    return pa.Table.from_pylist([row], schema=SCHEMAS["runs"])
