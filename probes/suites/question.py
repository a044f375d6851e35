"""An item before it is put into words: slots, a wording with places for them, and perhaps choices.

A shift that turns one knob of an item (its wording, its choices, the noise in its question) needs the parts that a
prompt is made of, not the prompt. A question keeps them apart until :meth:`Question.example` puts them into words.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from probes.errors import InputError
from probes.suites.example import Example, Split

LETTERS: Final = string.ascii_uppercase
CHOICES: Final = "choices"
SLOT: Final = re.compile(r"\{([^{}\n]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One item, not yet worded.

    Attributes:
        place: where it stood, for messages.
        wording: the prompt, with ``{name}`` where a slot goes; ``{choices}`` stands for the lettered choices. Braces in
            the slots themselves mean nothing.
        slots: what a wording may name.
        target: what should follow, where there are no choices.
        choices: possible answers.
        right: index of the right one.
        pair: the minimal pair of texts that the item belongs to, the right one first.
        id: see :class:`probes.suites.example.Example`, as for what follows.
        split: see there.
        level: see there.
        level_name: see there.
        cluster: see there.
        attrs: see there.
        before: see there.
        fault: see there.
        repeats: see there.
    """

    place: str
    wording: str = ""
    slots: Mapping[str, str]
    target: str | None = None
    choices: tuple[str, ...] = ()
    right: int | None = None
    pair: tuple[str, str] | None = None
    id: str = ""
    split: Split = "in"
    level: float = math.nan
    level_name: str = ""
    cluster: str = ""
    attrs: tuple[tuple[str, str], ...] = field(default=())
    before: tuple[tuple[str, str], ...] = field(default=())
    fault: str = ""
    repeats: str = ""

    def __post_init__(self) -> None:
        if self.choices and (self.right is None or not 0 <= self.right < len(self.choices)):
            raise InputError(f"{self.place}: the answer should be one of {len(self.choices)} choices")
        if len(self.choices) > len(LETTERS):
            raise InputError(f"{self.place}: {len(self.choices)} choices; there are letters for {len(LETTERS)}")

    @property
    def shows_choices(self) -> bool:
        """True where the wording lists the choices."""
        return CHOICES in slots_of(self.wording)

    @property
    def answer(self) -> str | None:
        """The answer in words: the right choice, or the target."""
        return self.target if self.right is None else self.choices[self.right]

    def ambiguous(self) -> bool:
        """True where another choice reads like the right one."""
        return self.right is not None and [same(choice) for choice in self.choices].count(same(self.answer or "")) > 1

    def lettered(self) -> str:
        """The choices, each on a line of its own after its letter."""
        return "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))

    def text(self) -> str:
        """The prompt.

        Raises:
            InputError: if the wording names something that the item does not have.
        """
        slots = {**self.slots, CHOICES: self.lettered()} if self.choices else self.slots
        missing = next((name for name in slots_of(self.wording) if name not in slots), None)
        if missing is not None:
            raise InputError(f"{self.place}: no field {missing!r}; there are {', '.join(map(repr, slots))}")
        return SLOT.sub(lambda match: slots[match[1]], self.wording)

    def expected(self) -> str | None:
        """Text that should follow the prompt: a letter where the choices are shown, else the answer in words."""
        return LETTERS[self.right] if self.right is not None and self.shows_choices else self.answer

    def example(self) -> Example:
        """The item as a suite yields it."""
        return Example(
            id=self.id,
            text=self.text(),
            target=self.expected(),
            choices=self.pair or (self.choices if len(self.choices) > 1 else ()),
            right=0 if self.pair else self.right if len(self.choices) > 1 else None,
            whole=self.pair is not None,
            split=self.split,
            level=self.level,
            level_name=self.level_name,
            cluster=self.cluster,
            attrs=self.attrs,
            before=self.before,
            fault=self.fault,
            repeats=self.repeats,
        )


@lru_cache  # a suite has few wordings and many items
def slots_of(wording: str) -> tuple[str, ...]:
    """The names between braces, in order.

    >>> slots_of("Question: {question} Answer:")
    ('question',)
    """
    return tuple(match[1] for match in SLOT.finditer(wording))


def same(text: str) -> str:
    """A text up to case and white space, by which answers are compared.

    >>> same(" The  sun ") == same("the sun")
    True
    """
    return " ".join(text.casefold().split())
