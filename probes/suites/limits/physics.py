"""Physics: a thing whose container was carried and tipped over, against a thing that one sentence moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from probes.suites.example import Example, suite
from probes.suites.limits.stories import NAMES, Asked, Story, ask
from probes.vocabulary.axes import AXES

ROOMS: Final = ("attic", "cellar", "garden", "kitchen")
THINGS: Final = ("coin", "key", "marble", "nut", "pearl", "ring", "shell", "stamp")
CONTAINERS: Final = ("bag", "basket", "bowl", "box", "bucket", "cup", "jar", "tin")
LEVELS: Final = range(2, 6)
TIPPED: Final = 0.5  # share of stories in which the container is tipped over on its way


@suite(version=1, axis=AXES["physical"], source="made here")
def physics(rng: np.random.Generator) -> Iterator[Example]:
    """A thing in a container that is carried two to five times: where it was taken first (words), where it is (things).

    What is in a container goes where it goes, until it is tipped over: then it stays where that happened.
    """
    return ask(rng, tell, levels=LEVELS, n_choices=len(ROOMS), world="things")


def tell(rng: np.random.Generator, level: int, of_words: int, of_world: int) -> Story | None:
    """A container carried through rooms, from a given first one; the thing ends in another given one."""
    route = [of_words]
    while len(route) < level:
        route.append(int(rng.choice([room for room in range(len(ROOMS)) if room != route[-1]])))
    tipped = int(rng.integers(level)) if rng.random() < TIPPED else None
    if route[-1 if tipped is None else tipped] != of_world:
        return None
    thing, container = THINGS[rng.integers(len(THINGS))], CONTAINERS[rng.integers(len(CONTAINERS))]
    who = [NAMES[int(index)] for index in rng.permutation(len(NAMES))]
    told = [f"{who[0]} puts the {thing} into the {container}."]
    for number, room in enumerate(route):
        told.append(f"{who[number + 1]} carries the {container} to the {ROOMS[room]}.")
        told += [f"{who[number + 1]} tips the {container} over."] if number == tipped else []
    return Story(
        " ".join(told),
        ROOMS,
        Asked(f"Where was the {container} carried first?", of_words),
        Asked(f"Where is the {thing} at last?", of_world),
    )
