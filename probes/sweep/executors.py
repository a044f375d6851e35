"""Where batches run: in this process, or in worker processes that each keep the model loaded.

An executor turns the batches of a run into rows, in any order; only the driver writes. Work in flight is bounded, so a
slow disk slows the workers down instead of growing memory. A worker that dies takes at most the batches in flight with
it: they are given to a fresh set of workers, and only a batch that keeps killing its worker stops the sweep.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from typing import Final

import torch

from probes.capture.models import LoadedModel
from probes.errors import InputError
from probes.sweep.interface import Options
from probes.sweep.measurement import Measurement, Rows
from probes.sweep.plan import Batch
from probes.sweep.spec import SweepSpec
from probes.sweep.survey import RunPlan, open_model

IN_FLIGHT_PER_WORKER: Final = 2  # one that runs and one that waits
MOST_DEATHS: Final = 3  # of workers without a finished batch between them


def run_batches(spec: SweepSpec, plan: RunPlan, model: LoadedModel | None, options: Options) -> Iterator[Rows]:
    """Measure the batches of a run, one result per batch.

    Args:
        spec: the sweep.
        plan: the run.
        model: its model if it is loaded already.
        options: devices and workers.

    Raises:
        InputError: if workers keep dying.
    """
    if options.workers == 1:
        measurement = Measurement(spec, plan, model or open_model(plan.entry, options.device))
        return (measurement.rows(batch) for batch in plan.batches)
    return _in_workers(spec, plan, options)


def worker_devices(options: Options) -> list[str]:
    """The device of each worker: ``cuda`` means the first GPUs in turn, anything else is taken as it is."""
    if options.device == "cuda":
        return [f"cuda:{index}" for index in range(options.workers)]
    return [options.device] * options.workers


def _in_workers(spec: SweepSpec, plan: RunPlan, options: Options) -> Iterator[Rows]:
    left = list(plan.batches)
    deaths = 0
    while left:
        try:
            for batch, rows in _until_a_death(spec, plan, options, left):
                left.remove(batch)
                deaths = 0
                yield rows
        except BrokenProcessPool:
            deaths += 1
            if deaths == MOST_DEATHS:
                raise InputError(
                    f"workers died {deaths} times in a row without finishing a batch (out of memory?); "
                    "what was committed stands, try fewer --workers or a smaller --batch-size"
                ) from None


def _until_a_death(
    spec: SweepSpec, plan: RunPlan, options: Options, batches: Sequence[Batch]
) -> Iterator[tuple[Batch, Rows]]:
    context = multiprocessing.get_context("spawn")
    devices: Queue[str] = context.Queue()
    for device in worker_devices(options):
        devices.put(device)
    threads = max(1, torch.get_num_threads() // options.workers)
    pool = ProcessPoolExecutor(options.workers, context, initializer=_begin, initargs=(spec, plan, devices, threads))
    try:
        waiting = iter(batches)
        running: dict[Future[Rows], Batch] = {}
        while True:
            while len(running) < IN_FLIGHT_PER_WORKER * options.workers and (batch := next(waiting, None)):
                running[pool.submit(_measure, batch)] = batch
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_own: list[Measurement] = []  # a worker's run, set once when it begins


def _begin(spec: SweepSpec, plan: RunPlan, devices: Queue[str], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means
    torch.set_num_threads(threads)
    _own.append(Measurement(spec, plan, open_model(plan.entry, devices.get())))


def _measure(batch: Batch) -> Rows:
    return _own[0].rows(batch)
