"""Raw items from anywhere, and what their fields mean.

Files and the hub give records: named values and the place where they stood. A field map says which of them is the
prompt, the answer, the level and so on, and turns records into questions. Every fault names place and field.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Axis, Split
from probes.suites.question import CHOICES, LETTERS, Question, slots_of

HASH_DIGITS: Final = 8
Name = Annotated[str, Field(pattern=r"^[^:/\s]+$")]


class Record(NamedTuple):
    """One raw item.

    Attributes:
        place: where it stood, as messages say it: file and line, or data set and number.
        fields: its values by name.
        cluster: what it shares with others of its file, if anything.
        part: which file, or which configuration and split, it comes from.
    """

    place: str
    fields: Mapping[str, Any]
    cluster: str = ""
    part: str = ""

    def text(self, field: str) -> str:
        """A field as text; numbers are written out.

        Raises:
            InputError: if the field is missing or holds no text.
        """
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{self.place}: field {field!r} should be text and is {_kind(value)}")
        return str(value)

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that lists texts.

        Raises:
            InputError: if the field is missing or is no list of texts.
        """
        value = self._value(field)
        entries = cast("list[Any]", value) if isinstance(value, list) else []
        if not entries:
            raise InputError(
                f"{self.place}: field {field!r} should be a list of texts and is {_kind(self._value(field))}"
            )
        wrong = next((entry for entry in entries if isinstance(entry, bool) or not _scalar(entry)), None)
        if wrong is not None or None in entries:
            raise InputError(f"{self.place}: field {field!r} should be a list of texts and holds {_kind(wrong)}")
        return tuple(map(str, entries))

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
        """A field as a number; NaN where it is absent, null or an empty cell.

        Raises:
            InputError: if it is there and not a finite number.
        """
        value = self.fields.get(field)
        if value is None or value == "":
            return math.nan
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{self.place}: field {field!r} should be a number and is {value!r}")
        return number

    def nested(self, field: str, *names: str) -> Record:
        """A field that holds named values itself, as a record.

        Raises:
            InputError: if it does not, or lacks one of the names.
        """
        value = self._value(field)
        inner = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if not set(names) <= set(inner):
            raise InputError(f"{self.place}: field {field!r} should hold {', '.join(names)}")
        return self._replace(fields=inner)

    def slots(self) -> dict[str, str]:
        """All fields that a wording may name."""
        return {name: str(value) for name, value in self.fields.items() if _scalar(value)}

    def _value(self, field: str) -> object:
        if field not in self.fields:
            raise InputError(f"{self.place}: no field {field!r}; there are {', '.join(map(repr, self.fields))}")
        return self.fields[field]


class Declared(BaseModel):
    """What a spec says of any suite that it declares.

    Attributes:
        name: the suite's name in tables.
        limit: items per (split, level); None takes all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    limit: int | None = Field(default=None, ge=1)


def digest(content: bytes) -> str:
    """What a suite that was not written here adds to its version: eight hex digits of its items."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


class FieldMap(Declared):
    r"""What the fields of a source mean.

    Attributes:
        version: to be raised when texts change under their old ids.
        prompt: the field that holds the text, or a conversation (a list of turns with ``role`` and ``content``, the
            last one the user's, which is then the text; it needs ``template: chat``), or a wording with fields in
            braces: ``"Q: {question}\nA:"``. A wording with ``{choices}`` lists the choices by letter, and the letter is
            then the answer.
        answer: field of the target, or None. Where there are choices: a field with their index, letter or text.
        choices: field that lists possible answers, or None.
        id: field of the item's id; None hashes the item.
        level: a field, or a number that holds for all items; absent in an item means NaN.
        split: ``in``, ``shifted``, or a field that holds one of them.
        cluster: field of the cluster.
        axis: a name, or an axis written out. A name alone is a difficulty axis if there is a level, else nominal.
    """

    version: str = "1"
    prompt: str = "text"
    answer: str | None = None
    choices: str | None = None
    id: str | None = None
    level: str | float | None = None
    split: str = "in"
    cluster: str | None = None
    axis: str | Axis = "domain"

    def ruler(self) -> Axis:
        """The axis, written out."""
        if isinstance(self.axis, Axis):
            return self.axis
        if self.level is None:
            return Axis(name=self.axis, unit="", kind="nominal", harder=None)
        return Axis(name=self.axis, unit=self.axis.replace("_", " "), kind="difficulty", harder="higher")

    def read(self, records: Iterable[Record]) -> Iterator[Question]:
        """Records as questions.

        Raises:
            InputError: if a field is missing or of the wrong kind, an item comes twice, a split is unknown, or the
                choices hold the answer twice or not at all.
        """
        seen: dict[str, str] = {}
        for record in records:
            question = self._question(record)
            key = question.id or question.example().content_hash()
            if key in seen:
                what = f"field {self.id!r} holds {key!r}" if self.id else "the item is the same"
                raise InputError(f"{record.place}: {what} as in {seen[key]}; ids must be unique")
            seen[key] = record.place
            yield question

    def _question(self, record: Record) -> Question:
        turns = record.turns(self.prompt)
        if turns:
            record = record._replace(fields={**record.fields, self.prompt: turns[-1][1]})
        wording = self.prompt if slots_of(self.prompt) else f"{{{self.prompt}}}"
        for name in slots_of(wording):
            if name != CHOICES or self.choices is None:
                record.text(name)
        level = self._level(record)
        question = Question(
            place=record.place,
            wording=wording,
            slots=record.slots(),
            id=record.text(self.id) if self.id else "",
            split=self._split(record),
            level=level,
            level_name=self.name if math.isnan(level) else "",
            cluster=record.text(self.cluster) if self.cluster else record.cluster,
            target=record.text(self.answer) if self.answer and self.choices is None else None,
            before=turns[:-1],
        )
        return question if self.choices is None else self._with_choices(record, question)

    def _with_choices(self, record: Record, question: Question) -> Question:
        if self.answer is None or self.choices is None:
            raise InputError(f"suite {self.name!r}: choices need an answer: a field with an index, a letter or a text")
        choices = record.texts(self.choices)
        right = index_of(record, self.answer, choices)
        chosen = replace(question, choices=choices, right=right)
        if chosen.ambiguous():
            raise InputError(f"{record.place}: field {self.choices!r} holds the answer {choices[right]!r} twice")
        return chosen

    def _level(self, record: Record) -> float:
        if self.level is None:
            return math.nan
        return record.number(self.level) if isinstance(self.level, str) else float(self.level)

    def _split(self, record: Record) -> Split:
        value = self.split if self.split in ("in", "shifted") else record.text(self.split)
        if value == "in":
            return "in"
        if value == "shifted":
            return "shifted"
        raise InputError(f"{record.place}: field {self.split!r} should be 'in' or 'shifted' and is {value!r}")


def index_of(record: Record, field: str, choices: tuple[str, ...]) -> int:
    """Which choice an answer means: one that reads like it, else its letter, else its index from 0.

    >>> record = Record("line 1", {"answer": "B", "number": 0})
    >>> index_of(record, "answer", ("x", "y")), index_of(record, "number", ("x", "y"))
    (1, 0)

    Raises:
        InputError: if it means none of them.
    """
    answer = record.text(field).strip()
    if not isinstance(record.fields[field], int):
        texts = [choice.strip() for choice in choices]
        if answer in texts:
            return texts.index(answer)
        if len(answer) == 1 and answer in LETTERS[: len(choices)]:
            return LETTERS.index(answer)
    if answer.isdecimal() and int(answer) < len(choices):
        return int(answer)
    raise InputError(f"{record.place}: field {field!r} should be one of {len(choices)} choices and is {answer!r}")


def _scalar(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return "empty" if value in (None, []) else type(value).__name__
