"""Run what is left of a sweep and commit as it goes.

Rows are committed after the first batch and at least every :data:`FLUSH_SECONDS` from then on, whole batches at a time.
A batch that fails is halved until the one bad item stands alone and becomes a row of ``failures``; memory that runs out
ends the same way. A run directory that is complete is left as it is, to the byte.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from probes.capture.collect import read_batch
from probes.capture.models import LoadedModel
from probes.capture.prompts import Prompt
from probes.capture.sites import Site
from probes.records.cells import Block, Done
from probes.records.read import Records, open_run
from probes.records.rows import measurement_rows, outcome_rows, token_rows
from probes.records.schema import SCHEMAS, Table
from probes.records.store import Writer, read_commits, write_atomically
from probes.sweep.interface import Options, Progress, SweepResult
from probes.sweep.items import example_rows, failure_rows, input_rows
from probes.sweep.plan import Batch
from probes.sweep.provenance import manifest, package_versions
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, open_model, read_prompt, survey
from sparsity import MetricSpec

FLUSH_SECONDS = 30.0


class Rows(NamedTuple):
    """What a batch adds to the tables, and the cells it settles."""

    tables: dict[Table, pa.Table]
    done: tuple[Done, ...]


class Measurement:
    """One run in progress: its plan, its model, and the batches that turn into rows."""

    def __init__(self, spec: SweepSpec, plan: RunPlan, model: LoadedModel) -> None:
        self.spec, self.plan, self.model = spec, plan, model
        self._sites = {str(site): site for site in plan.sites}

    def rows(self, batch: Batch) -> Rows:
        """Measure a batch; an item that cannot be measured becomes a failure of its own."""
        prompts = {name: read_prompt(self.spec, self.model, self.plan.items[name]) for name in batch.example_ids}
        return self._halving(prompts, batch.block)

    def _halving(self, prompts: Mapping[str, Prompt], block: Block) -> Rows:
        try:
            return self._measured(prompts, block)
        except Exception as error:  # noqa: BLE001  whatever a model raises is a fault of its items, found by halving
            if len(prompts) == 1:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                failure = failure_rows(self.plan.run_id, dict.fromkeys(prompts, reason), "forward")
                return Rows({"failures": failure}, (Done(self.plan.run_id, tuple(prompts), block, failed=True),))
        names = list(prompts)
        middle = len(names) // 2
        halves = [
            self._halving({name: prompts[name] for name in part}, block) for part in (names[:middle], names[middle:])
        ]
        return together(halves)

    def _measured(self, prompts: Mapping[str, Prompt], block: Block) -> Rows:
        sites: list[Site] = [self._sites[name] for name in block.sites]
        metrics = tuple(MetricSpec.parse(name) for name in block.metrics)
        found = read_batch(
            self.model,
            list(prompts.values()),
            sites=sites,
            positions=block.positions,
            metrics=metrics,
            outcomes=block.outcomes,
        )
        names = [str(metric) for metric in metrics]
        ids = list(prompts)
        run_id = self.plan.run_id
        whole = [reading for reading in found.readings if reading.position != "all"]
        each = [reading for reading in found.readings if reading.position == "all"]
        tables: dict[Table, pa.Table] = {
            "inputs": input_rows(run_id, prompts),
            "measurements": measurement_rows(whole, run_id=run_id, example_ids=ids, metrics=names),
            "token_measurements": token_rows(each, run_id=run_id, example_ids=ids, metrics=names),
            "outcomes": outcome_rows(found.outcomes, run_id=run_id, example_ids=ids),
        }
        return Rows(tables, (Done(run_id, tuple(ids), block),))


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of several batches as one commit holds them."""
    tables: dict[Table, list[pa.Table]] = {}
    for part in parts:
        for table, rows in part.tables.items():
            tables.setdefault(table, []).append(rows)
    joined: dict[Table, pa.Table] = {}
    for table, rows in tables.items():
        joined[table] = pa.concat_tables(rows, promote_options="default").unify_dictionaries()
    return Rows(joined, tuple(done for part in parts for done in part.done))


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
            measurement = Measurement(spec, plan, model or open_model(plan.entry, options))
            pending: list[Rows] = []
            flushed = float("-inf")
            for batch in plan.batches:
                pending.append(measurement.rows(batch))
                n_measured += len(batch.example_ids)
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
