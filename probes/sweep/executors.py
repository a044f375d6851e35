"""Where batches run: in this process, in worker processes on this machine, or on a Ray cluster.

An executor turns tasks into rows, in any order; only the driver writes. A worker keeps its model loaded from one task to
the next, whatever run they belong to. Work in flight is bounded, so a slow disk slows the workers down instead of
growing memory. A worker that dies takes at most the tasks in flight with it: they are given to others, and only tasks
that keep killing their workers stop the sweep.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Final, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch

from probes.capture.models import LoadedModel
from probes.errors import InputError
from probes.records.cells import Block
from probes.suites.example import Item
from probes.sweep.interface import Options
from probes.sweep.measurement import Measurement, Rows
from probes.sweep.spec import ModelEntry, SweepSpec
from probes.sweep.survey import Run, open_model

IN_FLIGHT_PER_WORKER: Final = 2  # one that runs and one that waits
MOST_DEATHS: Final = 3  # of workers without a finished task between them


class Task(NamedTuple):
    """One batch with all that a worker needs, wherever it is."""

    run: Run
    items: tuple[Item, ...]
    block: Block


Execute = Callable[[Iterable[Task]], Iterator[Rows]]


class WorkerDiedError(Exception):
    """A worker is gone and its task with it."""


class Worker:
    """A place that keeps one model loaded and measures tasks of any run."""

    def __init__(self, spec: SweepSpec, device: str, model: tuple[ModelEntry, LoadedModel] | None = None) -> None:
        self._spec, self._device, self._model = spec, device, model
        self._measurement: Measurement | None = None

    def rows(self, task: Task) -> Rows:
        """Measure a task, loading its model if another was loaded."""
        if self._measurement is None or self._measurement.run != task.run:
            if self._model is None or self._model[0] != task.run.entry:
                self._measurement = self._model = None  # the old weights go before the new ones come
                self._model = (task.run.entry, open_model(task.run.entry, self._device))
            self._measurement = Measurement(self._spec, task.run, self._model[1])
        return self._measurement.rows(task.items, task.block)


H = TypeVar("H", bound=Hashable)


@runtime_checkable
class Pool(Protocol[H]):
    """Workers that tasks can be handed to; a handle stands for a task in flight."""

    def slots(self) -> int:
        """How many tasks may be in flight now."""
        ...

    def submit(self, task: Task) -> H:
        """Hand a task to a worker."""
        ...

    def finished(self, handles: Sequence[H]) -> Sequence[H]:
        """Wait until some are finished."""
        ...

    def result(self, handle: H) -> Rows:
        """What a finished task gave; raises WorkerDiedError if its worker is gone."""
        ...

    def mend(self) -> None:
        """Replace workers that are gone."""
        ...


def execute_in(pool: Pool[H], tasks: Iterable[Task]) -> Iterator[Rows]:
    """Run tasks in a pool, giving those of dead workers to others.

    Raises:
        InputError: if workers keep dying.
    """
    waiting = iter(tasks)
    lost: list[Task] = []
    running: dict[H, Task] = {}
    deaths = 0
    while True:
        while len(running) < pool.slots() and (task := lost.pop() if lost else next(waiting, None)):
            running[pool.submit(task)] = task
        if not running:
            return
        n_lost = len(lost)
        for handle in pool.finished(list(running)):
            task = running.pop(handle)
            try:
                rows = pool.result(handle)
            except WorkerDiedError:
                lost.append(task)
            else:
                deaths = 0
                yield rows
        if len(lost) > n_lost:
            deaths += 1
            if deaths == MOST_DEATHS:
                raise InputError(
                    f"workers died {deaths} times in a row without finishing a batch (out of memory?); "
                    "what was committed stands, try fewer --workers or a smaller --batch-size"
                )
            pool.mend()


@contextmanager
def open_executor(
    spec: SweepSpec, options: Options, model: tuple[ModelEntry, LoadedModel] | None
) -> Generator[Execute]:
    """The executor that the options ask for.

    Args:
        spec: the sweep.
        options: devices, workers, cluster.
        model: a model that this process has loaded already, and the entry it is of.
    """
    if options.workers in (None, 1):
        worker = Worker(spec, options.device, model)
        yield lambda tasks: map(worker.rows, tasks)
    else:
        pool = ProcessPool(spec, options)
        try:
            yield lambda tasks: execute_in(pool, tasks)
        finally:
            pool.close()


class ProcessPool:
    """Worker processes on this machine, one per device, each with its share of the threads."""

    def __init__(self, spec: SweepSpec, options: Options) -> None:
        self._spec, self._devices = spec, worker_devices(options)
        self._pool = self._begun()

    def slots(self) -> int:
        """Two per worker: one that runs and one that waits."""
        return IN_FLIGHT_PER_WORKER * len(self._devices)

    def submit(self, task: Task) -> Future[Rows]:
        """Hand a task to whichever worker is free next."""
        try:
            return self._pool.submit(_measure, task)
        except BrokenProcessPool as error:
            stillborn: Future[Rows] = Future()
            stillborn.set_exception(error)
            return stillborn

    def finished(self, handles: Sequence[Future[Rows]]) -> Sequence[Future[Rows]]:
        """Wait for one task; when a worker died, all are over, because the pool dies with it."""
        done, others = wait(handles, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done |= wait(others).done
        return list(done)

    def result(self, handle: Future[Rows]) -> Rows:
        """What a finished task gave."""
        try:
            return handle.result()
        except BrokenProcessPool:
            raise WorkerDiedError from None

    def mend(self) -> None:
        """A fresh set of workers: a process pool does not outlive any of its processes."""
        self.close()
        self._pool = self._begun()

    def close(self) -> None:
        """Let the workers end."""
        self._pool.shutdown(cancel_futures=True)

    def _begun(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        devices: Queue[str] = context.Queue()
        for device in self._devices:
            devices.put(device)
        n = len(self._devices)
        threads = max(1, torch.get_num_threads() // n)
        return ProcessPoolExecutor(n, context, initializer=_begin, initargs=(self._spec, devices, threads))


def worker_devices(options: Options) -> list[str]:
    """The device of each worker: ``cuda`` means the first GPUs in turn, anything else is taken as it is."""
    n = options.workers or 1
    if options.device == "cuda":
        return [f"cuda:{index}" for index in range(n)]
    return [options.device] * n


_own: list[Worker] = []  # set once when a worker process begins


def _begin(spec: SweepSpec, devices: Queue[str], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means
    torch.set_num_threads(threads)
    _own.append(Worker(spec, devices.get()))


def _measure(task: Task) -> Rows:
    return _own[0].rows(task)
