"""Workers on a Ray cluster: actors that keep a model loaded, on whatever nodes ``ray.init`` reaches.

Every CPU of the cluster (every GPU, on devices ``cuda``) gets one actor, or as many as ``--workers`` says. Actors are
used as soon as they are up, so nodes that join later join in. When one is lost with its node, its tasks go to the
others and a replacement is asked for, which comes up when the cluster has room for it. Actors belong to the driver:
they end with it, however it ends, and the same command run again resumes from what was committed.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from probes.errors import InputError
from probes.sweep.execution.workers import IN_FLIGHT_PER_WORKER, Task, Worker, WorkerDiedError
from probes.sweep.interface import Options
from probes.sweep.measurement import Rows
from probes.sweep.spec import SweepSpec

CONNECT_SECONDS: Final = 5.0
START_SECONDS: Final = 1800.0  # a cold node imports torch and loads weights from a network disk; a full one has to wait
LOOK_SECONDS: Final = 1.0  # between two looks for workers that have come up

Ref = Any  # ray.ObjectRef, which can be hashed


class RayPool:
    """Actors on the nodes of a Ray cluster."""

    def __init__(self, spec: SweepSpec, options: Options) -> None:
        self._ray, self._is_ours = _connected(options.address)
        self._gpu = options.device.startswith("cuda")
        self._workers = options.workers
        self._arguments = (spec, options.device)
        self._actor_class = self._ray.remote(num_cpus=1, num_gpus=int(self._gpu))(Worker)
        self._coming: dict[Ref, Any] = {}  # what their first answer will come under -> actors not up yet
        self._load: dict[Any, int] = {}  # actors that are up -> tasks in flight
        self._owner: dict[Ref, Any] = {}  # tasks in flight -> their actors
        self.mend()

    def slots(self) -> int:
        """Two per actor that is up."""
        self._welcome()
        return IN_FLIGHT_PER_WORKER * len(self._load)

    def submit(self, task: Task) -> Ref:
        """Hand a task to the actor that has the least to do."""
        actor = min(self._load, key=self._load.__getitem__)
        handle = actor.rows.remote(task)
        self._load[actor] += 1
        self._owner[handle] = actor
        return handle

    def finished(self, handles: Sequence[Ref]) -> Sequence[Ref]:
        """Wait for a task, or until it is time to look for new actors."""
        done, _ = self._ray.wait(list(handles), num_returns=1, timeout=LOOK_SECONDS)
        return list(done)

    def result(self, handle: Ref) -> Rows:
        """Result of a finished task."""
        actor = self._owner.pop(handle)
        try:
            rows: Rows = self._ray.get(handle)
        except self._ray.exceptions.RayTaskError:  # raised by our own code: no worker died
            raise
        except self._ray.exceptions.RayError:
            self._load.pop(actor, None)
            raise WorkerDiedError from None
        if actor in self._load:
            self._load[actor] -= 1
        return rows

    def mend(self) -> None:
        """Ask for as many actors as are wanted and not there."""
        for _ in range(self._wanted() - len(self._load) - len(self._coming)):
            actor = self._actor_class.remote(*self._arguments)
            self._coming[actor.is_up.remote()] = actor

    def close(self) -> None:
        """End the actors, and the connection if it was made here."""
        for actor in (*self._load, *self._coming.values()):
            self._ray.kill(actor)
        if self._is_ours:
            self._ray.shutdown()

    def _wanted(self) -> int:
        resources = self._ray.cluster_resources()
        return self._workers or max(1, int(resources.get("GPU" if self._gpu else "CPU", 0)))

    def _up(self) -> list[Ref]:
        if not self._coming:
            return []
        up: list[Ref] = self._ray.wait(list(self._coming), num_returns=len(self._coming), timeout=0.0)[0]
        return up

    def _welcome(self) -> None:
        """Take in actors that have come up; wait for the first where there is none."""
        patience = time.monotonic() + START_SECONDS
        while True:
            self.mend()
            for ref in self._up():
                actor = self._coming.pop(ref)
                try:
                    self._ray.get(ref)
                except self._ray.exceptions.RayError:
                    continue  # its node went while it came up
                self._load[actor] = 0
            if self._load:
                return
            if time.monotonic() > patience:
                kind = "GPU" if self._gpu else "CPU"
                raise InputError(
                    f"no worker came up on the Ray cluster within {START_SECONDS:.0f} s; is a {kind} free?"
                )
            time.sleep(0.1)


def _connected(address: str | None) -> tuple[Any, bool]:
    """Ray, connected, and whether that was done here."""
    try:
        import ray  # noqa: PLC0415  an extra, and slow to import
    except ImportError:
        raise InputError('the ray executor needs Ray: pip install "activation-sparsity[ray]"') from None
    if ray.is_initialized():
        return ray, False
    address = address or os.environ.get("RAY_ADDRESS")
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise InputError(f"no Ray cluster answers at {address} ({error.strerror or error})") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, **quiet) if address else ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cannot reach a Ray cluster at {address}: {str(error).splitlines()[0]}") from None
    return ray, True
