"""One run in progress: batches in, rows out, wherever it runs.

A batch that fails is halved until the one bad item stands alone and becomes a row of ``failures``; memory that runs out
ends the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from probes.capture.collect import read_batch
from probes.capture.models import LoadedModel
from probes.capture.prompts import Prompt
from probes.capture.sites import Site
from probes.records.cells import Block, Done
from probes.records.rows import measurement_rows, outcome_rows, token_rows
from probes.records.schema import Table
from probes.sweep.items import failure_rows, input_rows
from probes.sweep.plan import Batch
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, read_prompt
from sparsity import MetricSpec


class Rows(NamedTuple):
    """What batches add to the tables, and the cells that this settles."""

    tables: dict[Table, pa.Table]
    done: tuple[Done, ...]

    def n_items(self) -> int:
        """Items that these rows settle."""
        return sum(len(done.example_ids) for done in self.done)


class Measurement:
    """A run's plan and its model, and the batches that turn into rows."""

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
        parts = (names[:middle], names[middle:])
        return together([self._halving({name: prompts[name] for name in part}, block) for part in parts])

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
