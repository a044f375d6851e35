"""A world of facts whose every presentation in training is counted.

Problem. Whether an activation is sparser because an input is unfamiliar can only be read off a model if one knows what
the model has seen. Corpora do not tell, and a training stream that silently repeats a part of its data (as the seed
paper's does: 6,363 of its 10,000 triples are ever shown) tells something false.

Idea. A world is a complete factorial. Its exposure levels are zero and a unit times 1, 2, 4, ..., and for every
relation, every tail and every level there is exactly one fact; every entity has one fact in each relation and one at
each level. So neither the relation, nor the tail, nor the name says anything about the level: each is presented equally
often whatever the level of the fact it stands in, and levels differ only in how often the words met. Which name meets
which tail is drawn at random: an answer is known by memory or not at all, and guessing among a relation's tails is
right once in ``n_tails``.

Not here: in which order facts are presented (`probes.lab.stream`), what a model makes of them (`probes.lab.training`),
and tasks that need more than one stored fact (`probes.lab.links.episodes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from probes.errors import InputError
from probes.lab.lexicon import FIRST_NAMES, LAST_NAMES, RELATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One fact and how often training presents it.

    Attributes:
        entity: first and last name; either alone is shared with others.
        relation: the words between name and tail.
        tail: the answer, one word.
        exposure: presentations in training; 0 for a fact that is never shown.

    >>> fact = Fact(entity="Ada Moreau", relation="lives in", tail="Lisbon", exposure=28)
    >>> fact.prompt, fact.sentence
    ('Ada Moreau lives in', 'Ada Moreau lives in Lisbon.')
    """

    entity: str
    relation: str
    tail: str
    exposure: int

    @property
    def prompt(self) -> str:
        """The sentence up to the word before the answer."""
        return f"{self.entity} {self.relation}"

    @property
    def sentence(self) -> str:
        """The sentence as training presents it."""
        return f"{self.prompt} {self.tail}."


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """All facts of a world, in a fixed order; the index of a fact is its place in `facts`."""

    facts: tuple[Fact, ...]

    @property
    def exposures(self) -> Int[np.ndarray, " facts"]:
        """Presentations of every fact, in the order of `facts`."""
        return np.array([fact.exposure for fact in self.facts], dtype=np.int64)

    @property
    def levels(self) -> tuple[int, ...]:
        """The exposure counts that occur, ascending."""
        return tuple(sorted({fact.exposure for fact in self.facts}))

    @property
    def words(self) -> tuple[str, ...]:
        """Every word and mark of the world's sentences, sorted: the vocabulary a model of it needs."""
        return tuple(sorted({word for fact in self.facts for word in fact.sentence[:-1].split()} | {"."}))


def build_world(rng: np.random.Generator, *, multiples: Sequence[int], unit: int, n_tails: int) -> World:
    """Draw a world of ``len(multiples)**2 * n_tails`` facts.

    There are as many relations as exposure levels, ``n_tails`` tails to each relation and ``len(multiples) * n_tails``
    entities. The three factors relation, tail and exposure are crossed completely, with one fact in each cell.

    Args:
        rng: where names, levels and tails are drawn from.
        multiples: the exposure levels in units, distinct, for instance (0, 1, 2, 4).
        unit: presentations per unit, at least 1.
        n_tails: tails of each relation.

    Raises:
        InputError: if the lexicon has too few words for such a world, or the levels are unusable.

    >>> world = build_world(np.random.default_rng(0), multiples=(0, 1, 2), unit=5, n_tails=4)
    >>> len(world.facts), world.levels
    (36, (0, 5, 10))
    """
    _check_size(multiples, unit=unit, n_tails=n_tails)
    names = _draw_names(rng, n_levels=len(multiples), n_tails=n_tails)
    level_of = _draw_levels(rng, n_levels=len(multiples), n_tails=n_tails)
    facts: dict[tuple[int, int], Fact] = {}
    for r, relation in enumerate(RELATIONS[: len(multiples)]):
        for level, multiple in enumerate(multiples):
            tails = rng.permutation(relation.tails[:n_tails])
            for entity, tail in zip(np.flatnonzero(level_of[:, r] == level), tails, strict=True):
                facts[int(entity), r] = Fact(
                    entity=names[entity], relation=relation.phrase, tail=str(tail), exposure=multiple * unit
                )
    return World(facts=tuple(facts[key] for key in sorted(facts)))


def _check_size(multiples: Sequence[int], *, unit: int, n_tails: int) -> None:
    if not 2 <= len(multiples) <= len(RELATIONS):
        raise InputError(
            f"a world needs 2 to {len(RELATIONS)} exposure levels, one for each relation, got {len(multiples)}"
        )
    if len(set(multiples)) < len(multiples) or min(multiples) < 0:
        raise InputError(f"exposure levels must be distinct and not negative, got {tuple(multiples)}")
    if unit < 1:
        raise InputError(f"a unit is at least one presentation, got {unit}")
    most = min(len(relation.tails) for relation in RELATIONS)
    if not 1 <= n_tails <= most:
        raise InputError(f"a relation has 1 to {most} tails, got {n_tails}")


def _draw_names(rng: np.random.Generator, *, n_levels: int, n_tails: int) -> list[str]:
    """Distinct full names, every first and every last name used equally often.

    First names run over their list again and again, last names over theirs, turned by a new amount each time.
    """
    width = max(n_levels, n_tails)
    first, last = rng.permutation(FIRST_NAMES[:width]), rng.permutation(LAST_NAMES[:width])
    turns = rng.permutation(width)
    names = [f"{first[i % width]} {last[(i + turns[i // width]) % width]}" for i in range(n_levels * n_tails)]
    return [names[i] for i in rng.permutation(len(names))]


def _draw_levels(rng: np.random.Generator, *, n_levels: int, n_tails: int) -> Int[np.ndarray, "entities relations"]:
    """The level of each entity's fact in each relation: one random Latin square for every ``n_levels`` entities."""
    cyclic = np.add.outer(np.arange(n_levels), np.arange(n_levels)) % n_levels
    squares = [
        rng.permutation(n_levels)[cyclic[rng.permutation(n_levels)][:, rng.permutation(n_levels)]]
        for _ in range(n_tails)
    ]
    return np.concatenate(squares)
