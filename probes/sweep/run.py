"""Run what is left of a sweep and commit as it goes.

Rows are committed after the first batch and at least every :data:`FLUSH_SECONDS` from then on, whole batches at a time.
A sweep directory that is complete is left as it is, to the byte.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from probes.records.cells import Done
from probes.records.read import Records, open_run
from probes.records.schema import SCHEMAS, Table
from probes.records.store import Writer, read_commits, write_atomically
from probes.sweep.executors import run_batches
from probes.sweep.interface import Options, Progress, SweepResult
from probes.sweep.items import example_rows, failure_rows
from probes.sweep.measurement import Rows, together
from probes.sweep.provenance import manifest, package_versions
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, survey

FLUSH_SECONDS = 30.0


def run_sweep(
    spec: SweepSpec,
    directory: Path,
    options: Options | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Run what is left of a sweep; run it again and nothing more is done.

    Args:
        spec: what to measure.
        directory: the sweep directory, made if it is not there.
        options: device, batch size, retries.
        on_progress: called after every batch.
        should_stop: asked after every batch; True ends the sweep with everything so far committed.

    Raises:
        InputError: if the spec, the directory or the disk cannot be used.
    """
    options = options or Options()
    plans, model = survey(spec, directory, options)
    with Writer.open(directory) as writer:
        _open_runs(spec, writer, plans, options)
        n_items, n_measured, interrupted = sum(plan.n_left() for plan in plans), 0, False
        for plan in plans:
            if not plan.batches:
                continue
            pending: list[Rows] = []
            flushed = float("-inf")
            for rows in run_batches(spec, plan, model, options):
                pending.append(rows)
                n_measured += rows.n_items()
                if time.monotonic() - flushed >= FLUSH_SECONDS:
                    _flush(writer, pending)
                    flushed = time.monotonic()
                on_progress(Progress(n_measured, n_items, plan.label))
                interrupted = should_stop()
                if interrupted:
                    break
            _flush(writer, pending)
            if interrupted:
                break
            writer.commit({"runs": _run_row(spec, plan, "done")})
    failures = open_run(directory).failures()
    n_filtered = int((failures["stage"] == "filter").sum())
    return SweepResult(directory, n_measured, len(failures) - n_filtered, n_filtered, interrupted)


def _flush(writer: Writer, pending: list[Rows]) -> None:
    if pending:
        rows = together(pending)
        writer.commit(rows.tables, rows.done)
        pending.clear()


def _open_runs(spec: SweepSpec, writer: Writer, plans: Sequence[RunPlan], options: Options) -> None:
    """Record what is new before the first batch: the spec, runs, items, and items that no model will see."""
    if any(plan.batches or plan.unreadable for plan in plans):
        surroundings = manifest(options.device)
        write_atomically(writer.directory / "sweep.yaml", spec.to_yaml().encode())
        write_atomically(writer.directory / "manifest.json", surroundings.encode())
    stored = Records(writer.directory, read_commits(writer.directory))
    known_runs, known_items = set(stored.runs()["run_id"]), set(stored.examples()["example_id"])
    failures = stored.failures()
    known_failures = set(zip(failures["run_id"], failures["example_id"], strict=True))
    for plan in plans:
        run_id = plan.run_id
        new_items = [item for item in plan.items.values() if item.example_id not in known_items]
        known_items |= {item.example_id for item in new_items}
        too_short = {
            name: f"{length} tokens, min_tokens is {spec.min_tokens}"
            for name, length in plan.too_short.items()
            if (run_id, name) not in known_failures
        }
        failed = failure_rows(run_id, plan.unreadable, "encode")
        rows: dict[Table, pa.Table] = {
            "examples": example_rows(plan.suite, new_items),
            "failures": pa.concat_tables([failed, failure_rows(run_id, too_short, "filter")]).unify_dictionaries(),
        }
        if run_id not in known_runs or plan.batches:
            rows["runs"] = _run_row(spec, plan, "running")
        done = [Done(run_id, tuple(plan.unreadable), plan.wanted, failed=True)] if plan.unreadable else []
        if any(table.num_rows for table in rows.values()):
            writer.commit(rows, done)


def _run_row(spec: SweepSpec, plan: RunPlan, status: str) -> pa.Table:
    row = {
        "run_id": plan.run_id,
        "model": plan.entry.name,
        "revision": plan.entry.revision,
        "step": None,
        "model_seed": None,
        "dtype": plan.identity.dtype,
        "device": plan.device,
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "spec_json": json.dumps(plan.facts, ensure_ascii=False),
        "versions": json.dumps(package_versions()),
        "seed": spec.seed,
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "status": status,
    }
    return pa.Table.from_pylist([row], schema=SCHEMAS["runs"])
