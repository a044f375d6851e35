"""Stream of training: a list of facts, each exactly as often as the world says.

The stream is drawn once and gone through once, so it can be counted to the last presentation. Two twins change one
thing about it. *Shuffled answers*: every prompt is read as often as before, but followed by the tail of some fact of
the same relation, so that there is nothing to know; what exposure does then, it does without knowledge. *Early and
late*: one half of the facts of each level has all its presentations in the first half of training, the other half in
the second; how often and how recently a fact was seen are then independent, which in random order they are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from probes.lab.recipe import Answers, Order
from probes.lab.world import World

Presentations = Int[np.ndarray, " presentations"]


def draw_stream(world: World, rng: np.random.Generator, *, order: Order = "random") -> Presentations:
    """The training stream: indices into ``world.facts``, each fact exactly ``exposure`` times.

    >>> from probes.lab.world import build_world
    >>> world = build_world(np.random.default_rng(0), multiples=(0, 1), unit=3, n_tails=2)
    >>> stream = draw_stream(world, np.random.default_rng(1))
    >>> len(stream), int(world.exposures.sum())
    (12, 12)
    """
    if order == "random":
        return rng.permutation(np.repeat(np.arange(len(world.facts)), world.exposures))
    early = _half_of_each_level(world, rng)
    halves = (np.flatnonzero(early), np.flatnonzero(~early))
    return np.concatenate([rng.permutation(np.repeat(half, world.exposures[half])) for half in halves])


def draw_answers(world: World, stream: Presentations, rng: np.random.Generator, *, answers: Answers) -> Presentations:
    """The fact whose tail follows each presented prompt: the fact itself, or some fact of the same relation.

    Shuffled, every tail is shown exactly as often as with true answers.
    """
    if answers == "true":
        return stream
    relations = np.array([fact.relation for fact in world.facts])[stream]
    shown = stream.copy()
    for relation in np.unique(relations):
        places = np.flatnonzero(relations == relation)
        shown[places] = rng.permutation(stream[places])
    return shown


def count_presentations(stream: Presentations, n_facts: int) -> Int[np.ndarray, " facts"]:
    """Count the occurrences of each of ``n_facts`` facts in a stream of fact indices.

    >>> count_presentations(np.array([2, 0, 2]), 4).tolist()
    [1, 0, 2, 0]
    """
    return np.bincount(stream, minlength=n_facts)


def split_batches(stream: Presentations, batch_size: int) -> Iterator[Presentations]:
    """Consecutive batches of the stream; the last one holds what is left, so that nothing is dropped.

    >>> [batch.tolist() for batch in split_batches(np.array([5, 6, 7]), 2)]
    [[5, 6], [7]]
    """
    for start in range(0, len(stream), batch_size):
        yield stream[start : start + batch_size]


def _half_of_each_level(world: World, rng: np.random.Generator) -> Bool[np.ndarray, " facts"]:
    chosen = np.zeros(len(world.facts), bool)
    for level in world.levels:
        places = rng.permutation(np.flatnonzero(world.exposures == level))
        chosen[places[: len(places) // 2]] = True
    return chosen
