"""One raw item of a file or a data set: named values, and the place where they stood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from probes.errors import InputError

WHOLE: Final = 2.0**53  # up to here a float that is a whole number is exactly that number
TRUTH: Final = {"true": True, "false": False}


class Label(str):
    """A class of a data set: text where a text is asked for, and its number where a number is.

    >>> hard = Label("hard", 1)
    >>> f"{hard}", hard.number
    ('hard', 1)
    """

    __slots__ = ("number",)
    number: int

    def __new__(cls, name: str, number: int) -> Label:  # noqa: PYI034
        """A class by its name and number."""
        label = super().__new__(cls, name)
        label.number = number
        return label


class Record(NamedTuple):
    """One raw item.

    Attributes:
        place: where it stood, as messages say it: file and line, or data set and number.
        fields: its values by name.
        cluster: what it shares with others of its file, if anything.
        part: which file, or which configuration and split, it comes from.
        fault: why it could not be read, as one line; empty for a sound record. Asking a faulty one for a field raises
            that line.
        is_typed: whether the format tells numbers from texts; the cells of CSV do not.
    """

    place: str
    fields: Mapping[str, Any]
    cluster: str = ""
    part: str = ""
    fault: str = ""
    is_typed: bool = True

    def text(self, field: str) -> str:
        """A field as text; numbers and booleans are written out: ``51`` for 51.0, ``True``.

        Raises:
            InputError: if the field is missing or holds no text.
        """
        value = self.value(field)
        written = as_text(value)
        if written is None:
            raise InputError(f"{self.place}: field {field!r} should be text and is {kind_of(value)}")
        return written

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that lists texts.

        Raises:
            InputError: if the field is missing or is no list of texts.
        """
        value = self.value(field)
        found = kind_of(value)
        entries: list[object] = cast("list[object]", value) if isinstance(value, list) else []
        if not entries:
            raise InputError(f"{self.place}: field {field!r} should be a list of texts and is {found}")
        written = [as_text(entry) for entry in entries]
        if None in written:
            wrong = entries[written.index(None)]
            raise InputError(f"{self.place}: field {field!r} should be a list of texts and holds {kind_of(wrong)}")
        return tuple(map(str, written))

    def turns(self, field: str) -> tuple[tuple[str, str], ...]:
        """A field that is a conversation, as role and content of each turn; empty if it is something else.

        Raises:
            InputError: if a turn lacks its role or content, or the last one is not the user's.
        """
        value = self.fields.get(field)
        entries = cast("list[Any]", value) if isinstance(value, list) else []
        if not entries or not all(isinstance(entry, dict) for entry in entries):
            return ()
        found = [(entry.get("role"), entry.get("content")) for entry in cast("list[dict[str, Any]]", entries)]
        if not all(isinstance(part, str) for turn in found for part in turn):
            raise InputError(f"{self.place}: every turn of field {field!r} needs a role and a content, both text")
        if found[-1][0] != "user":
            raise InputError(
                f"{self.place}: the last turn of field {field!r} should be the user's, which the model is to answer, "
                f"and is of {found[-1][0]!r}"
            )
        return tuple((str(role), str(content)) for role, content in found)

    def number(self, field: str) -> float:
        """A field as a number, true being 1 and false 0; NaN where it is absent, null, NaN or an empty cell.

        Raises:
            InputError: if it is there and not a finite number.
        """
        if self.fault:
            raise InputError(self.fault)
        value = self.fields.get(field)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return math.nan
        if isinstance(value, Label):
            return float(value.number)
        if isinstance(value, str) and value.lower() in TRUTH:
            return float(TRUTH[value.lower()])
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{self.place}: field {field!r} should be a number and is {value!r}")
        return number

    def nested(self, field: str, *names: str) -> Record:
        """A field that holds named values itself, as a record.

        Raises:
            InputError: if it does not, or lacks one of the names.
        """
        value = self.value(field)
        inner = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if not set(names) <= set(inner):
            raise InputError(f"{self.place}: field {field!r} should hold {', '.join(names)}")
        return self._replace(fields=inner)

    def slots(self) -> dict[str, str]:
        """All fields that a wording may name."""
        written = ((name, as_text(value)) for name, value in self.fields.items())
        return {name: text for name, text in written if text is not None}

    def value(self, field: str) -> object:
        """A field as it came.

        Raises:
            InputError: if there is none of that name, or the record could not be read.
        """
        if self.fault:
            raise InputError(self.fault)
        if field not in self.fields:
            raise InputError(f"{self.place}: no field {field!r}; there are {', '.join(map(repr, self.fields))}")
        return self.fields[field]


def as_text(value: object) -> str | None:
    """A value written out; None for what is no text, number or boolean.

    >>> as_text(51.0), as_text(2.5), as_text(True), as_text(None), as_text(float("nan"))
    ('51', '2.5', 'True', None, None)
    """
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.0f}" if value.is_integer() and abs(value) < WHOLE else str(value)
    return None


def kind_of(value: object) -> str:
    """Name in messages of a value that is not what it should be."""
    is_empty = value is None or value == [] or (isinstance(value, float) and math.isnan(value))
    return "empty" if is_empty else type(value).__name__
