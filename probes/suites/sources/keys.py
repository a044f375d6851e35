"""Answer keys and their meaning: the text of a choice, its letter, or its number counted from 0 or from 1.

Published data have all of these, and a number alone does not say from where it counts: ``"2"`` is the second choice in
ARC and the third in HellaSwag. So one rule decides, over the whole source and never item by item:

1. Labels that the data bring (``choices: {text: [...], label: [...]}``) or that the spec gives (``labels:``) hold.
2. Otherwise keys are texts if more of them read like one of their choices than are letters or numbers in range, and
   labels if it is the other way round. A letter names its place in the alphabet. Where both readings fit equally often
   and do not agree, the source is refused.
3. Numbers count from 0 where a 0 is among the keys, from 1 where the number of choices is. Where neither occurs, class
   numbers of a data set count from 0, numbers that a typed format holds as text count from 1, because only a label is
   written so, and any other source is refused.

A key that does not fit what the rest of its source says is the fault of that item.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from probes.errors import InputError
from probes.suites.question import LETTERS, same
from probes.suites.sources.labelled import Label, Record

TEXT: Final = "text"
MOST_DIGITS: Final = 2  # there are letters, and so choices, for 26
AFFIRMATIVE: Final = {"true": "yes", "false": "no"}


class Choices(NamedTuple):
    """The choices of one item.

    Attributes:
        texts: the choices.
        labels: what the item's key calls them, if anybody says.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()


class KeyReading(NamedTuple):
    """Rule for reading the keys of one source.

    Attributes:
        as_text: whether a key is the text of a choice.
        first: the number of the first choice, where keys are labels.
    """

    as_text: bool
    first: int = 0

    def right(self, record: Record, field: str, choices: Choices) -> int:
        """Choice that the key of an item means.

        Raises:
            InputError: if it means none of them.
        """
        key = record.text(field).strip()
        if choices.labels and not self.as_text:
            found = choices.labels.index(key) if key in choices.labels[: len(choices.texts)] else None
        elif self.as_text:
            found = _as_text(key, choices.texts)
        else:
            found = _as_label(record.value(field), key, len(choices.texts), self.first)
        if found is None:
            named = f" ({', '.join(choices.labels)})" if choices.labels else ""
            raise InputError(
                f"{record.place}: field {field!r} should be one of {len(choices.texts)} choices{named} and is {key!r}"
            )
        return found


def choices_of(record: Record, field: str, labels: str | Sequence[str] | None) -> Choices:
    """The choices of an item: a list, a list written as text (a CSV cell), or texts and labels side by side.

    Args:
        record: the item.
        field: holds the choices.
        labels: a field that lists their labels, or the labels themselves; None takes those beside the texts, if any.

    Raises:
        InputError: if the field holds no choices, or there are too few labels.
    """
    value = record.value(field)
    beside: tuple[str, ...] = ()
    if isinstance(value, dict):
        inner = record.nested(field, "text")
        texts = inner.texts("text")
        beside = inner.texts("label") if "label" in inner.fields else ()
    elif isinstance(value, str):
        texts = record._replace(fields={field: _list_in(record, field, value)}).texts(field)
    else:
        texts = record.texts(field)
    if labels == TEXT:
        return Choices(texts)
    named = record.texts(labels) if isinstance(labels, str) else tuple(labels or beside)
    if named and len(named) < len(texts):
        raise InputError(f"{record.place}: {len(texts)} choices, but labels for {len(named)}: {', '.join(named)}")
    return Choices(texts, named)


def _list_in(record: Record, field: str, text: str) -> list[Any]:
    """A list that a cell writes out, as JSON or as Python prints one."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value: object = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list):
            return cast("list[Any]", value)
    raise InputError(
        f'{record.place}: field {field!r} should be a list of texts, as ["red", "blue"], and is {text[:40]!r}'
    )


def key_reading(found: Iterable[tuple[Record, Choices]], field: str, labels: str | Sequence[str] | None) -> KeyReading:
    """Decide how the keys of a source are to be read; see the module's docstring.

    Args:
        found: all items whose choices could be read.
        field: of the key.
        labels: what the spec says.

    Raises:
        InputError: if the keys can be read in two ways; the message says what to write into the spec.
    """
    if labels == TEXT:
        return KeyReading(as_text=True)
    if labels is not None:
        return KeyReading(as_text=False)
    tally = Tally()
    for record, choices in found:
        tally.add(record, field, choices)
    return tally.reading(field)


class Tally:
    """Count of the keys that each reading fits."""

    def __init__(self) -> None:
        self.texts = self.labels = self.numbers = self.zeros = self.lasts = 0
        self.is_written = self.is_class = True
        self.example = ""
        self.most = 0

    def add(self, record: Record, field: str, choices: Choices) -> None:
        """Count one item; one without a key counts as none."""
        try:
            key = record.text(field).strip()
        except InputError:
            return
        value, n = record.value(field), len(choices.texts)
        self.most = max(self.most, n)
        if choices.labels:
            self.labels += 1
            return
        as_text = _as_text(key, choices.texts)
        readings = [_as_label(value, key, n, first) for first in (0, 1)]
        self.texts += as_text is not None
        self.labels += any(reading is not None for reading in readings)
        if as_text is not None and any(reading not in (None, as_text) for reading in readings):
            self.example = self.example or key
        number = _number(value, key)
        if number is None or isinstance(value, bool):
            return
        self.numbers += 0 <= number <= n
        self.zeros += number == 0
        self.lasts += number == n
        self.is_class &= isinstance(value, Label)
        self.is_written &= record.is_typed and isinstance(value, str) and not isinstance(value, Label)

    def reading(self, field: str) -> KeyReading:
        """Reading that fits."""
        if self.texts == self.labels and self.example:
            raise InputError(
                f"field {field!r}: an answer such as {self.example!r} is the text of one choice and the label of "
                "another; say `labels: text`, or list the labels, as `labels: [A, B, C, D]`"
            )
        if self.texts > self.labels or not self.labels:
            return KeyReading(as_text=True)
        return KeyReading(as_text=False, first=self._first(field))

    def _first(self, field: str) -> int:
        if not self.numbers or self.zeros > self.lasts:
            return 0
        if self.lasts > self.zeros:
            return 1
        if not self.zeros and self.is_class:
            return 0
        if not self.zeros and self.is_written:
            return 1
        said = f"a 0 and a {self.most}" if self.zeros else f"neither a 0 nor a {self.most}"
        from_0, from_1 = (", ".join(map(str, range(first, first + self.most))) for first in (0, 1))
        raise InputError(
            f"field {field!r}: its numbers name choices, and {said} among them leaves open whether they count from 0 "
            f"or from 1; say `labels: [{from_0}]` or `labels: [{from_1}]`"
        )


def _as_text(key: str, texts: Sequence[str]) -> int | None:
    """The choice that reads like the key; ``True`` also reads like yes."""
    stripped = [text.strip() for text in texts]
    if key in stripped:
        return stripped.index(key)
    read = [same(text) for text in texts]
    wanted = same(key)
    return next((read.index(each) for each in _readings(wanted) if read.count(each) == 1), None)


def _readings(wanted: str) -> Iterator[str]:
    yield wanted
    if wanted in AFFIRMATIVE:
        yield AFFIRMATIVE[wanted]


def _as_label(value: object, key: str, n_choices: int, first: int) -> int | None:
    """The choice of that letter or number."""
    number = _number(value, key)
    if number is not None:
        index = number if isinstance(value, Label) else number - first
        return index if 0 <= index < n_choices else None
    letter = key.strip("(). ").upper()
    index = LETTERS.find(letter) if len(letter) == 1 else -1
    return index if 0 <= index < n_choices else None


def _number(value: object, key: str) -> int | None:
    if isinstance(value, Label):
        return value.number
    digits = key.removesuffix(".0")  # what becomes of whole numbers in a column with gaps
    return int(digits) if digits.isdecimal() and len(digits) <= MOST_DIGITS else None
