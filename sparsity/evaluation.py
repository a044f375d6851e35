"""Run formulas over a batch: cache-sized blocks, one pass, several threads if asked, and the rule for undefined values.

Problem: a batch of a million vectors must not be copied, promoted or sorted whole. Idea: walk over blocks of at most
``BLOCK_ROWS`` rows that fit the second-level cache, build the shared quantities of a block once, run every formula on
it, and keep one float64 per vector and measure. A vector with a NaN or an infinity gives NaN in its own slot; a zero
vector gives what the measure declares for it. Threads work on whole blocks, so their number changes no bit.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.arrays import A, Column, Rows, as_rows, promoted
from sparsity.vectors import Vectors

BLOCK_ROWS = 1024
# 2^17 float32 numbers are 512 KiB: a block with its order and logarithms stays near a 1 to 2 MiB second-level cache.
# Halving or cache. doubling it was slower by 5 to 30 % at d = 768 and 4096 (AVX-512, two cores).
BLOCK_NUMBERS = 1 << 17


class Job(NamedTuple):
    """One formula with its parameters bound, and what it promises about undefined input."""

    name: str
    formula: Callable[[Vectors], Column]
    at_zero: float | None
    min_width: int


def evaluate(x: A, jobs: Sequence[Job], threads: int = 1) -> list[A]:
    """Apply every job to the vectors on the last axis of ``x``; the results come in the order of the jobs."""
    if not jobs:
        return []
    widest = max(jobs, key=lambda job: job.min_width)
    batch = as_rows(x, widest.name, widest.min_width)
    if batch.is_tensor and cast("Any", x).device.type != "cpu":
        from sparsity.accelerator import evaluate_on_device  # noqa: PLC0415 -- only where there is a device

        return cast("list[A]", evaluate_on_device(batch, jobs))
    columns = _evaluate_on_cpu(batch, jobs, threads)
    shaped = [column.reshape(batch.shape) for column in columns]
    if batch.is_tensor:
        torch: Any = sys.modules["torch"]
        return [cast("A", torch.from_numpy(values)) for values in shaped]
    return [cast("A", values[()]) for values in shaped]


def _evaluate_on_cpu(batch: Rows, jobs: Sequence[Job], threads: int) -> list[NDArray[np.float64]]:
    rows = cast("Any", batch.rows)
    count = rows.shape[0]
    step = max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // batch.width))
    columns = [np.empty(count) for _ in jobs]

    def fill(start: int) -> None:
        part = slice(start, min(start + step, count))
        # An undefined value is NaN by rule (below), so numpy need not warn about how it came to be.
        with np.errstate(all="ignore"):
            vectors = Vectors(promoted(rows[part]))
            for job, column in zip(jobs, columns, strict=True):
                column[part] = defined(vectors, job)

    starts = range(0, count, step)
    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            list(pool.map(fill, starts))
    else:
        for start in starts:
            fill(start)
    return columns


def defined(vectors: Vectors, job: Job) -> Column:
    """Evaluate a job on a block; zero vectors give ``at_zero`` if it is stated, non-finite ones NaN."""
    where = vectors.fn.where
    values = job.formula(vectors)
    if job.at_zero is not None:
        values = where(vectors.zero, job.at_zero, values)
    return where(vectors.finite, values, float("nan"))
