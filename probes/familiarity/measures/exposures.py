"""Exposures of an input in the laboratory's training: the count that every other measure is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from probes.familiarity.definitions import Values, familiarity
from probes.lab.world import World


@dataclass(frozen=True, slots=True, eq=False)
class WorldEvidence:
    """A prompt and what the laboratory knows of it.

    Attributes:
        prompt: the text before the answer.
        exposures: presentations of every fact, by prompt.
    """

    prompt: str | None
    exposures: Mapping[str, int]


def exposures_of(world: World) -> dict[str, int]:
    """Presentations of every fact of a world, by prompt."""
    return {fact.prompt: fact.exposure for fact in world.facts}


@familiarity(
    version=1,
    familiar="higher",
    needs="world",
    unit="presentations in training",
    proxy="nothing: it is the number itself",
    fails="knows the laboratory's facts only, and counts facts, not the words they share",
    source="probes.lab.world",
)
def exposure(evidence: WorldEvidence) -> Values:
    """Presentations of the fact in training: 0 for a fact that was held out; NaN for what is no fact of the world."""
    found = None if evidence.prompt is None else evidence.exposures.get(evidence.prompt)
    return Values(math.nan, None, "not a fact of this world") if found is None else Values(float(found))
