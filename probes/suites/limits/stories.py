"""Two questions about one story: one that the words answer, one that needs what the words are about.

Both questions have as many words, the same choices and the same story before them, so that what differs is what is
asked. The question about words is the split ``in``, the other one ``shifted``; the story is the cluster, so that every
comparison is paired. A story has as many right answers of each kind at every place of the list of choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from probes.suites.example import Example

WORDS: Final = "words"
PER_LEVEL: Final = 32  # every pair of right answers to the two questions equally often, with two choices or four
NAMES: Final = ("Ada", "Ben", "Eva", "Ida", "Kim", "Leo", "Max", "Mia", "Sam", "Tom")


class Asked(NamedTuple):
    """A question and the place of its right answer among the choices of its story."""

    question: str
    right: int


class Story(NamedTuple):
    """A story with its two questions.

    Attributes:
        text: what happens.
        choices: possible answers to either question.
        words: what the text says literally.
        world: what follows from it.
    """

    text: str
    choices: tuple[str, ...]
    words: Asked
    world: Asked


Tell = Callable[[np.random.Generator, int, int, int], Story | None]
"""Tells a story of some difficulty whose right answers stand at these two places; None where chance gave none."""


def ask(rng: np.random.Generator, tell: Tell, *, levels: range, n_choices: int, world: str) -> Iterator[Example]:
    """Both questions of as many different stories at every level, right answers balanced over the choices.

    Args:
        rng: the source of chance.
        tell: tells a story.
        levels: how many steps stories have.
        n_choices: how many choices they offer.
        world: what the second question is about, as the groups of a report are called.
    """
    seen: set[str] = set()
    for level in levels:
        for number in range(PER_LEVEL):
            of_words, of_world = number % n_choices, (number // n_choices) % n_choices
            story = None
            while story is None or story.text in seen:
                story = tell(rng, level, of_words, of_world)
            seen.add(story.text)
            cluster = f"{level}-{number:02d}"
            for about, asked in ((WORDS, story.words), (world, story.world)):
                yield Example(
                    id=f"{cluster}-{about}",
                    text=f"{story.text}\nQuestion: {asked.question}\nAnswer:",
                    target=story.choices[asked.right],
                    choices=story.choices,
                    right=asked.right,
                    split="in" if about == WORDS else "shifted",
                    level_name=about,
                    cluster=cluster,
                    attrs=(("steps", str(level)),),
                )
