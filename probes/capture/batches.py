"""Which prompts run together.

Prompts are sorted by length so that little of a batch is padding, and cut into batches of at most so many padded
tokens. The plan depends on the lengths alone, so a resumed sweep runs the batches it planned; results are put back in
input order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from probes.errors import InputError

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
