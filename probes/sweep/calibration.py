"""Cost of a planned sweep, from a short calibration bounded in time: nothing is written.

Measuring: a few items of each run, spread over its lengths, are measured and thrown away; time and bytes grow with the
bytes of text. Controls: the states of the reservoir are handed over by measuring, or reading them costs what measuring
its items does (`probes.sweep.handover`); one cell of a site is computed on
vectors of chance for every width there is (arithmetic does not ask what the numbers mean), and the readout on few of
them, once per model, where cost grows with the number of vectors. The report: a rule of thumb, by the number of values.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import numpy as np

from probes.controls.control_cells import READOUT, final_of, last_of
from probes.controls.member_states import TOKENS, States
from probes.controls.readout import Unembedding, Unread, unembedding_of
from probes.controls.request import Ask
from probes.controls.reservoir import POSITIONS, Member
from probes.controls.stage import Stage
from probes.models.loading import LoadedModel
from probes.records.store import as_file
from probes.sweep.controlling import budget_seconds
from probes.sweep.handover import Handover
from probes.sweep.inputs import open_model
from probes.sweep.interface import Options
from probes.sweep.measurement import Measurement
from probes.sweep.planning.run_plan import RunPlan
from probes.sweep.spec import SweepSpec
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site
from sparsity import MetricSpec

SECONDS: Final = 1.5  # of measuring per run; at least one pass
MOST_PASSES: Final = 6
BYTES_AT_ONCE: Final = 2048  # of text in a pass of the calibration: about 500 tokens, enough to be as fast as more
WIDEST: Final = 1024  # vectors of chance are no wider; time grows with about the cube of the width (principal axes)
FEW_ITEMS: Final = 6  # for the readout
REPORT_SECONDS_PER_VALUE: Final = 52e-6  # 17.4 s on one core (AMD EPYC) for 334,000 values of six suites


class Cost(NamedTuple):
    """Estimated time of the rest of one run, in one process.

    Attributes:
        seconds: encoding, forward passes and metrics.
        n_bytes: on disk, without the controls.
        controls: seconds of all its control cells.
        allowed: seconds of those that the budget lets through.
        report: seconds of reporting on it, roughly.
        n_tried: items that were measured to learn this.
    """

    seconds: float
    n_bytes: float
    controls: float
    allowed: float
    report: float
    n_tried: int


class _Tried(NamedTuple):
    """A few passes: what they took, per byte of text; what they wrote, per item."""

    seconds: float
    n_bytes: float
    n_values: float
    n_items: int


def calibrate(
    spec: SweepSpec, plans: Sequence[RunPlan], model: LoadedModel | None, options: Options | None = None
) -> Iterator[Cost]:
    """Extrapolate every run from a few passes of its own, and its controls from a few cells.

    Args:
        spec: the sweep.
        plans: its runs.
        model: the model of all runs, if it is loaded already; others are loaded once, in the order of the runs.
        options: how the sweep will run.
    """
    handover = Handover(spec, plans) if (options or Options()).in_process else None
    loaded = None if model is None else (spec.models[0], model)
    warm: object = None
    head: Unembedding | Unread = Unread("no model yet")
    per_vector: float | None = None  # seconds of the readout of this model
    for plan in plans:
        if not plan.batches:
            yield Cost(0.0, 0.0, 0.0, 0.0, 0.0, 0)
            continue
        if loaded is None or loaded[0] != plan.run.entry:
            loaded = None
            loaded = (plan.run.entry, open_model(plan.run.entry, plan.device))
        if warm != plan.run.entry:  # a model's first pass pays for allocations
            first = plan.batches[0]
            Measurement(spec, plan.run, loaded[1]).rows([plan.items[int(first.items[-1])]], first.block)
            head, warm, per_vector = unembedding_of(loaded[1]), plan.run.entry, None
        tried = _tried(spec, plan, loaded[1])
        whole = sum(int(plan.items.sizes[batch.items].sum()) for batch in plan.batches)
        if READOUT in plan.control_cells and per_vector is None:
            per_vector = _readout(spec, plan, loaded[1], head)
        controls = _controls(spec, plan, loaded[1], head, per_vector or 0.0) if plan.control_cells else 0.0
        if plan.control_cells and (handover is None or handover.reserve(plan.run, loaded[1]) is None):
            controls += tried.seconds * _size(plan, plan.members)
        seconds = tried.seconds * whole
        yield Cost(
            seconds=seconds,
            n_bytes=tried.n_bytes * plan.n_left(),
            controls=controls,
            allowed=min(controls, budget_seconds(spec, seconds)),
            report=REPORT_SECONDS_PER_VALUE * tried.n_values * plan.n_left(),
            n_tried=tried.n_items,
        )


def _tried(spec: SweepSpec, plan: RunPlan, model: LoadedModel) -> _Tried:
    """Measure some items of all lengths, as many as a short time allows."""
    measurement = Measurement(spec, plan.run, model)
    passes = [part for batch in plan.batches for part in _passes(plan, batch.items)]
    block = plan.batches[0].block
    step = max(1, len(passes) // MOST_PASSES)
    chosen = passes[step // 2 :: step]
    began = time.perf_counter()
    n_items = n_bytes = n_values = size = 0
    for items in chosen:
        rows = measurement.rows([plan.items[int(index)] for index in items], block)
        n_items += len(items)
        size += int(plan.items.sizes[items].sum())
        n_values += rows.tables["measurements"].num_rows if "measurements" in rows.tables else 0
        n_bytes += sum(len(as_file(table, own)) for table, own in rows.tables.items() if own.num_rows)
        if time.perf_counter() - began > SECONDS:
            break
    return _Tried((time.perf_counter() - began) / max(size, 1), n_bytes / n_items, n_values / n_items, n_items)


def _passes(plan: RunPlan, items: np.ndarray) -> Iterator[np.ndarray]:
    """A batch in parts of a few thousand bytes, for a batch of long texts alone may take too long."""
    longest = int(plan.items.sizes[items].max())
    at_once = max(1, BYTES_AT_ONCE // max(longest, 1))
    yield from (items[start : start + at_once] for start in range(0, len(items), at_once))


def _controls(
    spec: SweepSpec, plan: RunPlan, model: LoadedModel, head: Unembedding | Unread, per_vector: float
) -> float:
    """Seconds of all control cells of a run without reading the reservoir; ``per_vector`` of the readout."""
    members, seconds = plan.members, 0.0
    positions = [position for position in spec.positions if position in POSITIONS]
    names = set(plan.control_cells)
    by_width: dict[tuple[int, int], list[Site]] = {}
    for site in plan.run.sites:
        if str(site) in names:
            heads = max(model.taps.points[site].heads, 1)
            by_width.setdefault((model.width(site) * heads, heads), []).append(site)
    for (width, heads), sites in by_width.items():
        ask = _ask(spec, plan, members, positions, [sites[0]])
        narrow = min(width, WIDEST) if heads == 1 else width
        one = _seconds_of(model, head, ask, {sites[0]: narrow}, str(sites[0]), TOKENS)
        seconds += one * (width / narrow) ** 3 * len(sites)
    return seconds + per_vector * _rows(positions, len(members)) * (READOUT in names)


def _size(plan: RunPlan, members: Sequence[Member]) -> int:
    """Bytes of text of some items."""
    sizes = dict(zip(plan.items.example_ids.to_pylist(), plan.items.sizes.tolist(), strict=True))
    return sum(sizes[one.example_id] for one in members)


def _readout(spec: SweepSpec, plan: RunPlan, model: LoadedModel, head: Unembedding | Unread) -> float:
    """Seconds of the readout, per vector of the reservoir."""
    members = plan.members
    positions = [position for position in spec.positions if position in POSITIONS]
    few = members[:: max(1, len(members) // FEW_ITEMS)]
    ends = {site: model.width(site) for site in (final_of(model), last_of(model)) if site in model.sites}
    ask = _ask(spec, plan, few, positions, list(ends))
    return _seconds_of(model, head, ask, ends, READOUT, 1) / max(_rows(positions, len(few), 1), 1)


def _rows(positions: Sequence[str], n_items: int, tokens: int = TOKENS) -> int:
    return sum(n_items * (tokens if position == "mean" else 1) for position in positions)


def _seconds_of(
    model: LoadedModel, head: Unembedding | Unread, ask: Ask, widths: dict[Site, int], cell: str, tokens: int
) -> float:
    """Time one cell on vectors of chance, what all cells share left out."""
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        stage = Stage(model, ask, lambda: None, stack)
        states = States()
        stack.callback(states.close)
        for (site, width), position in ((entry, position) for entry in widths.items() for position in ask.positions):
            n = tokens if position == "mean" else 1
            item = np.repeat(np.arange(len(ask.members), dtype=np.int32), n)
            token = np.tile(np.arange(n, dtype=np.int32), len(ask.members))
            vectors = rng.standard_normal((len(item), width), dtype=np.float32)
            states.add({(site, position): states.write(vectors, item, token)}, {}, {})
        stage.states, stage.head = states, head
        began = time.perf_counter()
        stage.cell(cell)
        return time.perf_counter() - began


def _ask(
    spec: SweepSpec, plan: RunPlan, members: Sequence[Member], positions: Sequence[str], sites: Sequence[Site]
) -> Ask:
    prompt = Prompt(tuple(range(TOKENS + 1)), 0, False, (0,) * (TOKENS + 1), None)
    return Ask(
        run_id="",
        members=members,
        prompts=[prompt] * len(members),
        axis=plan.suite.axis,
        suite=plan.suite.name,
        sites=sites,
        positions=positions,
        metrics=[MetricSpec.parse(metric) for metric in spec.metrics],
        seed=spec.seed,
        controls=spec.control_names(),
        populations=spec.population_names(),
    )
