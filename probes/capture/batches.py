"""Which prompts run together.

Prompts are sorted by length so that little of a batch is padding, and cut into batches of at most so many padded
tokens. The plan depends on the lengths alone, so a resumed sweep runs the batches it planned; results are put back in
input order. Memory that does not suffice halves the plan from that batch on, and says so.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeVar

import numpy as np
import torch

from probes.capture.watching import CaptureError
from probes.errors import InputError

T = TypeVar("T")
BatchSize = int | Literal["auto"]
TOKENS_AT_ONCE: Final = (
    2048  # a CPU gains nothing from larger batches, and one of these fits beside any model it can hold
)
PROMPTS_AT_ONCE: Final = 64


def plan_batches(lengths: Sequence[int], batch_size: BatchSize = "auto") -> list[list[int]]:
    """Group prompts into batches of similar length.

    Args:
        lengths: tokens of each prompt.
        batch_size: prompts per batch; ``auto`` fills batches up to a number of padded tokens.

    Returns:
        Indices of the prompts of each batch, longest first: if memory does not suffice, the first batch says so.

    Raises:
        InputError: if the batch size is not positive.

    >>> plan_batches([3, 9, 3], batch_size=2)
    [[1, 0], [2]]
    """
    if batch_size != "auto" and batch_size < 1:
        raise InputError(f"batch size must be auto or at least 1, not {batch_size}")
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches: list[list[int]] = []
    size = 0
    for index in map(int, order):
        if not batches or len(batches[-1]) >= size:
            auto = max(1, min(PROMPTS_AT_ONCE, TOKENS_AT_ONCE // max(lengths[index], 1)))
            size = auto if batch_size == "auto" else batch_size
            batches.append([])
        batches[-1].append(index)
    return batches


def run_batches(
    lengths: Sequence[int], batch_size: BatchSize, run: Callable[[Sequence[int]], T]
) -> Iterator[tuple[Sequence[int], T]]:
    """Run prompts in planned batches, in smaller ones from where memory does not hold the planned.

    Args:
        lengths: tokens of each prompt.
        batch_size: as :func:`plan_batches` takes it.
        run: reads the prompts of some indices in one pass.

    Yields:
        The indices of each batch and what was read of them.

    Raises:
        CaptureError: if even one prompt alone does not fit.
    """
    waiting = deque(plan_batches(lengths, batch_size))
    while waiting:
        indices = waiting.popleft()
        try:
            found = run(indices)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            yield indices, found
            continue
        # past the except clause, or the traceback would keep the tensors of the failed pass
        if len(indices) == 1:
            raise CaptureError(f"out of memory on one prompt of {lengths[indices[0]]} tokens; set max_tokens")
        half = (len(indices) + 1) // 2
        warnings.warn(f"out of memory on a batch of {len(indices)} prompts; reading {half} at a time", stacklevel=3)
        waiting = deque(own[at : at + half] for own in (indices, *waiting) for at in range(0, len(own), half))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator, or the host, had no room."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
