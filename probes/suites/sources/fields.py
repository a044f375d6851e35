"""Fields of a source and their meaning: prompt, answer, level, and so on.

A field map turns records into questions. An item that lacks what it needs, or comes twice, does not end its source: it
becomes a question with a fault, which a sweep records, and the rest is asked. A source without a single sound item is
refused with the first fault, because then the spec is wrong and not the data.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from probes.errors import InputError
from probes.suites.example import Split
from probes.suites.question import CHOICES, Question, slots_of
from probes.suites.sources.keys import Choices, KeyReading, choices_of, key_reading
from probes.suites.sources.labelled import TRUTH, Label, Record
from probes.vocabulary.axes import AXES, Axis, AxisKind, Harder, declared

HASH_DIGITS: Final = 8
DOMAIN: Final = "domain"
Name = Annotated[str, Field(pattern=r"^[^:/\s]+$")]
Records = Callable[[], Iterable[Record]]
"""Gives the records of a source from the first one on; a source may be read twice."""


class Declared(BaseModel):
    """Keys of a spec that hold for any suite that it declares.

    Attributes:
        name: the suite's name in tables.
        limit: items per (split, level); None takes all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    limit: int | None = Field(default=None, ge=1)


def digest(content: bytes) -> str:
    """Hash that a suite not written here adds to its version: eight hex digits of its items."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def _listed(value: object) -> object:
    return [str(entry) for entry in cast("list[object]", value)] if isinstance(value, list) else value


class FieldMap(Declared):
    r"""Meaning of the fields of a source.

    Attributes:
        version: to be raised when texts change under their old ids.
        prompt: the field that holds the text, or a conversation (a list of turns with ``role`` and ``content``, the
            last one the user's, which is then the text; it needs ``template: chat``), or a wording with fields in
            braces: ``"Q: {question}\nA:"``. A wording with ``{choices}`` lists the choices by letter, and the letter is
            then the answer.
        answer: field of the target, or None. Where there are choices: a field with their text, label or number.
        choices: field that lists possible answers, or None.
        labels: what answers call the choices: ``text``, a list such as ``[1, 2, 3, 4]``, or a field that lists them;
            None lets the data decide (`probes.suites.sources.keys`).
        id: field of the item's id; None hashes what is asked.
        level: a field, or a number that holds for all items; absent in an item means NaN. True is 1 and false 0.
        split: ``in``, ``shifted``, or a field that holds one of them.
        cluster: field of the cluster: what items made from one source share. Items without one whose ids end in
            another way in each group (``mgsm-17-te``, ``mgsm-17-en``) are paired by what stands before the ending.
        axis: a name, or an axis written out; None takes the name of the level's field. The names of
            `probes.vocabulary.axes` have a direction; any other name with levels needs ``kind`` and ``harder``.
        kind: what the axis measures; ``nominal`` has no order, and levels may then be names.
        harder: which end is the harder or less familiar one, ``higher`` or ``lower``.
    """

    version: str = Field(default="1", coerce_numbers_to_str=True)
    prompt: str = "text"
    answer: str | None = None
    choices: str | None = None
    labels: Annotated[str | tuple[str, ...] | None, BeforeValidator(_listed)] = None
    id: str | None = None
    level: str | float | None = None
    split: str = "in"
    cluster: str | None = None
    axis: str | Axis | None = None
    kind: AxisKind | None = None
    harder: Harder | None = None

    def ruler(self) -> Axis:
        """The axis, written out.

        Raises:
            InputError: if nobody says which end of it is harder.
        """
        if isinstance(self.axis, Axis):
            return replace(self.axis, kind=self.kind or self.axis.kind, harder=self.harder or self.axis.harder)
        name = self.axis or (self.level if isinstance(self.level, str) else DOMAIN)
        return declared(name, has_levels=self.level is not None, kind=self.kind, harder=self.harder)

    def read(self, records: Records) -> Iterator[Question]:
        """Records as questions, those that cannot be asked or come twice with a fault.

        Raises:
            InputError: if no item is sound, or it is open what the answers mean.
        """
        keys = None if self.choices is None else self._keys(records)
        names = Names()
        fault = ""
        for record in records():
            try:
                question = names.told_apart(self._question(record, keys))
            except InputError as error:
                fault = fault or str(error)
                question = names.unsound(record, self._at(record), str(error))
            yield question
        if fault and not len(names):
            raise InputError(fault)

    def _keys(self, records: Records) -> KeyReading:
        if self.answer is None or self.choices is None:
            raise InputError(f"suite {self.name!r}: choices need an answer: a field with a text, a label or a number")
        try:
            return key_reading(self._with_choices(records, self.choices), self.answer, self.labels)
        except InputError as error:
            raise InputError(f"suite {self.name!r}: {error}") from None

    def _with_choices(self, records: Records, field: str) -> Iterator[tuple[Record, Choices]]:
        for record in records():
            try:
                yield record, choices_of(record, field, self.labels)
            except InputError:
                continue  # a fault of that item, said when it is its turn

    def _question(self, record: Record, keys: KeyReading | None) -> Question:
        turns = record.turns(self.prompt)
        if turns:
            record = record._replace(fields={**record.fields, self.prompt: turns[-1][1]})
        wording = self.prompt if slots_of(self.prompt) else f"{{{self.prompt}}}"
        for name in slots_of(wording):
            if name != CHOICES or self.choices is None:
                record.text(name)
        placed = self._placed(record)
        question = replace(
            placed,
            wording=wording,
            slots=record.slots(),
            id=record.text(self.id) if self.id else "",
            cluster=record.text(self.cluster) if self.cluster else record.cluster,
            target=record.text(self.answer) if self.answer and self.choices is None else None,
            before=turns[:-1],
        )
        if self.choices is None or self.answer is None or keys is None:
            return question
        choices = choices_of(record, self.choices, self.labels)
        right = keys.right(record, self.answer, choices)
        chosen = replace(question, choices=choices.texts, right=right)
        if chosen.ambiguous():
            raise InputError(f"{record.place}: field {self.choices!r} holds the answer {choices.texts[right]!r} twice")
        return chosen

    def _placed(self, record: Record) -> Question:
        """Level and split of an item."""
        level, name = self._level(record)
        return Question(place=record.place, slots={}, split=self._split(record), level=level, level_name=name)

    def _at(self, record: Record) -> Question:
        """Level and split of an item that cannot be asked, as far as it says."""
        try:
            return self._placed(record)
        except InputError:
            return Question(place=record.place, slots={}, level_name=self.name)

    def _level(self, record: Record) -> tuple[float, str]:
        if not isinstance(self.level, str):
            level = math.nan if self.level is None else float(self.level)
            return level, self.name if math.isnan(level) else ""
        value = record.fields.get(self.level)
        if self._has_names and value not in (None, ""):
            return math.nan, record.text(self.level)
        try:
            level = record.number(self.level)
        except InputError as error:
            raise InputError(f"{error}; levels that are names need kind: nominal") from None
        if math.isnan(level):
            return level, self.name
        is_named = isinstance(value, Label | bool) or str(value).lower() in TRUTH
        return level, str(value) if is_named else ""

    @cached_property
    def _has_names(self) -> bool:
        """True where levels are names: on an axis without order."""
        axis = AXES.get(self.axis) if isinstance(self.axis, str) else self.axis
        return "nominal" in (self.kind, None if axis is None or self.kind else axis.kind)

    def _split(self, record: Record) -> Split:
        value = self.split if self.split in ("in", "shifted") else record.text(self.split)
        if value == "in":
            return "in"
        if value == "shifted":
            return "shifted"
        raise InputError(f"{record.place}: field {self.split!r} should be 'in' or 'shifted' and is {value!r}")


class Names:
    """The names that items of one source have so far, few bytes each, so that no two have one name."""

    def __init__(self) -> None:
        self._contents: dict[int, int] = {}
        self._times: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._contents)

    def told_apart(self, question: Question) -> Question:
        """A question as it is, or with a fault and a name of its own if it stood there before."""
        asked = question.example()
        content = _number(asked.content_hash())
        key = _number(question.id) if question.id else content
        earlier = self._contents.get(key)
        if earlier is None:
            self._contents[key] = content
            return question
        times = self._times[key] = self._times.get(key, 1) + 1
        name = f"{question.id or asked.content_hash()}#{times}"
        if earlier == content:
            return replace(question, id=name, repeats="the same item stands there before; asked once")
        fault = f"{question.place}: another item before has the id {question.id!r}; ids must be unique"
        return replace(question, id=name, fault=fault)

    def unsound(self, record: Record, at: Question, fault: str) -> Question:
        """A question that cannot be asked, named by what its record holds."""
        content = json.dumps([record.fields, record.part], ensure_ascii=True, default=str, sort_keys=True)
        key = _number(f"unsound {content}")
        times = self._times[key] = self._times.get(key, 0) + 1
        return replace(at, id=f"unreadable-{key:016x}" + (f"#{times}" if times > 1 else ""), fault=fault)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
