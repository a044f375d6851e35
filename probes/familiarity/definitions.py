"""Promises of a measure of familiarity, and its spelling.

"Familiar" is not one thing: a short code length may mean that a text was seen or that any text like it is easy, an
exact count may miss a paraphrase. So each measure states in data what it needs, which end means familiar, what it
stands in for, and how it fails; reports print the last two beside the number.

A measure is written as metrics are, ``min_k(0.2)``, and is about the prompt; ``answer.min_k(0.2)`` is about the target,
given the prompt.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, NotRequired, TypedDict, TypeVar, Unpack, cast

import numpy as np
from jaxtyping import Float64

from probes.errors import InputError
from sparsity.records import Interval
from sparsity.registry import Registry
from sparsity.specs import FORM

Part = Literal["prompt", "answer"]
Needs = Literal["logits", "states", "corpus", "world", "memory"]
ANSWER: Final = "answer."


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """The numbers a count may be: 1, 2, 3 and so on."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and value >= 1 and float(value).is_integer()

    def __str__(self) -> str:
        return "a whole number from 1 on"


Domain = Interval | WholeNumber


class Values(NamedTuple):
    """Values of a measure for one part of one text.

    Attributes:
        item: of the part as a whole; NaN where undefined.
        tokens: of each of its symbols, None if the measure has no value for one; NaN where undefined.
        reason: why the item's value is NaN, ``""`` if it is not.
    """

    item: float
    tokens: Float64[np.ndarray, " symbols"] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """Promises of a measure.

    Attributes:
        name: the one name of the measure.
        version: raised when the formula changes meaning.
        familiar: which end means that the input is well known.
        needs: what it is read from: the model's logits, its hidden states, a corpus index, the laboratory's world, or a
            memory beside the model.
        unit: of its values.
        proxy: what it stands in for.
        fails: how it goes wrong.
        source: where the definition comes from.
        parameters: the domain of each parameter, in the order in which they are written.
        usual: what they are in the work that the measure comes from, and when it is written without them.
        function: evidence and parameters to :class:`Values`.
    """

    name: str
    version: int
    familiar: Literal["higher", "lower"]
    needs: Needs
    unit: str
    proxy: str
    fails: str
    source: str
    parameters: Mapping[str, Domain] = field(default_factory=dict[str, Domain])
    usual: tuple[float, ...] | None = None
    function: Callable[..., Values]

    @property
    def summary(self) -> str:
        """The first line of the docstring: what the number means at both ends."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def form(self) -> str:
        """Spelling of the measure."""
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


FAMILIARITY: Final[Registry[Familiarity]] = Registry("familiarity measure", "probes.familiarity.measures")


class Promises(TypedDict):
    """The fields of :class:`Familiarity` that an author states; name and function come from the source itself."""

    version: int
    familiar: Literal["higher", "lower"]
    needs: Needs
    unit: str
    proxy: str
    fails: str
    source: str
    parameters: NotRequired[Mapping[str, Domain]]
    usual: NotRequired[tuple[float, ...]]


F = TypeVar("F", bound=Callable[..., Values])


def familiarity(**promises: Unpack[Promises]) -> Callable[[F], F]:
    """Register a function under its own name with what it promises."""

    def register(function: F) -> F:
        name = cast("Any", function).__name__
        FAMILIARITY.add(name, Familiarity(name=name, function=function, **promises))
        return function

    return register


@dataclass(frozen=True, slots=True, order=True)
class FamiliaritySpec:
    """A measure with its parameters bound, about one part of the text.

    >>> spec = FamiliaritySpec.parse("answer.min_k(.20)")
    >>> str(spec), spec.part, spec.record.familiar
    ('answer.min_k(0.2)', 'answer', 'higher')
    """

    name: str
    arguments: tuple[float, ...] = ()
    part: Part = "prompt"

    def __post_init__(self) -> None:
        """Refuse an unknown name, a missing parameter and a value out of its domain."""
        record = self.record
        if len(self.arguments) != len(record.parameters):
            raise InputError(f"{self.name} is written {record.form}, got {len(self.arguments)} of the values")
        for (parameter, domain), value in zip(record.parameters.items(), self.arguments, strict=True):
            if value not in domain:
                raise InputError(f"{self.name} expects {parameter} to be {domain}, got {value:g}")

    @classmethod
    def parse(cls, text: str) -> FamiliaritySpec:
        """Read ``name(value, ...)``, with or without ``answer.`` before and ``@version`` after.

        A bare ``name`` stands for the measure with its usual values, if it has some: ``min_k`` is ``min_k(0.2)``.

        Raises:
            UnknownNameError: if no measure has that name.
            InputError: if the text, a value or the version is not one this package has.
        """
        stripped = text.strip()
        part: Part = "answer" if stripped.startswith(ANSWER) else "prompt"
        match = FORM.fullmatch(stripped.removeprefix(ANSWER))
        if match is None:
            raise InputError(f"a measure is written name, name(value, ...) or answer.name, got {text!r}")
        record = FAMILIARITY[match["name"]]
        words = [word.strip() for word in (match["values"] or "").split(",") if word.strip()]
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            raise InputError(f"{record.name} is written {record.form} with numbers, got {text!r}") from None
        if match["values"] is None and record.usual is not None:
            values = record.usual
        if match["version"] is not None and int(match["version"]) != record.version:
            raise InputError(f"{record.name} is at version {record.version} here, got version {match['version']}")
        return cls(record.name, values, part)

    @property
    def record(self) -> Familiarity:
        """Promises of the measure."""
        return FAMILIARITY[self.name]

    @property
    def versioned(self) -> str:
        """The written form with the version of the formula, as stored beside values."""
        return f"{self}@{self.record.version}"

    def measure(self, evidence: object) -> Values:
        """Apply the measure to the kind of evidence that it needs."""
        bound = {
            name: int(value) if isinstance(domain, WholeNumber) else value
            for (name, domain), value in zip(self.record.parameters.items(), self.arguments, strict=True)
        }
        return self.record.function(evidence, **bound)

    def __str__(self) -> str:
        own = ", ".join(repr(value).removesuffix(".0") for value in self.arguments)
        return f"{ANSWER if self.part == 'answer' else ''}{self.name}{f'({own})' if own else ''}"


def parse_familiarity(texts: str | Iterable[str]) -> tuple[FamiliaritySpec, ...]:
    """Read several measures; none may be asked for twice."""
    specs = [FamiliaritySpec.parse(text) for text in ([texts] if isinstance(texts, str) else texts)]
    doubled = next((spec for index, spec in enumerate(specs) if spec in specs[:index]), None)
    if doubled is not None:
        raise InputError(f"the measure {doubled} is asked for twice; name it once")
    return tuple(specs)
