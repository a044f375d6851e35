"""A suite: a generator of examples on an axis that says which end is harder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from probes.suites import Example, suite
from probes.vocabulary.axes import Axis

STEPS = Axis(name="countdown_steps", unit="numbers already counted", kind="length", harder="higher")


@suite(version=1, axis=STEPS, source="sparsity-example")
def countdown(rng: np.random.Generator) -> Iterator[Example]:
    """Count down from a random number; the level is how many numbers stand in the prompt."""
    for steps in (2, 4, 8):
        for number in range(8):
            start = int(rng.integers(20, 90))
            said = ", ".join(str(start - step) for step in range(steps))
            yield Example(id=f"{steps}-{number}", text=f"{said},", target=f" {start - steps}", level=steps)
