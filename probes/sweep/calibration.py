"""What a planned sweep will cost, from a short calibration: a few of its own batches, measured and thrown away."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from probes.records.store import as_file
from probes.sweep.measurement import Measurement
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, open_model
from probes.sweep.workers import Loaded

CALIBRATION_SECONDS: Final = 5.0  # per run; at least one batch
MOST_BATCHES: Final = 5


class Cost(NamedTuple):
    """What is left of one run would take, in one process.

    Attributes:
        seconds: encoding, forward passes and metrics.
        n_bytes: on disk.
    """

    seconds: float
    n_bytes: float


def calibrate(spec: SweepSpec, plan: RunPlan, loaded: Loaded | None) -> Cost:
    """Measure some batches of a run, spread over its lengths, and extrapolate to all; writes nothing."""
    if not plan.batches:
        return Cost(0.0, 0.0)
    model = loaded[1] if loaded and loaded[0] == plan.run.entry else open_model(plan.run.entry, plan.device)
    measurement = Measurement(spec, plan.run, model)
    step = max(1, len(plan.batches) // MOST_BATCHES)
    sample = plan.batches[step // 2 :: step]
    measurement.rows([plan.items[int(sample[0].items[0])]], sample[0].block)  # the first pass pays for allocations
    began = time.perf_counter()
    n_items = n_bytes = size = 0
    for batch in sample:
        rows = measurement.rows([plan.items[int(index)] for index in batch.items], batch.block)
        n_items += len(batch.items)
        size += int(plan.items.sizes[batch.items].sum())
        n_bytes += sum(len(as_file(table, own)) for table, own in rows.tables.items() if own.num_rows)
        if time.perf_counter() - began > CALIBRATION_SECONDS:
            break
    seconds = time.perf_counter() - began
    whole = sum(int(plan.items.sizes[batch.items].sum()) for batch in plan.batches)
    return Cost(seconds * whole / max(size, 1), n_bytes * plan.n_left() / n_items)
