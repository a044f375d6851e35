"""Geometry: a position after some walks, the sum of steps along two directions, against one walk that was told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from probes.suites.example import Example, suite
from probes.suites.limits.stories import NAMES, Asked, Story, ask
from probes.vocabulary.axes import AXES

DIRECTIONS: Final = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")
LEVELS: Final = range(3, 7)  # with two walks, one of them never goes across the direction that they lead to
FARTHEST: Final = 4  # steps of one walk
CANDIDATES: Final = 256  # about one in fifty stories ends straight in a given direction


@suite(version=1, axis=AXES["geometric"], source="made here")
def geometry(rng: np.random.Generator) -> Iterator[Example]:
    """Three to six walks from home: which way one of them went (words), and which way from home they lead (space)."""
    return ask(rng, tell, levels=LEVELS, n_choices=len(DIRECTIONS), world="space")


def tell(rng: np.random.Generator, level: int, of_words: int, of_world: int) -> Story | None:
    """Walks that end straight in a direction of the compass, one of which went in another given one."""
    names = list(DIRECTIONS)
    ways = rng.integers(len(names), size=(CANDIDATES, level))
    steps = rng.integers(1, FARTHEST + 1, size=(CANDIDATES, level))
    ends = (np.array(list(DIRECTIONS.values()))[ways] * steps[..., None]).sum(axis=1)
    along, across = ends @ DIRECTIONS[names[of_world]], ends @ DIRECTIONS[names[of_world]][::-1]
    fits = np.flatnonzero((along > 0) & (across == 0) & (ways == of_words).any(axis=1))
    if not len(fits):
        return None
    way, step = ways[fits[0]], steps[fits[0]]
    told = int(rng.choice(np.flatnonzero(way == of_words)))
    who = NAMES[rng.integers(len(NAMES))]
    walks = [f"{who} walks {n} {'step' if n == 1 else 'steps'} {names[to]}." for to, n in zip(way, step, strict=True)]
    return Story(
        f"{who} leaves home. {' '.join(walks)}",
        tuple(names),
        Asked(f"Which way did {who} walk {ORDINALS[told]}?", of_words),
        Asked(f"Which way from home is {who}?", of_world),
    )
