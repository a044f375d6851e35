"""Items that are asked and items that may be shown: one set of questions, several pools, and no item in both.

An item may be shown for a question unless it is the same item, has the same text (up to case and white space), or
belongs to the same cluster. Questions come first in one drawn order, so that fewer of them are a part of more; every
pool is drawn anew from what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int64

from probes.curriculum.spec import CurriculumSpec
from probes.errors import InputError
from probes.suites.example import Item, Suite
from probes.suites.question import same
from probes.suites.shifts.shift_suite import Shift
from probes.sweep.item_store import store_items
from probes.sweep.specification.suite_entries import SuiteEntry

MOST_QUESTIONS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """Questions and pools.

    Attributes:
        suites: the suite of the pool, and that of the questions where it is another.
        items: everything that is scored, without repetition, the questions first.
        n_questions: so many of them are questions.
        pools: places of each pool's items.
    """

    suites: tuple[Suite, ...]
    items: tuple[Item, ...]
    n_questions: int
    pools: tuple[Int64[np.ndarray, " pool"], ...]

    @property
    def levels_differ(self) -> bool:
        """True where the items of every pool state more than one level."""
        levels = np.array([item.example.level for item in self.items], dtype=np.float64)
        return all(len(np.unique(levels[pool][np.isfinite(levels[pool])])) > 1 for pool in self.pools)


def draw(spec: CurriculumSpec, limit: int | None = None) -> Draw:
    """Draw questions and pools.

    Args:
        spec: says how many.
        limit: keep so many questions; pools stay what they are.

    Raises:
        InputError: if there are not items enough, or none that has an answer.
    """
    suite = _suite(spec.pool)
    asked = suite if spec.questions is None else _suite(spec.questions)
    if asked is not suite and asked.name == suite.name:
        raise InputError(f"pool and questions are both called {suite.name!r}; give one of them another name")
    stock = _shuffled(suite, spec.pool.limit, spec.seed)
    source = stock if spec.questions is None else _shuffled(asked, spec.questions.limit, spec.seed)
    most = spec.n_questions or (MOST_QUESTIONS if asked is not suite else _beside_pools(spec, len(stock)))
    questions = [item for item in source if not item.example.repeats][:most]
    taken = {mark for item in questions for mark in marks(item)}
    left = [item for item in stock if _shown(item) and not taken.intersection(marks(item))]
    if len(left) < spec.n_pool:
        raise InputError(
            f"a pool of {spec.n_pool} is asked for beside {len(questions)} questions, and {len(left)} items of "
            f"{suite.name!r} with an answer are left; lower n_pool or n_questions"
        )
    questions = questions[:limit]
    items = [*questions]
    place: dict[str, int] = {}
    pools: list[Int64[np.ndarray, " pool"]] = []
    for seed in range(spec.seeds):
        chosen = np.random.default_rng([spec.seed, seed]).permutation(len(left))[: spec.n_pool]
        for index in chosen:
            item = left[int(index)]
            if item.example_id not in place:
                place[item.example_id] = len(items)
                items.append(item)
        pools.append(np.array([place[left[int(index)].example_id] for index in chosen], dtype=np.int64))
    suites = (suite,) if asked is suite else (suite, asked)
    return Draw(suites=suites, items=tuple(items), n_questions=len(questions), pools=tuple(pools))


def _beside_pools(spec: CurriculumSpec, n_items: int) -> int:
    """So many questions that pools of all seeds can be different items, but at least one."""
    return max(1, min(MOST_QUESTIONS, n_items - spec.seeds * spec.n_pool))


def _suite(entry: SuiteEntry) -> Suite:
    if isinstance(entry, Shift):
        raise InputError(f"suite {entry.name!r} is a shift; pool and questions should be data as they are")
    return entry.suite()


def _shuffled(suite: Suite, limit: int | None, seed: int) -> list[Item]:
    store = store_items(suite, suite.generator(seed), limit)
    order = np.random.default_rng([seed, len(store)]).permutation(len(store))
    found: dict[object, Item] = {}
    for item in (store[int(index)] for index in order):
        # both sentences of a minimal pair ask the same; which one is scored is left to chance, not to what is right
        found.setdefault(item.example.choices if item.example.whole else item.example_id, item)
    return list(found.values())


def _shown(item: Item) -> bool:
    """True for an item that can be a solved example."""
    example = item.example
    return not (example.fault or example.repeats or example.before) and solution(item) is not None


def solution(item: Item) -> str | None:
    """The answer as an example shows it; None where there is none."""
    example = item.example
    if example.whole and example.right is not None:
        return example.choices[example.right]
    return example.target


def marks(item: Item) -> frozenset[str]:
    """By what an item is known again: its id, its text, its cluster."""
    example = item.example
    text = hashlib.sha256(same(example.text).encode(errors="surrogatepass")).hexdigest()
    own = {f"id {item.example_id}", f"text {text}"}
    return frozenset(own | {f"cluster {example.cluster}"} if example.cluster else own)


def strangers(question: Item, pool: Sequence[Item]) -> Bool[np.ndarray, " pool"]:
    """Mark the items of a pool that may be shown for a question."""
    own = marks(question)
    return np.array([not own.intersection(marks(item)) for item in pool], dtype=bool)
