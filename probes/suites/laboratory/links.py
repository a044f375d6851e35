"""Difficulty without exposure: how many links, how many hops, how far away, in prompts that hold all they ask for.

Each suite turns one knob of `probes.lab.links.episodes` and holds the others fixed; within what the graded model was
taught items are the ``in`` split, beyond it ``shifted``. Where the knob also changes the length of a prompt, a
``_matched`` suite makes all levels equally long in words, which are tokens to a model of the laboratory, with filler
before the links, as the model met it in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from probes.lab.lexicon import RELATIONS, SYMBOLS
from probes.lab.links.curriculum import LONGEST_CHAIN, MOST_FILLER, MOST_HOPS, MOST_LINKS
from probes.lab.links.episodes import Episode, Question, Shape, draw_episode
from probes.suites.example import Example, paired_suites
from probes.vocabulary.axes import AXES

PER_LEVEL: Final = 200
SOURCE: Final = "made here: links between symbols (probes/lab/links/episodes.py)"
WORDS_PER_LINK: Final = 3  # two symbols and a mark

PAIRS: Final = (2, 4, 8, 12, 16, 32)
MOST_SYMBOL_LINKS: Final = len(SYMBOLS) // 2
STRANGERS: Final = tuple(tail for relation in RELATIONS for tail in relation.tails)
"""Words that a model of the laboratory knows, but never met in a link."""
HOPS: Final = (1, 2, 3, 4)
DISTANCES: Final = (0, 8, 16, 24, 48, 96)
DISTANT_LINKS: Final = 4

RECALL: Final = AXES["pairs"]
CHAINS: Final = AXES["hops"]
DISTANCE: Final = AXES["distance"]


@paired_suites(
    version=2,
    axis=RECALL,
    source=SOURCE,
    matched="The same with filler before the links, so that prompts with few links are as long as those with many.",
)
def lab_recall(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """One link to be found among 2 to 32; up to 8 are within what the graded model was taught.

    There are symbols for 16 links; what is more links words of the facts, and is never asked for.
    """
    for number in range(PER_LEVEL):
        for pairs in PAIRS:
            drawn = draw_episode(rng, Shape(min(pairs, MOST_SYMBOL_LINKS), 1)).links
            start = drawn[int(rng.integers(len(drawn)))][0]
            words = [STRANGERS[int(i)] for i in rng.permutation(len(STRANGERS))]
            links = [*drawn, *zip(words[::2], words[1::2], strict=True)][:pairs]
            episode = Episode(
                tuple(links[int(i)] for i in rng.permutation(pairs)),
                before=WORDS_PER_LINK * (max(PAIRS) - pairs) if matched else 0,
            )
            yield _example(number, pairs, episode, Question(start, 1), taught=pairs <= MOST_LINKS)


@paired_suites(
    version=1,
    axis=CHAINS,
    source=SOURCE,
    matched="The same with as many words of filler less as the question has more.",
)
def lab_chains(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """One to four links to follow from a symbol, among eight; one and two hops were taught.

    The links are the same at every level of an item; the question is one word longer for each hop.
    """
    for number in range(PER_LEVEL):
        drawn = draw_episode(rng, Shape(MOST_LINKS // LONGEST_CHAIN, LONGEST_CHAIN))
        ends = {end for _, end in drawn.links}
        start = next(start for start, _ in drawn.links if start not in ends)
        for hops in HOPS:
            episode = Episode(drawn.links, before=max(HOPS) - hops if matched else 0)
            yield _example(
                number, hops, episode, Question(start, hops), taught=hops <= MOST_HOPS, cluster=f"chain-{number:04d}"
            )


@paired_suites(
    version=1,
    axis=DISTANCE,
    source=SOURCE,
    matched="The same amount of filler at every level up to 24, moved from before the links to after them.",
)
def lab_distance(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """One link among four, with up to 96 words of filler between links and question; up to 24 were taught."""
    for number in range(PER_LEVEL):
        drawn = draw_episode(rng, Shape(DISTANT_LINKS, 1))
        start = drawn.links[int(rng.integers(DISTANT_LINKS))][0]
        for words in DISTANCES:
            if matched and words > MOST_FILLER:
                continue
            episode = Episode(drawn.links, before=MOST_FILLER - words if matched else 0, after=words)
            taught = words <= MOST_FILLER
            yield _example(number, words, episode, Question(start, 1), taught=taught, cluster=f"distant-{number:04d}")


def _example(
    number: int, level: int, episode: Episode, question: Question, *, taught: bool, cluster: str = ""
) -> Example:
    return Example(
        id=f"{level:02d}-{number:04d}",
        text=episode.prompt(question),
        target=episode.answer(question),
        split="in" if taught else "shifted",
        level=float(level),
        level_name=str(level),
        cluster=cluster,
    )
