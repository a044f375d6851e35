"""The facts of a laboratory model, as its training met them; the level is how often each was presented.

Everything that usually travels with familiarity is held fixed by the design of the world (`probes.lab.world`): all
prompts have the same number of tokens, and each name, relation and answer is as frequent at one level as at another.

A sweep over checkpoints of several seeds asks each world of the models that were trained on it, and of no other::

    models: [seed-0/checkpoints/step-000000, seed-0, seed-1/checkpoints/step-000000, seed-1]
    suites:
      - {lab: seed-0, name: facts-0}
      - {lab: seed-1, name: facts-1}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from probes.errors import InputError
from probes.lab import TrainingRecord, read_record
from probes.lab.world import Fact, World
from probes.suites.example import Example, Suite
from probes.suites.sources.fields import Declared, digest
from probes.vocabulary.axes import AXES

EXPOSURE: Final = AXES["exposure"]


class LabSuite(Declared):
    """The facts of a laboratory model's world as a spec asks for them.

    Attributes:
        lab: directory of the model; relative to the spec.
    """

    lab: str

    def suite(self) -> Suite:
        """The suite; its version holds the hash of the world."""
        world = read_record(Path(self.lab)).world
        return Suite(
            name=self.name,
            version=f"1+world-{digest(json.dumps(asdict(world)).encode())}",
            axis=EXPOSURE,
            generate=self._examples,
            description=f"facts of the world of {self.lab}",
            source="made here: a world of the laboratory",
        )

    def concerns(self, model: str) -> bool:
        """True where a model was trained on this world; what another world holds means nothing to it."""
        try:
            return read_record(Path(model)).world == read_record(Path(self.lab)).world
        except InputError:
            return False

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        return facts_of(read_record(Path(self.lab)).world)


def facts_of(world: World) -> Iterator[Example]:
    """Every fact of a world, in its order; those that training presents are the ``in`` split."""
    for index, fact in enumerate(world.facts):
        yield example_of(index, fact)


def example_of(index: int, fact: Fact) -> Example:
    """One fact as an item; its id holds its place in ``world.facts``."""
    return Example(
        id=f"fact-{index:04d}",
        text=fact.prompt,
        target=fact.tail,
        split="in" if fact.exposure else "shifted",
        level=float(fact.exposure),
        level_name=str(fact.exposure),
        attrs=(("entity", fact.entity), ("relation", fact.relation)),
    )


def with_last_seen(record: TrainingRecord) -> Iterator[Example]:
    """The same, with the step at which each fact was last presented."""
    for index, (fact, seen) in enumerate(zip(record.world.facts, record.last_seen, strict=True)):
        found = example_of(index, fact)
        yield replace(found, attrs=(*found.attrs, ("last_seen", "never" if seen is None else str(seen))))
