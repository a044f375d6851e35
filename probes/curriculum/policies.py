"""Rules that choose solved examples for one question, and put them in order.

A rule sees the candidates most similar first, with their levels and the question's own. It names k of them in the
order of the prompt: the last one stands right before the question.

================ =====================================================================================================
nearest          the k most similar, the most similar last
nearest_first    the k most similar, the most similar first
matched          those of the question's level, then of the levels next to it; the most similar last
easy_to_hard     the k most similar, the hardest last
hard_to_easy     the k most similar, the easiest last
paper            arXiv:2603.03415 as it was meant: an easy question is shown its own level and then one level up, a
                 hard one first one level down and then its own, the others their own; the most similar first
paper_as_run     the same as its code runs: with five levels no question counts as easy, and levels are looked up by
                 :class:`~probes.curriculum.levels.PublishedBins`
================ =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from sparsity.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """Items of a pool that one question may be shown, the most similar first.

    Attributes:
        hardness: of each; all equal where the rule knows no score.
        levels: of each, 0 the easiest.
        own: level of the question.
        n_levels: how many levels there are.
        near: so many of them count as similar; the others fill up.
    """

    hardness: Float64[np.ndarray, " n"]
    levels: Int64[np.ndarray, " n"]
    own: int
    n_levels: int
    near: int

    def __len__(self) -> int:
        return len(self.levels)

    def at(self, level: int) -> list[int]:
        """The similar ones of a level."""
        return [index for index in range(min(self.near, len(self))) if self.levels[index] == level]


Choose = Callable[[Candidates, int], list[int]]


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule.

    Attributes:
        name: as specs and tables have it.
        choose: gives places among the candidates, in the order of the prompt.
        scored: whether it needs a score.
        published: whether its levels are counted from 1 and come from ``PublishedBins``.
    """

    name: str
    choose: Choose
    scored: bool = True
    published: bool = False


def nearest(candidates: Candidates, k: int) -> list[int]:
    """The k most similar, the most similar last."""
    return list(range(min(k, len(candidates))))[::-1]


def nearest_first(candidates: Candidates, k: int) -> list[int]:
    """The k most similar, the most similar first."""
    return list(range(min(k, len(candidates))))


def matched(candidates: Candidates, k: int) -> list[int]:
    """Similar ones of the own level, else of the nearest level, else what is less similar; the best last."""
    distance = np.abs(candidates.levels - candidates.own)
    far = np.arange(len(candidates)) >= candidates.near
    order = np.lexsort((np.arange(len(candidates)), distance, far))
    return [int(index) for index in order[:k]][::-1]


def easy_to_hard(candidates: Candidates, k: int) -> list[int]:
    """The k most similar, the hardest last; of equally hard ones the most similar last."""
    shown = nearest(candidates, k)
    return sorted(shown, key=lambda index: candidates.hardness[index])


def hard_to_easy(candidates: Candidates, k: int) -> list[int]:
    """The k most similar, the easiest last; of equally hard ones the most similar last."""
    shown = nearest(candidates, k)
    return sorted(shown, key=lambda index: -candidates.hardness[index])


def paper(candidates: Candidates, k: int) -> list[int]:
    """The published rule as it was meant: thirds of the levels, the easiest counted from 0."""
    if _third(candidates.own, candidates.n_levels) == "easy":
        own = candidates.at(candidates.own)[: max(k - 1, 1)]
        return filled([*own, *candidates.at(candidates.own + 1)], candidates, k)
    return _medium_or_hard(candidates, k)


def paper_as_run(candidates: Candidates, k: int) -> list[int]:
    """The published rule as its code runs: levels counted from 1, so that of five none is below 5 // 3.

    Where there are six levels or more its branch for easy questions runs, which has nothing to fall back on and may
    show fewer than k.
    """
    if _third(candidates.own, candidates.n_levels) == "easy":
        own = candidates.at(candidates.own)[: max(k - 1, 1)]
        return [*own, *candidates.at(candidates.own + 1)[: k - len(own)]]
    return _medium_or_hard(candidates, k)


def _third(level: int, n_levels: int) -> str:
    return "easy" if level < n_levels // 3 else "medium" if level < 2 * n_levels // 3 else "hard"


def _medium_or_hard(candidates: Candidates, k: int) -> list[int]:
    own = candidates.at(candidates.own)
    if _third(candidates.own, candidates.n_levels) == "medium":
        return filled(own, candidates, k)
    return filled([*candidates.at(candidates.own - 1)[:1], *own], candidates, k)


def filled(chosen: Iterable[int], candidates: Candidates, k: int) -> list[int]:
    """The first k of what was chosen, filled up with the most similar of any level."""
    every: Sequence[int] = list(dict.fromkeys([*chosen, *range(len(candidates))]))
    return list(islice(every, k))


POLICIES: Final[Registry[Policy]] = Registry("policy")
for _policy in (
    Policy("nearest", nearest, scored=False),
    Policy("nearest_first", nearest_first, scored=False),
    Policy("matched", matched),
    Policy("easy_to_hard", easy_to_hard),
    Policy("hard_to_easy", hard_to_easy),
    Policy("paper", paper),
    Policy("paper_as_run", paper_as_run, published=True),
):
    POLICIES.add(_policy.name, _policy)
