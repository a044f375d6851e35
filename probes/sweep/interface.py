"""Interface between a sweep and whoever runs it: options, progress, result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of running a sweep; none of them changes what is measured beyond rounding.

    Attributes:
        device: where models are put.
        batch_size: items per batch; None for as many as a token budget allows.
        retry_failed: run items again whose failure is recorded.
        workers: processes that each load the model and measure batches side by side; None: one locally, and one per
            CPU (or GPU, on devices ``cuda``) of a Ray cluster.
        executor: ``local``, or ``ray`` for the workers of a Ray cluster.
        address: of the cluster's head; None: what RAY_ADDRESS says, or a cluster on this machine.
        shard: which share of the items, ``(index, count)``; written to a folder of its own.
    """

    device: str = "cpu"
    batch_size: int | None = None
    retry_failed: bool = False
    workers: int | None = None
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    shard: tuple[int, int] | None = None

    @property
    def in_process(self) -> bool:
        """True where the driver itself measures, so that states can be handed over to the controls."""
        return self.executor == "local" and self.workers in (None, 1)


class Progress(NamedTuple):
    """State of a stage of work: a sweep's measuring over all runs, the controls of one, or the bytes of files.

    Attributes:
        n_done: steps behind it.
        n_items: steps in all.
        run: the run it is at.
        unit: what a step is.
        at_most: seconds after which the stage stops by itself; infinite where it does not.
        values: means of the primary measures so far, by name.
    """

    n_done: int
    n_items: int
    run: str
    unit: Literal["items", "control cells", "bytes", "tokens", "steps", "epochs", "arms"] = "items"
    at_most: float = math.inf
    values: Mapping[str, float] = MappingProxyType({})


class Seconds(NamedTuple):
    """Time of a sweep by kind of work.

    Attributes:
        survey: loading models, reading suites, planning.
        encode: tokenising, summed over workers.
        model: forward passes with metrics, summed over workers.
        controls: the last stage, in the driver, with the writing of its one commit per run.
        store: writing and syncing.
        total: by the clock.
    """

    survey: float
    encode: float
    model: float
    controls: float
    store: float
    total: float


class SweepResult(NamedTuple):
    """Result of a sweep.

    Attributes:
        directory: where the tables are.
        n_measured: items measured by this call.
        n_failed: items that are failures now, whichever call recorded them.
        n_filtered: items left out because they are shorter than ``min_tokens``.
        interrupted: whether it was told to stop before all was done.
        seconds: where the time went.
        n_truncated: items measured by this call whose text was cut to ``max_tokens``.
        n_control: items measured by this call whose text spells out special tokens, read as control tokens.
        n_values: values of metrics recorded by this call, those of single tokens left out.
        n_undefined: those of them that are NaN: a state was not finite, or there was no token to average.
    """

    directory: Path
    n_measured: int
    n_failed: int
    n_filtered: int
    interrupted: bool
    seconds: Seconds
    n_truncated: int = 0
    n_control: int = 0
    n_values: int = 0
    n_undefined: int = 0
