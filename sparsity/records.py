"""The record of what a measure promises, and the decorator that makes a formula a measure.

Problem: "sparser" means nothing until one knows in which direction a number moves, between which ends, what it does
to a zero vector, and whether two widths may be compared. Prose drifts from code. Idea: those promises are data next
to the formula, one test asserts every promise of every measure, and reports, tables and analyses read the same
record.

A formula is written once, in the shared quantities of a block (``sparsity.kernels.vectors``). The decorator returns the
public function that takes arrays; :func:`sparsity.profile` runs the same formula on the same block as others.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import (
    Any,
    Concatenate,
    Literal,
    NotRequired,
    ParamSpec,
    Protocol,
    TypedDict,
    Unpack,
    cast,
    runtime_checkable,
)

from sparsity.kernels.arrays import A, Array, Column, Number
from sparsity.kernels.evaluation import evaluate
from sparsity.kernels.jobs import Job
from sparsity.kernels.vectors import Vectors
from sparsity.registry import Registry

P = ParamSpec("P")


class Axiom(StrEnum):
    """The six axioms of Hurley & Rickard (2009), stated for a measure S that grows with sparsity and wealth c >= 0."""

    ROBIN_HOOD = "D1"  # giving alpha from a richer to a poorer coordinate lowers S
    SCALING = "D2"  # S(alpha c) = S(c)
    RISING_TIDE = "D3"  # adding the same amount to all lowers S, unless all are equal
    CLONING = "D4"  # S(c, c) = S(c)
    BILL_GATES = "P1"  # a coordinate that is rich enough raises S by growing further
    BABIES = "P2"  # appending a zero raises S


class Verdict(StrEnum):
    """Standing of a measure towards an axiom."""

    HOLDS = "y"
    WEAK = "w"  # never violated, but some moves that should change S leave it as it was
    FAILS = "n"
    UNDEFINED = "-"  # the move leaves the domain of the measure


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers a parameter may take: ``above < value < below``, the upper end included if ``closed``."""

    above: Number
    below: Number
    closed: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and (
            self.above < value < self.below or (self.closed and value == self.below)
        )

    def __str__(self) -> str:
        return f"a number in ({self.above:g}, {self.below:g}{']' if self.closed else ')'}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The words a parameter may take."""

    words: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return " or ".join(map(repr, self.words))


Domain = Interval | Choice
Bounds = Callable[[int, Mapping[str, Any]], tuple[float, float]]
Wealth = Literal["magnitude", "energy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Promises of a measure.

    Attributes:
        name: the one name of the measure.
        version: raised when the formula changes meaning; written beside every stored value.
        sparser: the direction of sparser vectors, or None for a measure of size.
        bounds: the declared range, from the width d and the parameters by name.
        carrier: the wealth whose distribution is measured: |x|, x^2, or the count of coordinates past a threshold.
        scale: what multiplying the vector by c > 0 does: nothing, multiply the value by c, or something else.
        at_zero: the value of the zero vector; None where the formula itself says it.
        axioms: verdicts on D1 D2 D3 D4 P1 P2, as six letters, with |x| and with x^2 as the wealth, for vectors with two
            unequal coordinates above zero (a one-hot vector is at the end of most ranges and cannot move). For a
            measure of size the value itself is taken as S.
        source: where the definition comes from.
        equation: the formula in one line.
        parameters: the domain of each parameter, in the order in which they are written.
        min_width: the smallest number of coordinates for which the measure means anything.
        kernel: the formula on a block of vectors.
        function: the public function.
    """

    name: str
    version: int
    sparser: Literal["higher", "lower"] | None
    bounds: Bounds
    carrier: Literal["magnitude", "energy", "count"]
    scale: Literal["invariant", "equivariant", "none"]
    at_zero: float | None
    axioms: Mapping[Wealth, str]
    source: str
    equation: str
    parameters: Mapping[str, Domain] = field(default_factory=dict[str, Domain])
    min_width: int = 2
    kernel: Callable[..., Column]
    function: Callable[..., Array]

    @property
    def summary(self) -> str:
        """The first line of the docstring: what the number means at both ends."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def comparable(self) -> bool:
        """True where values at different widths may be compared: a vector and its clone measure the same."""
        return self.verdict(Axiom.CLONING) is Verdict.HOLDS

    def verdict(self, axiom: Axiom, wealth: Wealth = "magnitude") -> Verdict:
        """Say how the measure stands to one axiom when ``wealth`` is what the coordinates own."""
        return Verdict(self.axioms[wealth][list(Axiom).index(axiom)])

    def check(self, arguments: Mapping[str, object]) -> None:
        """Raise ``ValueError`` unless every parameter is given and in its domain."""
        wanted = ", ".join(self.parameters) or "no parameters"
        if arguments.keys() != self.parameters.keys():
            raise ValueError(f"{self.name} takes {wanted}, got {', '.join(map(str, arguments)) or 'none'}")
        for parameter, domain in self.parameters.items():
            if arguments[parameter] not in domain:
                raise ValueError(f"{self.name} expects {parameter} to be {domain}, got {arguments[parameter]!r}")

    def job(self, arguments: Mapping[str, Any]) -> Job:
        """Bind the parameters, checked, to the formula."""
        self.check(arguments)
        bound = {name: float(value) if isinstance(value, int) else value for name, value in arguments.items()}
        return Job(self.name, self.kernel, tuple(bound.items()), self.at_zero, self.min_width)


METRICS: Registry[Metric] = Registry("metric", "sparsity.measures", plugins="sparsity.metrics")


@runtime_checkable
class Measure(Protocol[P]):
    """A measure as users call it: an array in, the same kind of array out with the last axis gone."""

    __name__: str

    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> A:
        """Reduce the last axis of ``x``."""
        ...


class Promises(TypedDict):
    """The fields of :class:`Metric` that an author states; name, formula and function come from the source itself."""

    version: int
    sparser: Literal["higher", "lower"] | None
    bounds: Bounds
    carrier: Literal["magnitude", "energy", "count"]
    scale: Literal["invariant", "equivariant", "none"]
    at_zero: float | None
    axioms: Mapping[Wealth, str]
    source: str
    equation: str
    parameters: NotRequired[Mapping[str, Domain]]
    min_width: NotRequired[int]


def metric(**promises: Unpack[Promises]) -> Callable[[Callable[Concatenate[Vectors, P], Column]], Measure[P]]:
    """Register a formula under its own name with what it promises."""

    def register(kernel: Callable[Concatenate[Vectors, P], Column]) -> Measure[P]:
        @wraps(kernel)
        def measure(x: A, /, *args: P.args, **kwargs: P.kwargs) -> A:
            if args:
                raise ValueError(
                    f"{record.name} takes its parameters by name: {', '.join(record.parameters) or 'none'}"
                )
            return evaluate(x, [record.job(kwargs)])[0]

        record = Metric(name=kernel.__name__, kernel=kernel, function=measure, **promises)
        signature = inspect.signature(kernel)
        first = inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY, annotation=Array)
        others = list(signature.parameters.values())[1:]
        cast("Any", measure).__signature__ = signature.replace(parameters=[first, *others], return_annotation=Array)
        METRICS.add(record.name, record)
        return cast("Measure[P]", measure)

    return register
