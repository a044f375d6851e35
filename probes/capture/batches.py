"""Batches of prompts of similar length, and smaller ones where memory runs out or a prompt fails.

Prompts are sorted by length so that little of a batch is padding, and cut into batches of at most so many padded
tokens. On a CPU that number is fixed: more do not pay. On an accelerator it grows: passes over copies of the longest
prompt, each twice as large as the one before, are tried until memory runs out, before anything is planned. The plan
then depends on lengths and that number alone, so a resumed sweep runs the batches it planned; results are put back in
input order.

A batch that memory does not hold after all is halved, and so are those after it, and a warning says so. Where one bad
prompt must not cost the others (sweeps), a batch that fails for any other reason is halved too, until the bad one
is alone.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
import torch

from probes.errors import InputError
from probes.models.hooks import CaptureError

T = TypeVar("T")
BatchSize = int | Literal["auto"]
# GPT-2's size on one CPU thread, ms per token of passes of 256, 512, 1024, 2048, 4096, 8192 tokens, the better of two
# rounds: 2.12, 2.05, 2.06, 1.96, 2.26, 2.30; and one of 2048 fits beside any model that the machine can hold
TOKENS_AT_ONCE: Final = 2048
PROMPTS_AT_ONCE: Final = 64  # of every TOKENS_AT_ONCE: short prompts cost more per token outside the model
MOST_TOKENS: Final = 1 << 16  # of a pass that has grown; an accelerator is busy long before


def plan_batches(
    lengths: Sequence[int], batch_size: BatchSize = "auto", tokens: int = TOKENS_AT_ONCE
) -> list[list[int]]:
    """Group prompts into batches of similar length.

    Args:
        lengths: tokens of each prompt.
        batch_size: prompts per batch; ``auto`` fills batches up to a number of padded tokens.
        tokens: that number.

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
            size = prompts_at_once(lengths[index], tokens) if batch_size == "auto" else batch_size
            batches.append([])
        batches[-1].append(index)
    return batches


def prompts_at_once(longest: int, tokens: int = TOKENS_AT_ONCE) -> int:
    """Number of prompts of a length that fill a pass of so many tokens; at least one.

    >>> prompts_at_once(100), prompts_at_once(5), prompts_at_once(5, 4096), prompts_at_once(4096)
    (20, 64, 128, 1)
    """
    return max(1, min(PROMPTS_AT_ONCE * tokens // TOKENS_AT_ONCE, tokens // max(longest, 1)))


def tokens_at_once(longest: int, wanted: int, device: torch.device, run: Callable[[int], object]) -> int:
    """Number of padded tokens in a pass: fixed on a CPU, on an accelerator the most that its memory holds when tried.

    Args:
        longest: tokens of the longest prompt.
        wanted: tokens of all prompts; no pass need be larger.
        device: where the model is.
        run: makes a pass over so many prompts of that length.

    Returns:
        :data:`TOKENS_AT_ONCE`, or a power of two times as many: the largest that was held, at most
        :data:`MOST_TOKENS`. Memory may still run out, because another process takes some; then batches are halved.
    """
    tokens = TOKENS_AT_ONCE
    if device.type == "cpu":
        return tokens
    while tokens < min(wanted, MOST_TOKENS):
        try:
            run(prompts_at_once(longest, 2 * tokens))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        tokens *= 2
    return tokens


def run_batches(
    lengths: Sequence[int], batch_size: BatchSize, device: torch.device, run: Callable[[Sequence[int]], T]
) -> Iterator[tuple[Sequence[int], T]]:
    """Run prompts in planned batches, in smaller ones from where memory does not hold the planned.

    Args:
        lengths: tokens of each prompt.
        batch_size: as :func:`plan_batches` takes it.
        device: where the model is.
        run: reads the prompts of some indices in one pass; of no effect, for passes that are tried are thrown away.

    Yields:
        The indices of each batch and what was read of them.

    Raises:
        CaptureError: if even one prompt alone does not fit.
    """
    tokens = TOKENS_AT_ONCE
    if batch_size == "auto" and lengths:
        first = int(np.argmax(lengths))
        tokens = tokens_at_once(lengths[first], sum(lengths), device, lambda count: run([first] * count))
    room = Room()
    for planned in plan_batches(lengths, batch_size, tokens):
        for indices, found in room.run(planned, run):
            if isinstance(found, Failed):
                longest = lengths[indices[0]]
                raise CaptureError(f"out of memory on one prompt of {longest} tokens; set max_tokens")
            yield indices, found


class Failed(NamedTuple):
    """Reason that a pass over one prompt alone gave nothing."""

    error: Exception


class Room:
    """Largest number of prompts that a pass may hold, lowered when memory runs out; one for all passes of a reader."""

    def __init__(self) -> None:
        self._most: int | None = None

    def run(
        self, indices: Sequence[int], run: Callable[[Sequence[int]], T], *, isolate: bool = False
    ) -> Iterator[tuple[Sequence[int], T | Failed]]:
        """Run some prompts together, in halves where memory does not hold them.

        Args:
            indices: which.
            run: reads the prompts of some indices in one pass.
            isolate: halve on every fault, until a bad prompt stands alone.

        Yields:
            The indices of each pass, in order, and what was read of them or why nothing was.
        """
        waiting = deque(self._parts(indices))
        while waiting:
            own = waiting.popleft()
            try:
                found = run(own)
            except Exception as error:  # whatever a model raises is a fault of its prompts, found by halving
                is_full = is_out_of_memory(error)
                if not (isolate or is_full):
                    raise
                fault = error.with_traceback(None)  # which would keep the tensors of the failed pass
            else:
                yield own, found
                continue
            if len(own) == 1:
                yield own, Failed(fault)
                continue
            half = (len(own) + 1) // 2
            if is_full:
                warnings.warn(f"out of memory on a batch of {len(own)} prompts; reading {half} at a time", stacklevel=3)
                self._most = half
                waiting = deque(part for left in (own, *waiting) for part in self._parts(left))
            else:
                waiting.extendleft((own[half:], own[:half]))

    def _parts(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        size = self._most or max(len(indices), 1)
        return (indices[at : at + size] for at in range(0, len(indices), size))


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error says that an accelerator or the host ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
