"""Batches grow to an accelerator's memory before they are planned, and shrink, aloud, where it does not hold them."""

import pytest
import torch

from probes.capture.batches import (
    MOST_TOKENS,
    TOKENS_AT_ONCE,
    Failed,
    Room,
    plan_batches,
    prompts_at_once,
    run_batches,
    tokens_at_once,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LONGEST = 128


class Memory:
    """An accelerator that holds so many prompts of LONGEST tokens, and remembers what was asked of it."""

    def __init__(self, holds: int) -> None:
        self.holds, self.asked = holds, list[int]()

    def run(self, count: int) -> int:
        self.asked.append(count)
        if count > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return count


def test_a_pass_grows_until_memory_runs_out_and_keeps_what_was_held() -> None:
    memory = Memory(holds=100)
    assert tokens_at_once(LONGEST, 10**9, GPU, memory.run) == 4 * TOKENS_AT_ONCE
    assert memory.asked == [32, 64, 128]
    assert prompts_at_once(LONGEST, 4 * TOKENS_AT_ONCE) == 64 <= memory.holds


def test_a_pass_does_not_grow_beyond_the_work_nor_on_a_cpu_nor_for_ever() -> None:
    boundless = Memory(holds=10**9)
    assert tokens_at_once(LONGEST, 3000, GPU, boundless.run) == 2 * TOKENS_AT_ONCE
    assert tokens_at_once(LONGEST, 100, GPU, boundless.run) == TOKENS_AT_ONCE
    assert tokens_at_once(LONGEST, 10**9, GPU, boundless.run) == MOST_TOKENS
    boundless.asked.clear()
    assert tokens_at_once(LONGEST, 10**9, CPU, boundless.run) == TOKENS_AT_ONCE
    assert boundless.asked == []


def test_another_fault_of_a_trial_is_not_taken_for_memory() -> None:
    def broken(_: int) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        tokens_at_once(LONGEST, 10**9, GPU, broken)


def test_all_prompts_run_once_in_batches_that_have_grown() -> None:
    memory, lengths = Memory(holds=100), [LONGEST] * 150 + [10] * 50
    seen: list[int] = []
    for indices, _ in run_batches(lengths, "auto", GPU, lambda own: memory.run(len(own))):
        seen += indices
    assert sorted(seen) == list(range(200))
    assert memory.asked == [32, 64, 128, 64, 64, 64, 8]  # three trials, then the work
    assert [len(batch) for batch in plan_batches(lengths, "auto", 4 * TOKENS_AT_ONCE)] == memory.asked[3:]


def test_a_bad_prompt_stands_alone_and_memory_that_ran_out_is_remembered() -> None:
    def run(own: list[int]) -> int:
        if len(own) > 3:
            raise torch.OutOfMemoryError("no")
        if 5 in own:
            raise ValueError("bad")
        return len(own)

    room = Room()
    batches = (range(9), range(10, 16))
    with pytest.warns(UserWarning, match="out of memory") as said:
        found = [one for batch in batches for one in room.run(batch, run, isolate=True)]
    assert [str(warning.message) for warning in said] == [
        "out of memory on a batch of 9 prompts; reading 5 at a time",
        "out of memory on a batch of 5 prompts; reading 3 at a time",
    ]
    assert [index for own, _ in found for index in own] == [*range(9), *range(10, 16)]
    (bad,) = [(list(own), result) for own, result in found if isinstance(result, Failed)]
    assert bad[0] == [5]
    assert str(bad[1].error) == "bad"
    assert bad[1].error.__traceback__ is None
    with pytest.raises(ValueError, match="bad"):
        list(room.run(range(9), run))
