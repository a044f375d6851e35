"""From one link among two to two in a row: what a model that also follows links is taught, and when.

Following a link takes a circuit of two attention layers that appears all at once, and sooner where there is little to
confuse (two links) than where there is much (eight from the start). So the number of links grows over the first quarter
of training; chains of two links come when single links are learned, and both go on to the last fact.

That does not teach two hops: facts and chains together leave them at what recency gets. What does is practice, after
the last fact and without facts: one or two chains of two links for so long that the second hop appears, and only then
more and longer ones. The facts are not shown again, so their exposure stays what it is, but every further step makes
the model forget some of them; so practice ends as soon as there is hardly anything left to learn from it.
Everything is a function of the step and of a generator made from seed and step, so training can be taken up anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from probes.lab.links.episodes import Lesson, Shape, draw_lesson
from probes.lab.recipe import Recipe

MOST_LINKS: Final = 8
MOST_HOPS: Final = 2
LONGEST_CHAIN: Final = 4
MOST_FILLER: Final = 24


class Stage(NamedTuple):
    """Part of a curriculum, taught from some share of training on.

    Attributes:
        begins: share of the steps after which it begins.
        links: most separate links of an episode.
        chained: most links of an episode that has chains; none before those are begun.
        filler: most filler words before the links, and as many after them.
    """

    begins: float
    links: int
    chained: int
    filler: int


STAGES: Final = (
    Stage(0.00, 2, 0, 0),
    Stage(0.09, 4, 0, 0),
    Stage(0.14, 6, 0, 4),
    Stage(0.18, 8, 0, 8),
    Stage(0.22, 8, 4, 12),
    Stage(0.38, 8, 6, MOST_FILLER),
    Stage(0.50, 8, MOST_LINKS, MOST_FILLER),
)
CHAINED_SHARE: Final = 0.6


class Drill(NamedTuple):
    """Exercise, practised from some share of the practice on.

    Attributes:
        begins: share of the most steps of practice after which it begins.
        chains: most chains of an episode.
        links: most links of a chain; at least two.
    """

    begins: float
    chains: int
    links: int


DRILLS: Final = (Drill(0.0, 2, 2), Drill(0.4, 4, 3))
SINGLE_SHARE: Final = 0.2
ENOUGH: Final = 0.02
"""Mean loss in nats, over `WINDOW` steps, at which practice ends."""
WINDOW: Final = 50


def draw_shape(rng: np.random.Generator, progress: float) -> Shape:
    """The shape of the episodes of one step.

    Args:
        rng: where it is drawn from.
        progress: share of the training steps that are done, from 0 to 1.

    >>> draw_shape(np.random.default_rng(0), 0.0)
    Shape(chains=2, links=1, before=0, after=0)
    """
    stage = [each for each in STAGES if each.begins <= progress][-1]
    before, after = (draw_count(rng, stage.filler) for _ in range(2))
    if stage.chained and rng.random() < CHAINED_SHARE:
        length = int(rng.integers(2, LONGEST_CHAIN + 1))
        return Shape(int(rng.integers(1, max(stage.chained // length, 1) + 1)), length, before, after)
    return Shape(int(rng.integers(2, stage.links + 1)), 1, before, after)


def draw_drill(rng: np.random.Generator, progress: float) -> Shape:
    """The shape of the episodes of one step of practice; now and then separate links, so that they are not unlearned.

    Args:
        rng: where it is drawn from.
        progress: share of the practice that is done, from 0 to 1.
    """
    drill = [each for each in DRILLS if each.begins <= progress][-1]
    if rng.random() < SINGLE_SHARE:
        before, after = (draw_count(rng, MOST_FILLER) for _ in range(2))
        return Shape(int(rng.integers(2, MOST_LINKS + 1)), 1, before, after)
    chains, links = int(rng.integers(1, drill.chains + 1)), int(rng.integers(2, drill.links + 1))
    return Shape(min(chains, MOST_LINKS // links), links)


def learned(losses: Sequence[float], practice: int) -> bool:
    """True where practice may end: at the last drill for `WINDOW` steps, with a mean loss below `ENOUGH` over them.

    Args:
        losses: of the steps of practice so far.
        practice: most steps.
    """
    at_last_drill = len(losses) - DRILLS[-1].begins * practice
    return at_last_drill >= WINDOW and sum(losses[-WINDOW:]) < ENOUGH * WINDOW


def draw_count(rng: np.random.Generator, most: int) -> int:
    """From 0 to `most`, small counts more often than large ones: evenly on a log scale."""
    return int((most + 2) ** rng.random()) - 1


def draw_lessons(recipe: Recipe, step: int, n_presenting: int) -> list[Lesson]:
    """The episodes of one step, all of one shape.

    Args:
        recipe: says how many, how long practice is, and from which seed.
        step: counted from 1.
        n_presenting: steps that present facts; those after them are practice.
    """
    rng = np.random.default_rng([recipe.seed, step])
    if step <= n_presenting:
        shape = draw_shape(rng, (step - 1) / n_presenting)
    else:
        shape = draw_drill(rng, (step - 1 - n_presenting) / recipe.practice)
    return [draw_lesson(rng, shape, most_hops=MOST_HOPS) for _ in range(recipe.lessons)]
