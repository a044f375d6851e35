"""Sweeps on a Ray cluster: nodes die, or the driver does, and the tables are those of a sweep that nothing happened to.

The gate has a cluster that is played in this process; real ones, whose start takes a minute, are long proofs.
Drivers are forks, which have imported already what takes a driver most of its start; Ray is begun in them only,
because it leaves threads and warnings behind.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from probes.errors import InputError
from probes.sweep import run as running
from probes.sweep.execution import executors
from probes.sweep.execution.cluster import RayPool
from probes.sweep.execution.workers import IN_FLIGHT_PER_WORKER, Task, Worker, WorkerDiedError, execute_in
from probes.sweep.interface import Options, Progress
from probes.sweep.measurement import Rows
from probes.sweep.run import run_sweep
from probes.sweep.spec import SweepSpec
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_run import assert_same

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
PATIENCE = {"RAY_raylet_start_wait_time_s": "300"}  # a busy machine starts nodes slowly


def forked(work: Callable[[], None], log: Path) -> int:
    """Do something in a child process, with what it says in a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # one thread is all that this child uses
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ.update(PATIENCE)
        warnings.simplefilter("ignore")
        work()
        status = 0
    except BaseException:  # noqa: BLE001  a fork that went on would run the tests of its parent
        log.open("a").write(traceback.format_exc())
    finally:
        os._exit(status)


def ended(child: int, log: Path) -> None:
    """Wait for a child that should do well."""
    _, status = os.waitpid(child, 0)
    assert status == 0, log.read_text()


class Watched(RayPool):
    """A pool that can be seen into."""

    now: Watched
    n_lost = 0

    def __init__(self, spec: SweepSpec, options: Options) -> None:
        super().__init__(spec, options)
        Watched.now = self

    def result(self, handle: Any) -> Rows:
        """What a finished task gave; those that went with their worker are counted."""
        try:
            return super().result(handle)
        except WorkerDiedError:
            Watched.n_lost += 1
            raise

    def wait_for(self, n_workers: int) -> None:
        """Until so many are up and will be given tasks."""
        while self.slots() < IN_FLIGHT_PER_WORKER * n_workers:
            time.sleep(0.05)


def swept_while_nodes_die(spec: SweepSpec, out: Path, n_nodes: int, head_cpus: int, kills: int) -> None:
    """Each time a fifth of the items is done a node is killed; all but after the last time another joins."""
    from tests.probes.sweep.ray_nodes import Nodes

    running.FLUSH_SECONDS = 0.0
    executors.RayPool = Watched
    nodes = Nodes(n_nodes, head_cpus=head_cpus)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if len(killed) == kills:
            return
        Watched.now.wait_for(n_nodes + head_cpus)
        if progress.n_done >= (len(killed) + 1) * progress.n_items // 5:
            nodes.kill()
            killed.append(progress.n_done)
            if len(killed) < kills:
                nodes.add()

    run_sweep(spec, out, Options(batch_size=1, executor="ray", address=nodes.address), on_progress=kill)
    assert len(killed) == kills
    assert Watched.n_lost >= kills
    nodes.end()


@contextmanager
def cluster(folder: Path) -> Generator[str]:
    """The address of a cluster that outlives its drivers."""
    file = folder / "address"
    command = [sys.executable, "-m", "tests.probes.sweep.ray_nodes", str(file)]
    log = (folder / "cluster.log").open("w")
    environment = {**os.environ, **PATIENCE}
    with log, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment) as holder:
        while not (file.exists() and file.read_text()):
            assert holder.poll() is None, (folder / "cluster.log").read_text()
            time.sleep(0.1)
        yield file.read_text()
        holder.communicate()


class Actor:
    """A worker in this process; from its third task on it is lost, as with its node."""

    def __init__(self, cluster: FakeRay, worker: Worker, lives: int) -> None:
        self._cluster, self._worker, self._left = cluster, worker, lives
        self.is_up = self.rows = self  # `actor.rows.remote(task)` as Ray writes it
        self.alive = True

    def remote(self, task: Task | None = None) -> Any:
        """A handle of what a call gives."""
        self._left -= 1
        if self._left < 0:
            self.alive = False
        handle = object()
        self._cluster.given[handle] = (self, None if task is None else self._worker.rows(task))
        return handle


class FakeRay:
    """What a pool uses of Ray, without processes: two CPUs, whose first actor is lost with the tasks it had."""

    class exceptions:  # noqa: N801  as in Ray
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

    def __init__(self) -> None:
        self.given: dict[Any, tuple[Actor, Any]] = {}
        self.actors: list[Actor] = []

    def remote(self, **_: object) -> Callable[[type[Worker]], Any]:
        """The decorator of actors."""

        def actors_of(worker: type[Worker]) -> Any:
            def begin(*arguments: Any) -> Actor:
                self.actors.append(Actor(self, worker(*arguments), 100 if self.actors else 3))
                return self.actors[-1]

            return SimpleNamespace(remote=begin)

        return actors_of

    def cluster_resources(self) -> dict[str, float]:
        """Two CPUs."""
        return {"CPU": 2.0}

    def wait(self, handles: list[Any], *, num_returns: int, **_: float) -> tuple[list[Any], list[Any]]:
        """Everything is finished at once."""
        return handles[:num_returns], handles[num_returns:]

    def get(self, handle: Any) -> Any:
        """What a call gave, if its actor is still there."""
        actor, value = self.given[handle]
        if not actor.alive:
            raise self.exceptions.RayError
        return value

    def kill(self, actor: Actor) -> None:
        """End an actor."""
        actor.alive = False


def test_tasks_of_a_lost_actor_go_to_others_and_it_is_replaced(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setattr("probes.sweep.execution.cluster._connected", lambda _: (ray, False))
    monkeypatch.setattr(executors, "RayPool", Watched)
    monkeypatch.setattr(Watched, "n_lost", 0)
    spec = make_spec(n=6)
    run_sweep(spec, tmp_path / "ray", Options(batch_size=1, executor="ray"))
    run_sweep(spec, tmp_path / "alone", Options(batch_size=1))
    assert Watched.n_lost > 0
    assert len(ray.actors) == 3  # two, and the one that took the place of the first
    assert not any(actor.alive for actor in ray.actors)
    assert_same(tmp_path / "alone", tmp_path / "ray")


class Scripted:
    """Eight slots whose tasks are finished one at a time; `fatal` says which submission of which task is lost."""

    def __init__(self, fatal: Callable[[str, int], bool]) -> None:
        self._fatal = fatal
        self._given: dict[str, int] = {}

    def slots(self) -> int:
        """Eight at a time."""
        return 8

    def submit(self, task: str) -> str:
        """Count how often a task was given."""
        self._given[task] = self._given.get(task, 0) + 1
        return task

    def finished(self, handles: list[str]) -> list[str]:
        """The oldest."""
        return handles[:1]

    def result(self, handle: str) -> str:
        """The task itself, unless its worker is gone."""
        if self._fatal(handle, self._given[handle]):
            raise WorkerDiedError
        return handle

    def mend(self) -> None:
        """Nothing to replace."""


def finished_of(pool: Scripted, tasks: list[str]) -> list[str]:
    """Names of the tasks that gave something."""
    given: Any = execute_in(cast("Any", pool), cast("Any", iter(tasks)))
    return sorted(rows for rows in given if isinstance(rows, str))


def test_a_machine_of_eight_workers_may_die() -> None:
    tasks = [f"task {number}" for number in range(20)]
    first = set(tasks[:8])
    assert finished_of(Scripted(lambda task, time: task in first and time == 1), tasks) == sorted(tasks)


def test_a_task_that_no_worker_survives_ends_the_sweep() -> None:
    with pytest.raises(InputError, match="a batch lost its worker 3 times in a row"):
        finished_of(Scripted(lambda task, _: task == "task 19"), [f"task {number}" for number in range(20)])


@pytest.mark.long
@needs_ray
def test_a_killed_node_loses_no_row(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(n=20)
    driver = forked(lambda: swept_while_nodes_die(spec, tmp_path / "ray", 1, 1, 1), tmp_path / "log")
    run_sweep(spec, tmp_path / "alone", Options(batch_size=1))
    ended(driver, tmp_path / "log")
    assert_same(tmp_path / "alone", tmp_path / "ray")


def test_an_unreachable_cluster_is_one_line_and_touches_nothing(make_spec: MakeSpec, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"  # nobody listens there
    with pytest.raises(InputError, match=f"no Ray cluster answers at {address}"):
        run_sweep(make_spec(), tmp_path / "run", Options(executor="ray", address=address))
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@needs_ray
@pytest.mark.usefixtures("eager_commits")
def test_two_nodes_and_the_driver_killed_lose_no_row(
    make_spec: MakeSpec, tmp_path: Path, proof: Callable[[str], None]
) -> None:
    spec = make_spec(n=24)
    run_sweep(spec, tmp_path / "alone", Options(batch_size=1))
    log = tmp_path / "log"
    ended(forked(lambda: swept_while_nodes_die(spec, tmp_path / "ray", 2, 0, 2), log), log)
    assert_same(tmp_path / "alone", tmp_path / "ray")
    out = tmp_path / "driver"
    with cluster(tmp_path) as address:
        options = Options(batch_size=1, executor="ray", address=address)
        driver = forked(lambda: run_sweep(spec, out, options) and None, log)
        while len(list((out / "commits").glob("*.json"))) < 6 and os.waitpid(driver, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        os.kill(driver, 9)
        _, status = os.waitpid(driver, 0)
        assert os.WIFSIGNALED(status)
        ended(forked(lambda: run_sweep(spec, out, options) and None, log), log)
    assert_same(tmp_path / "alone", out)
    proof("a Ray cluster of 3 nodes: two killed mid-run, then the driver killed and started again; all tables equal")
