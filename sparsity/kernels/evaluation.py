"""Run formulas over a batch: cache-sized blocks, one pass, several threads if asked, and the rule for undefined values.

Problem: a batch of a million vectors must not be copied, promoted or sorted whole. Idea: walk over blocks of at most
``BLOCK_ROWS`` rows that fit the second-level cache, build the shared sums of a block once, and run every formula on the
sums of all blocks at the end (a formula that looks at coordinates themselves is run on each block instead). A vector
with a NaN or an infinity gives NaN in its own slot; a zero vector gives what the measure declares for it. Threads work
on whole blocks, so their number changes no bit.
"""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.accelerator import evaluate_on_device
from sparsity.kernels.arrays import A, Rows, as_rows, promoted, viewed
from sparsity.kernels.columns import Columns, sums_of
from sparsity.kernels.jobs import Job, defined
from sparsity.kernels.vectors import Scratch, Vectors

BLOCK_ROWS = 1024
# 2^16 float32 numbers need 1.5 MiB in all, and some forty calls of numpy whatever their number. Inside a forward pass
# half as many and twice as many were slower by up to 4 % (d = 576 and 1536, second-level cache of 2 MiB).
BLOCK_NUMBERS = 1 << 16

# Memory that is new to a process is handed over page by page, which cost up to a third of a call on half a megabyte of
# numbers. So each thread keeps its scratch, 1.5 MiB for float32 vectors and 1 MiB more for float64 ones.
_THREAD = threading.local()


def evaluate(x: A, jobs: Sequence[Job], threads: int = 1) -> list[A]:
    """Apply every job to the vectors on the last axis of ``x``; the results come in the order of the jobs."""
    if not jobs:
        return []
    widest = max(jobs, key=lambda job: job.min_width)
    batch = as_rows(x, widest.name, widest.min_width)
    if batch.is_tensor and cast("Any", x).device.type != "cpu":
        return cast("list[A]", evaluate_on_device(batch, jobs))
    columns = _evaluate_on_cpu(batch, jobs, threads)
    shaped = [column.reshape(batch.shape) for column in columns]
    if batch.is_tensor:
        torch: Any = sys.modules["torch"]
        return [cast("A", torch.from_numpy(values)) for values in shaped]
    return [cast("A", values[()]) for values in shaped]


def _evaluate_on_cpu(batch: Rows, jobs: Sequence[Job], threads: int) -> list[NDArray[np.float64]]:
    rows = cast("Any", viewed(batch.rows))
    count = rows.shape[0]
    step = max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // batch.width))
    needed = [sums_of(job.kernel, job.arguments) for job in jobs]
    sums = Columns(batch.width, dict.fromkeys(key for keys in needed for key in keys or ()), count)
    by_block = {index: np.empty(count) for index, keys in enumerate(needed) if keys is None}
    starts = range(0, count, step)
    walk = _Walk(rows, step, sums, [(jobs[index], column) for index, column in by_block.items()])
    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            list(pool.map(walk.over, [starts[first::threads] for first in range(threads)]))
    else:
        walk.over(starts)
    with np.errstate(all="ignore"):
        if not sums.divided:
            sums.divide()
        return [
            defined(sums, job, by_block[index] if index in by_block else job.formula(sums))
            for index, job in enumerate(jobs)
        ]


class _Walk(NamedTuple):
    """Blocks of rows, and where what is found in each goes: into the sums, or a column of a job of its own."""

    rows: Any
    step: int
    sums: Columns
    by_block: list[tuple[Job, NDArray[np.float64]]]

    def over(self, starts: Sequence[int]) -> None:
        """Take the blocks that begin at these rows, one after another."""
        count, width = self.rows.shape
        scratch = kept_scratch() if width <= BLOCK_NUMBERS else Scratch()
        # An undefined value is NaN by rule (`defined`), so numpy need not warn about how it came to be.
        with np.errstate(all="ignore"):
            for start in starts:
                part = slice(start, min(start + self.step, count))
                vectors = Vectors(promoted(self.rows[part]), scratch)
                self.sums.take(part, vectors)
                self.sums.divided = vectors.divided
                for job, column in self.by_block:
                    column[part] = job.formula(vectors)


def kept_scratch() -> Scratch:
    """The memory that this thread keeps from one walk to the next."""
    if not hasattr(_THREAD, "scratch"):
        _THREAD.scratch = Scratch()
    return _THREAD.scratch
