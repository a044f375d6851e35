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
from probes.suites.example import Example, suite
from probes.suites.laboratory.world_facts import EXPOSURE, with_last_seen


@suite(
    version=1,
    axis=EXPOSURE,
    source="made here: the world of the shipped reference model (probes/lab/reference/world.json)",
)
def lab_exposure(rng: np.random.Generator) -> Iterator[Example]:
    """Facts of the laboratory world, as its reference model met them; the level is the number of presentations.

    Facts that were presented in training are the ``in`` split, facts that never were the ``shifted`` one. The answer is
    the one word that completes the sentence.
    """
    del rng  # the world was drawn when the model was trained
    return with_last_seen(read_record(reference_path()))
