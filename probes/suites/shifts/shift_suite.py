"""Paired shifts: the same item, one knob, several levels, so that what the item is about cancels.

A shift is declared over any source of items and yields every item once per level; the levels of one item are a cluster.
Whatever is drawn for an item is drawn once and serves all its levels (the typos of a low rate are among those of a
higher one, the fourth demonstration comes on top of the first three), so that the knob is all that turns, and neither
other items nor other levels change it. The easiest level keeps the item's split, every other level is ``shifted``.

    {name: noisy, shift: typos, levels: [0, 0.05, 0.15], of: {file: mine.jsonl, prompt: question}}
    {name: crowded, shift: choice_count, levels: [2, 4, 8], matched: true, of: {name: mmlu_pro}}

``matched`` makes all levels of an item equally long in tokens by putting neutral text before them: what is left of the
effect is not length. That needs a tokenizer and one shift needs a model's answers; such a suite says so in ``needs``
and is handed plain callables by whoever has a model. Its version then names whose they were.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import BenchmarkSuite
from probes.suites.example import Example, Suite
from probes.suites.files import FileSuite, Source
from probes.suites.question import CHOICES, Question, slots_of
from probes.suites.shifts.padding import NEUTRAL, pad_alike, words_of
from probes.suites.sources.fields import Declared
from probes.suites.sources.hub import HubSuite
from probes.vocabulary.axes import Axis
from sparsity.registry import Registry

POOL: Final = 1000  # other items looked at per item: enough for any level, and no sum over all pairs of items

Origin = FileSuite | HubSuite | BenchmarkSuite
Need = Literal["count_tokens", "answer"]
NEEDS: Final[dict[Need, str]] = {
    "count_tokens": "a tokenizer (count_tokens)",
    "answer": "a model's answers (answer)",
}


class Tools(NamedTuple):
    """Tools that a suite may be handed by a sweep that has a model.

    Attributes:
        owner: whose these are; becomes part of the suite's version, because the items depend on it.
        count_tokens: how many tokens a prompt has.
        answer: what the model answers to a prompt, in words.
    """

    owner: str
    count_tokens: Callable[[str], int] | None = None
    answer: Callable[[str], str] | None = None


class Rung(NamedTuple):
    """One level: its label, and its number (NaN on a nominal axis)."""

    label: str
    level: float


@dataclass(frozen=True, slots=True)
class Stock:
    """Material that a shift may draw on besides the item.

    Attributes:
        questions: all items of the source.
        answers: every choice and answer of the source, by subject (``""`` for items without one).
        filler: words of neutral text.
        tools: what the suite was handed.
    """

    questions: tuple[Question, ...]
    answers: Mapping[str, tuple[str, ...]]
    filler: tuple[str, ...]
    tools: Tools | None


_T = TypeVar("_T")


def distinct(levels: tuple[_T, ...]) -> tuple[_T, ...]:
    """Levels, each of which stands once."""
    if len(set(levels)) < len(levels):
        raise ValueError("levels should all be different, and one is listed twice")
    return levels


Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2), AfterValidator(distinct)]


class Shift(Declared):
    """A paired shift as a spec declares it; subclasses say what turns.

    Attributes:
        of: where the items come from: files, a data set of the hub, or a benchmark.
        matched: make the levels of an item equally long in tokens.
        filler: neutral text to pad or surround with; built-in sentences by default.
        version: to be raised when texts change under their old ids.
    """

    of: Origin
    matched: bool = False
    filler: Source | None = None
    version: str = "1"

    @property
    def needs(self) -> frozenset[Need]:
        """Tools that the suite has to be handed."""
        return frozenset({"count_tokens"}) if self.matched else frozenset()

    @abstractmethod
    def ruler(self) -> Axis:
        """The axis of the levels."""

    @abstractmethod
    def rungs(self) -> tuple[Rung, ...]:
        """The levels, in the order of the spec."""

    @abstractmethod
    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The item at one level; ``draw`` is in the same state at every level of an item."""

    def suite(self, tools: Tools | None = None) -> Suite:
        """The suite; what it needs and is not handed is said when its items are asked for."""
        origin = self.of.suite()
        parts = [self.version, *(("of", origin.version) if origin.version != "1" else ())]
        if self.needs and tools is not None:
            parts.append(tools.owner)
        return Suite(
            name=self.name,
            version="+".join(parts),
            axis=self.ruler(),
            generate=partial(self._examples, tools),
            description=f"{self.ruler().name} of {origin.name}: {', '.join(rung.label for rung in self.rungs())}",
            source=origin.source,
        )

    def _examples(self, tools: Tools | None, rng: np.random.Generator) -> Iterator[Example]:
        missing = next((NEEDS[need] for need in NEEDS if need in self.needs and not getattr(tools, need, None)), None)
        if missing is not None:
            raise InputError(f"suite {self.name!r} needs {missing}, and got none")
        found = tuple(self.of.questions())
        yield from (question.example() for question in found if question.fault or question.repeats)
        questions = tuple(question for question in found if not question.fault and not question.repeats)
        filler = words_of(self.filler) if self.filler is not None else tuple(NEUTRAL.split())
        stock = Stock(questions, _answers(questions), filler, tools)
        seed = int(rng.integers(2**32))
        for question in questions:
            yield from self._levels(question, seed, stock)

    def _levels(self, question: Question, seed: int, stock: Stock) -> Iterator[Example]:
        """All levels of one item."""
        source = question.id or question.example().content_hash()
        state = [seed, int(hashlib.sha256(source.encode()).hexdigest()[:16], 16)]
        rungs = self.rungs()
        turned = [self.turn(question, rung, np.random.default_rng(state), stock) for rung in rungs]
        texts, known = [each.text() for each in turned], ()
        if self.matched and stock.tools is not None and stock.tools.count_tokens is not None:
            texts, n_tokens = pad_alike(texts, stock.tools.count_tokens, stock.filler, place=question.place)
            known = (("prompt_tokens", str(n_tokens)),)
        home = _easiest(rungs, self.ruler())
        for rung, each, text in zip(rungs, turned, texts, strict=True):
            yield replace(
                each.example(),
                id=f"{source}@{rung.label}",
                text=text,
                split=question.split if rung == home else "shifted",
                level=rung.level,
                level_name=rung.label,
                cluster=source,
                attrs=each.attrs + known + ((("source_cluster", question.cluster),) if question.cluster else ()),
            )


SHIFTS: Registry[type[Shift]] = Registry("shift", "probes.suites.shifts")

_C = TypeVar("_C", bound=type[Shift])


def shift(*names: str) -> Callable[[_C], _C]:
    """Register a class of shifts under the names that a spec may use."""

    def register(found: _C) -> _C:
        for name in names:
            SHIFTS.add(name, found)
        return found

    return register


def numbered(levels: tuple[float, ...] | tuple[int, ...]) -> tuple[Rung, ...]:
    """Numbers as rungs.

    >>> numbered((0, 0.5))
    (Rung(label='0', level=0.0), Rung(label='0.5', level=0.5))
    """
    return tuple(Rung(f"{level:g}", float(level)) for level in levels)


def first_slot(question: Question, slot: str | None) -> str:
    """The slot that a shift turns: the one asked for, else the first that the wording names.

    Raises:
        InputError: if the item has no such slot.
    """
    name = slot or next((name for name in slots_of(question.wording) if name != CHOICES), "")
    if name not in question.slots or name not in slots_of(question.wording):
        raise InputError(f"{question.place}: the wording has no field {name!r}; it reads {question.wording!r}")
    return name


def scattered(entries: Sequence[_T], draw: np.random.Generator) -> Iterator[_T]:
    """Entries in random order, at most :data:`POOL` of them."""
    for index in draw.choice(len(entries), size=min(len(entries), POOL), replace=False):
        yield entries[int(index)]


def subject_of(question: Question) -> str:
    """The pool from which an item's distractors come."""
    return dict(question.attrs).get("subject", "")


def _answers(questions: tuple[Question, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for question in questions:
        texts = question.choices or ((question.target,) if question.target is not None else ())
        found.setdefault(subject_of(question), {}).update(dict.fromkeys(texts))
    return {subject: tuple(texts) for subject, texts in found.items()}


def _easiest(rungs: tuple[Rung, ...], axis: Axis) -> Rung:
    if axis.harder is None or any(math.isnan(rung.level) for rung in rungs):
        return rungs[0]
    return min(rungs, key=lambda rung: rung.level if axis.harder == "higher" else -rung.level)
