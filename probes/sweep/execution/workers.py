"""Parts that every executor shares: a task, the worker that measures it, and the queue for workers that may die.

A worker keeps its model loaded from one task to the next, whatever run they belong to. Work in flight is bounded, so a
slow disk slows the workers down instead of growing memory. A worker that dies takes at most the tasks in flight with
it: they are given to others, and only tasks that keep killing their workers stop the sweep.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar, runtime_checkable

from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.records.cells import Block
from probes.suites.example import Item
from probes.sweep.handover import Handover
from probes.sweep.inputs import open_model
from probes.sweep.measurement import Measurement, Rows
from probes.sweep.planning.run_plan import Run
from probes.sweep.spec import ModelEntry, SweepSpec

Loaded = tuple[ModelEntry, LoadedModel]
IN_FLIGHT_PER_WORKER: Final = 2  # one that runs and one that waits
MOST_DEATHS: Final = 3  # of workers with one task, without a finished task between them


class Task(NamedTuple):
    """One batch with all that a worker needs, wherever it is."""

    run: Run
    items: tuple[Item, ...]
    block: Block


class WorkerDiedError(Exception):
    """A worker is gone and its task with it."""


class Worker:
    """A place that keeps one model loaded and measures tasks of any run."""

    def __init__(
        self, spec: SweepSpec, device: str, model: Loaded | None = None, handover: Handover | None = None
    ) -> None:
        self._spec, self._device, self._model, self._handover = spec, device, model, handover
        self._measurement: Measurement | None = None

    def is_up(self) -> bool:
        """Answered as soon as there is a process to answer."""
        return True

    def rows(self, task: Task) -> Rows:
        """Measure a task, loading its model if another was loaded."""
        if self._measurement is None or self._measurement.run != task.run:
            if self._model is None or self._model[0] != task.run.entry:
                self._measurement = self._model = None  # the old weights go before the new ones come
                self._model = (task.run.entry, open_model(task.run.entry, self._device))
            own = self._spec.for_model(task.run.entry)
            self._measurement = Measurement(own, task.run, self._model[1], self._handover)
        return self._measurement.rows(task.items, task.block)


H = TypeVar("H", bound=Hashable)


@runtime_checkable
class Pool(Protocol[H]):
    """Workers that tasks can be handed to; a handle stands for a task in flight."""

    def slots(self) -> int:
        """Number of tasks that may be in flight now, at least one; waits for a worker where there is none."""
        ...

    def submit(self, task: Task) -> H:
        """Hand a task to a worker."""
        ...

    def finished(self, handles: Sequence[H]) -> Sequence[H]:
        """Wait until some are finished; none when it is time to look for new workers."""
        ...

    def result(self, handle: H) -> Rows:
        """Result of a finished task; raises WorkerDiedError if its worker is gone."""
        ...

    def mend(self) -> None:
        """Replace workers that are gone."""
        ...


def execute_in(pool: Pool[H], tasks: Iterable[Task]) -> Iterator[Rows]:
    """Run tasks in a pool, giving those of dead workers to others.

    Where workers died, rows of nothing come before they are replaced, so that whoever drives can stop: a scheduler that
    ends a job sends its signal to the workers too. A machine that dies takes the tasks of all its workers with it, once
    each; a task that no worker survives is lost again and again.

    Raises:
        InputError: if a task is lost three times, and no other is finished meanwhile.
    """
    waiting = ((task, 0) for task in tasks)
    lost: list[tuple[Task, int]] = []
    running: dict[H, tuple[Task, int]] = {}
    while True:
        while len(running) < pool.slots() and (given := lost.pop() if lost else next(waiting, None)):
            running[pool.submit(given[0])] = given
        if not running:
            return
        n_lost = len(lost)
        for handle in pool.finished(list(running)):
            task, deaths = running.pop(handle)
            try:
                rows = pool.result(handle)
            except WorkerDiedError:
                lost.append((task, deaths + 1))
            else:
                lost = [(other, 0) for other, _ in lost]
                running = {other: (its, 0) for other, (its, _) in running.items()}
                yield rows
        if len(lost) > n_lost:
            if max(deaths for _, deaths in lost) >= MOST_DEATHS:
                raise InputError(
                    f"a batch lost its worker {MOST_DEATHS} times in a row (out of memory?); "
                    "committed batches are kept; try fewer --workers or a smaller --batch-size"
                )
            yield Rows({}, ())
            pool.mend()
