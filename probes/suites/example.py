"""Example: one item, its axis and level, and the suite it belongs to.

A suite is a versioned generator of examples. Each example carries its place on one axis (how hard, how unfamiliar, how
long) and the cluster within which it is not independent of others, so that every later number knows what it may
generalise over. The identity of an example never depends on a model, a tokenizer or a chat template: the same item
asked of two models has the same ``example_id``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, NamedTuple

import numpy as np

from probes.errors import InputError
from probes.vocabulary.axes import Axis
from sparsity.registry import Registry

Split = Literal["in", "shifted"]
ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item of a suite.

    Attributes:
        id: unique within the suite; ``""`` means the hash of the item itself.
        text: the prompt, exactly as the model is to read it.
        target: what should follow, or None where nothing is asked.
        choices: answers of which one is right: continuations of the text, or (``whole``) texts in its place, as the two
            sentences of a minimal pair. Outcomes ask which the model finds likeliest.
        right: index of the right choice; None without choices.
        whole: whether choices stand in the text's place.
        split: ``in`` for what training made familiar, ``shifted`` for the rest.
        level: place on the axis; NaN where the axis has no number for this item.
        level_name: label of that place; ``""`` means the level itself written out.
        cluster: items with the same cluster are not independent (paired shifts of one source item); ``""`` means that
            the item stands alone.
        attrs: anything else worth grouping by, as pairs of strings.
        before: turns of a conversation before the text, which is then its last turn: role and content of each.
        fault: why the item cannot be asked; a sweep records it as a failure.
        repeats: why the item is left out though it could be asked: it stood there before. A sweep counts it.
    """

    id: str = ""
    text: str
    target: str | None = None
    choices: tuple[str, ...] = ()
    right: int | None = None
    whole: bool = False
    split: Split = "in"
    level: float = math.nan
    level_name: str = ""
    cluster: str = ""
    attrs: tuple[tuple[str, str], ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    repeats: str = ""

    def __post_init__(self) -> None:
        wrong = self.right is not None if not self.choices else self.right not in range(len(self.choices))
        if wrong or len(self.choices) == 1:
            raise InputError(f"an item has two choices or more and one is right, not {self.right} of {self.choices!r}")

    def content_hash(self) -> str:
        """Hash of what is asked; where the item lies (level, split, cluster) may be corrected without it changing."""
        fields: list[object] = [self.text, self.target]
        if self.choices:
            fields += [self.choices, self.right, self.whole]
        if self.before:
            fields += [self.before]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=True).encode()).hexdigest()[:ID_DIGITS]

    def sound(self) -> Example:
        r"""The item itself, or with a fault if its text is blank or no valid Unicode, which then stands escaped.

        >>> Example(text="half \ud83d").sound().text, bool(Example(text=" ").sound().fault)
        ('half \\ud83d', True)
        """
        if self.fault:
            return self
        strings = (self.id, self.text, self.target or "", *self.choices, self.level_name, self.cluster)
        parts = (part for pair in (*self.attrs, *self.before) for part in pair)
        fault = next((fault for text in (*strings, *parts) if (fault := half_character(text))), "")
        if fault:
            return replace(
                self,
                **{name: _escaped(getattr(self, name)) for name in ("id", "text", "level_name", "cluster")},
                target=None if self.target is None else _escaped(self.target),
                choices=(),
                right=None,
                before=(),
                attrs=tuple((_escaped(name), _escaped(value)) for name, value in self.attrs),
                fault=fault,
            )
        return self if self.text.strip() else replace(self, fault="the text is empty")

    def label(self) -> str:
        """The level as people read it."""
        if self.level_name:
            return self.level_name
        return "" if math.isnan(self.level) else f"{self.level:g}"


def half_character(text: str) -> str:
    """Say what is wrong with a text that is no valid Unicode; nothing of one that is.

    Half a character is what is left of one that was cut in two, or read in the wrong encoding: no tokenizer takes it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"{ord(text[error.start]):#06x}"
        return f"half a character ({half}, a lone surrogate) at place {error.start} of the text; mend it"
    return ""


def _escaped(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class Item(NamedTuple):
    """An example under the name by which tables know it: ``<suite>:<id>``."""

    example_id: str
    example: Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named, versioned generator of examples on one axis.

    Attributes:
        name: what specs and tables call it.
        version: raised whenever the items change; part of a run's identity.
        axis: the ruler its levels lie on.
        generate: yields the items; the generator passed in is its only source of chance.
        description: one paragraph for ``sparsity list suites``.
        source: where the items come from, with licence or citation.
    """

    name: str
    version: str
    axis: Axis
    generate: Callable[[np.random.Generator], Iterable[Example]]
    description: str
    source: str

    def items(self, rng: np.random.Generator) -> list[Item]:
        """All items under their global names.

        Raises:
            InputError: if the suite is empty or two items share an id.
        """
        items: dict[str, Item] = {}
        for item in map(self.named, self.generate(rng)):
            if item.example_id in items:
                raise InputError(f"suite {self.name!r}: two items are called {item.example_id!r}; ids must be unique")
            items[item.example_id] = item
        if not items:
            raise InputError(f"suite {self.name!r} has no items")
        return list(items.values())

    def named(self, example: Example) -> Item:
        """An example of this suite under its global name, see :meth:`Example.sound`."""
        sound = example.sound()
        return Item(f"{self.name}:{sound.id or sound.content_hash()}", sound)

    def generator(self, seed: int) -> np.random.Generator:
        """The chance that the items are drawn with in a sweep of some seed: that of this name and version.

        Where the suite stands in a spec changes nothing, and neither does what is added to a version after a ``+``
        (whose tokenizer it was made with, which Python it reads).
        """
        own = f"{self.name}@{self.version.partition('+')[0]}"
        return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(own.encode()).digest()[:8], "big")])


SUITES: Registry[Suite] = Registry("suite", "probes.suites", plugins="sparsity.suites")

Generate = Callable[[np.random.Generator], Iterator[Example]]
GenerateMatched = Callable[..., Iterator[Example]]
"""Takes a generator, and whether levels are to be equally long as the keyword ``matched``."""
MATCHED: Final = "_matched"


def suite(*, version: int, axis: Axis, source: str) -> Callable[[Generate], Generate]:
    """Register a function as a suite under its own name; its docstring is the description."""

    def register(function: Generate) -> Generate:
        _add(function.__name__, function, function.__doc__ or "", version=version, axis=axis, source=source)
        return function

    return register


def paired_suites(
    *, version: int, axis: Axis, source: str, matched: str
) -> Callable[[GenerateMatched], GenerateMatched]:
    """Register a function as two suites: under its own name, and as ``<name>_matched``, whose levels are equally long.

    The function is told by its keyword ``matched`` which of them is asked for. Both have one version, because what
    changes one changes the other.

    Args:
        version: of both.
        axis: of both.
        source: of both.
        matched: description of the second; the docstring is that of the first.
    """

    def register(function: GenerateMatched) -> GenerateMatched:
        for suffix, equal, said in (("", False, function.__doc__ or ""), (MATCHED, True, matched)):
            generate = partial(function, matched=equal)
            _add(f"{function.__name__}{suffix}", generate, said, version=version, axis=axis, source=source)
        return function

    return register


def _add(name: str, generate: Generate, description: str, *, version: int, axis: Axis, source: str) -> None:
    said = inspect.cleandoc(description)
    SUITES.add(
        name, Suite(name=name, version=str(version), axis=axis, generate=generate, description=said, source=source)
    )
