"""The one suite whose familiarity is known: facts that the reference model was shown a counted number of times.

Everything that usually travels with familiarity is held fixed by the design of the world (`probes.lab.world`): all
prompts have the same number of tokens, and each name, relation and answer is as frequent at one level as at another.
What varies is how often these words met in training, and what training made of it (how surely a fact is known, when it
was last seen), which is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from probes.lab import read_record, reference_path
from probes.suites.example import Axis, Example, suite


@suite(
    version=1,
    axis=Axis(name="exposure", unit="presentations in training", kind="familiarity", harder="lower"),
    source="made here: the world of the shipped reference model (probes/lab/reference/world.json)",
)
def lab_exposure(rng: np.random.Generator) -> Iterator[Example]:
    """Facts of the laboratory world, as its reference model met them; the level is the number of presentations.

    Facts that were presented in training are the ``in`` split, facts that never were the ``shifted`` one. The answer is
    the one word that completes the sentence.
    """
    del rng  # the world was drawn when the model was trained
    record = read_record(reference_path())
    for index, (fact, last_seen) in enumerate(zip(record.world.facts, record.last_seen, strict=True)):
        yield Example(
            id=f"fact-{index:04d}",
            text=fact.prompt,
            target=fact.tail,
            split="in" if fact.exposure else "shifted",
            level=float(fact.exposure),
            level_name=str(fact.exposure),
            attrs=(
                ("entity", fact.entity),
                ("relation", fact.relation),
                ("last_seen", "never" if last_seen is None else str(last_seen)),
            ),
        )
