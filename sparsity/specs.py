"""Spelling of a measure in text: one grammar for specs, tables and the command line.

``name`` or ``name(value, ...)`` with the values in the declared order of the parameters, then optionally
``@version``. Text is parsed once into a :class:`MetricSpec`; ``str()`` of that is the only form ever written, with
the shortest decimals that read back as the same number: ``top_k_energy(0.10)`` and ``top_k_energy(.1)`` are both
``top_k_energy(0.1)``. Nothing is evaluated.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sparsity.measures.concentration import effective_dimension_l1, gini, hoyer
from sparsity.measures.energy import effective_dimension_l2, participation_ratio, top_k_energy
from sparsity.measures.scale import l2_norm
from sparsity.records import METRICS, Choice, Metric

FORM = re.compile(r"\s*(?P<name>\w+)\s*(?:\((?P<values>[^()]*)\))?\s*(?:@(?P<version>\d+))?\s*")


@dataclass(frozen=True, slots=True, order=True)
class MetricSpec:
    """A measure with its parameters bound.

    >>> spec = MetricSpec.parse("top_k_energy(.10)")
    >>> str(spec), spec.versioned, spec.record.sparser
    ('top_k_energy(0.1)', 'top_k_energy(0.1)@1', 'higher')
    """

    name: str
    arguments: tuple[float | str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown name, a missing parameter and a value out of its domain."""
        if len(self.arguments) != len(self.record.parameters):
            raise ValueError(f"{self.name} expects {_form(self.record)}, got {len(self.arguments)} of the values")
        self.record.check(self.keywords)

    @classmethod
    def parse(cls, text: str) -> "MetricSpec":
        """Read ``name(value, ...)``, with or without ``@version``.

        Raises:
            UnknownNameError: if no measure has that name.
            ValueError: if the text, a value or the version is not one this package has.
        """
        match = FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"a metric is written name or name(value, ...), got {text!r}")
        record = METRICS[match["name"]]
        written = [value.strip() for value in match["values"].split(",")] if (match["values"] or "").strip() else []
        if len(written) != len(record.parameters):
            raise ValueError(f"{record.name} expects {_form(record)}, got {text.strip()!r}")
        domains = record.parameters.values()
        values = [
            _read(record, word, isinstance(domain, Choice)) for word, domain in zip(written, domains, strict=True)
        ]
        if match["version"] is not None and int(match["version"]) != record.version:
            raise ValueError(
                f"{record.name} is at version {record.version} here, got version {match['version']}; "
                f"write {record.name} without a version, or use the toolkit that has it"
            )
        return cls(record.name, tuple(values))

    @property
    def record(self) -> Metric:
        """Promises of the measure."""
        return METRICS[self.name]

    @property
    def keywords(self) -> dict[str, float | str]:
        """The arguments by parameter name, as the function takes them."""
        return dict(zip(self.record.parameters, self.arguments, strict=True))

    @property
    def versioned(self) -> str:
        """The written form with the version of the formula, as stored beside values."""
        return f"{self}@{self.record.version}"

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        return f"{self.name}({', '.join(_written(value) for value in self.arguments)})"


def parse_metrics(texts: str | MetricSpec | Iterable[str | MetricSpec]) -> tuple[MetricSpec, ...]:
    """Read several measures; ``default`` stands for :data:`DEFAULT_METRICS`, and no measure may be asked for twice.

    >>> [str(spec) for spec in parse_metrics(["gini", "top_k_energy(.05)"])]
    ['gini', 'top_k_energy(0.05)']
    """
    specs: list[MetricSpec] = []
    for text in [texts] if isinstance(texts, str | MetricSpec) else texts:
        if isinstance(text, MetricSpec):
            specs.append(text)
        else:
            specs.extend(DEFAULT_METRICS if text.strip() == "default" else [MetricSpec.parse(text)])
    for index, spec in enumerate(specs):
        if spec in specs[:index]:
            raise ValueError(f"the metric {spec} is asked for twice; name it once")
    return tuple(specs)


def _form(record: Metric) -> str:
    return (
        f"{record.name}({', '.join(record.parameters)})" if record.parameters else f"{record.name} without parameters"
    )


def _read(record: Metric, word: str, is_word: bool) -> float | str:
    if is_word:
        return word
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{record.name} expects {_form(record)} with numbers, got {word!r}") from None


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")


DEFAULT_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(gini.__name__),
    MetricSpec(hoyer.__name__),
    MetricSpec(top_k_energy.__name__, (0.05,)),
    MetricSpec(top_k_energy.__name__, (0.1,)),
    MetricSpec(effective_dimension_l1.__name__),
    MetricSpec(effective_dimension_l2.__name__),
    MetricSpec(participation_ratio.__name__),
    MetricSpec(l2_norm.__name__),
)
