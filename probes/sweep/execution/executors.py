"""Executors of tasks: this process, worker processes on this machine, or a Ray cluster.

An executor turns tasks into rows, in any order; only the driver writes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue

import torch

from probes.sweep.execution.cluster import RayPool
from probes.sweep.execution.workers import IN_FLIGHT_PER_WORKER, Loaded, Task, Worker, WorkerDiedError, execute_in
from probes.sweep.handover import Handover
from probes.sweep.interface import Options
from probes.sweep.measurement import Rows
from probes.sweep.spec import SweepSpec

Execute = Callable[[Iterable[Task]], Iterator[Rows]]


@contextmanager
def open_executor(
    spec: SweepSpec, options: Options, model: Loaded | None, handover: Handover | None = None
) -> Generator[Execute]:
    """The executor that the options ask for.

    Args:
        spec: the sweep.
        options: devices, workers, cluster.
        model: a model that this process has loaded already, and the entry it is of.
        handover: what keeps states for the controls, if all is measured in this process.

    Raises:
        InputError: if there is no cluster to reach.
    """
    if options.in_process:
        worker = Worker(spec, options.device, model, handover)
        yield lambda tasks: map(worker.rows, tasks)
        return
    pool = ProcessPool(spec, options) if options.executor == "local" else RayPool(spec, options)
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
        except (BrokenProcessPool, EOFError, ConnectionError) as error:  # ended before or while it began
            stillborn: Future[Rows] = Future()
            stillborn.set_exception(BrokenProcessPool(str(error)))
            return stillborn

    def finished(self, handles: Sequence[Future[Rows]]) -> Sequence[Future[Rows]]:
        """Wait for one task; when a worker died, all are over, because the pool dies with it."""
        done, others = wait(handles, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done |= wait(others).done
        return list(done)

    def result(self, handle: Future[Rows]) -> Rows:
        """Result of a finished task."""
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
        context = _fresh_or_forked(self._devices)
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


def _fresh_or_forked(devices: Sequence[str]) -> BaseContext:
    """Start method of worker processes: on CPUs forks of one server that has imported what all of them need.

    On other devices each begins afresh: a GPU that a process has merely looked at does not survive a fork.
    """
    if any(device != "cpu" for device in devices):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


_own: list[Worker] = []  # set once when a worker process begins


def _begin(spec: SweepSpec, devices: Queue[str], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means
    threading.Thread(target=_end_with_driver, daemon=True).start()
    torch.set_num_threads(threads)
    _own.append(Worker(spec, devices.get()))


def _end_with_driver() -> None:
    """A driver that is killed cannot end its workers, and they would wait for its next task for ever."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _measure(task: Task) -> Rows:
    return _own[0].rows(task)
