"""Tasks that are solved within one prompt: follow a link among others, or several links in a row.

A prompt lists links between symbols, drawn anew for every prompt, and asks where one of them leads::

    alpha bravo, kilo sierra, bravo tango. next alpha            -> bravo
    alpha bravo, kilo sierra, bravo tango. next next alpha       -> tango

Nothing of it can be stored, so how hard a prompt is (how many links, how many hops, how far away) can be turned while
exposure stays what it is. Links form chains without branches: every symbol leads to at most one other and is led to by
at most one, so the answer is unique, and no symbol is more often an answer than another. Filler words before the links
and between links and question carry nothing; they make prompts of different difficulty equally long.

Training reads whole episodes: all questions that the links answer, in random order, each followed by its answer
(dense supervision as in multi-query associative recall, Arora et al. 2023, arXiv:2312.04927).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from probes.errors import InputError
from probes.lab.lexicon import FILLER, NEXT, SYMBOLS

MARKS: Final = (",", ".")
WORDS: Final = (*SYMBOLS, NEXT, FILLER, *MARKS)
"""Every word of the language; none of them occurs in a world of facts but the marks."""


class Question(NamedTuple):
    """Symbol and a number of hops; the answer is the symbol that they lead to."""

    start: str
    hops: int


class Shape(NamedTuple):
    """The knobs of an episode.

    Attributes:
        chains: separate chains.
        links: links in each chain.
        before: filler words before the links.
        after: filler words between links and question.
    """

    chains: int
    links: int
    before: int = 0
    after: int = 0

    @property
    def pairs(self) -> int:
        """Links in all."""
        return self.chains * self.links


@dataclass(frozen=True, slots=True)
class Episode:
    """Links in the order in which they are listed, and filler.

    >>> episode = Episode((("alpha", "bravo"), ("bravo", "tango")), before=1, after=0)
    >>> episode.prompt(Question("alpha", 2)), episode.answer(Question("alpha", 2))
    ('so alpha bravo, bravo tango. next next alpha', 'tango')
    """

    links: tuple[tuple[str, str], ...]
    before: int = 0
    after: int = 0

    @property
    def context(self) -> str:
        """Context of a question."""
        listed = ", ".join(f"{start} {end}" for start, end in self.links)
        return " ".join([FILLER] * self.before + [f"{listed}."] + [FILLER] * self.after)

    def prompt(self, question: Question) -> str:
        """Context and question, up to the word before the answer."""
        return f"{self.context} {' '.join([NEXT] * question.hops)} {question.start}"

    def answer(self, question: Question) -> str:
        """Symbol that the question leads to.

        Raises:
            KeyError: if the links do not go that far.
        """
        leads, found = dict(self.links), question.start
        for _ in range(question.hops):
            found = leads[found]
        return found

    def questions(self, most_hops: int) -> list[Question]:
        """Every question of at most so many hops that the links answer, in the order of the links."""
        leads = dict(self.links)
        found: list[Question] = []
        for start, _ in self.links:
            end = start
            for hops in range(1, most_hops + 1):
                if end not in leads:
                    break
                end = leads[end]
                found.append(Question(start, hops))
        return found


def draw_episode(rng: np.random.Generator, shape: Shape) -> Episode:
    """Draw symbols and the order of links.

    Raises:
        InputError: if there are not symbols enough for such a shape.
    """
    needed = shape.chains * (shape.links + 1)
    if min(shape.chains, shape.links) < 1 or needed > len(SYMBOLS):
        raise InputError(
            f"an episode has 1 to {len(SYMBOLS)} symbols; {shape.chains} chains of {shape.links} links take {needed}"
        )
    drawn = [SYMBOLS[int(i)] for i in rng.permutation(len(SYMBOLS))[:needed]]
    length = shape.links + 1
    chains = [drawn[start : start + length] for start in range(0, needed, length)]
    links = [(chain[i], chain[i + 1]) for chain in chains for i in range(shape.links)]
    return Episode(tuple(links[int(i)] for i in rng.permutation(len(links))), shape.before, shape.after)


class Lesson(NamedTuple):
    """A text of training and which of its words, counted from 0, are answers."""

    text: str
    answers: tuple[int, ...]


def draw_lesson(rng: np.random.Generator, shape: Shape, *, most_hops: int) -> Lesson:
    """An episode with all its questions of at most so many hops in random order, each followed by its answer."""
    episode = draw_episode(rng, shape)
    questions = episode.questions(most_hops)
    text, n_words = [episode.context], shape.before + 3 * shape.pairs + shape.after
    answers: list[int] = []
    for i in rng.permutation(len(questions)):
        asked = questions[int(i)]
        text.append(f"{' '.join([NEXT] * asked.hops)} {asked.start} {episode.answer(asked)}.")
        answers.append(n_words + asked.hops + 1)
        n_words += asked.hops + 3
    return Lesson(" ".join(text), tuple(answers))
