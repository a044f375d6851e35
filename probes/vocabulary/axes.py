"""The axes: which end of each is the harder or less familiar one, and what it measures. One table, read by all.

Suites of the toolkit lie on the axes of this table. A suite of one's own that calls its axis by one of these names gets
that axis; one that calls it anything else says ``kind`` and ``harder`` itself, because nobody can tell from a name such
as ``score`` which end is hard. ``sparsity list axes`` prints the table.

>>> AXES["solve_rate"].harder, AXES["steps"].harder
('lower', 'higher')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from probes.errors import InputError

AxisKind = Literal["difficulty", "familiarity", "length", "nominal"]
AXIS_KINDS: Final[tuple[AxisKind, ...]] = get_args(AxisKind)
Harder = Literal["higher", "lower"]
FARTHER: Final[Mapping[AxisKind, str]] = MappingProxyType(
    {"difficulty": "harder", "familiarity": "less familiar", "length": "longer", "nominal": "shifted"}
)
"""The far end of an axis in a word, by what the axis measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The ruler of a suite.

    Attributes:
        name: one word that suites share when they may be pooled, e.g. ``exposure``.
        unit: what one step means, e.g. ``presentations in training``.
        kind: what the ruler measures; ``nominal`` has no order and gets contrasts instead of trend tests.
        harder: which end is the harder or less familiar one; None for a nominal axis.
    """

    name: str
    unit: str
    kind: AxisKind
    harder: Harder | None

    @property
    def farther(self) -> str:
        """The far end in a word, as sentences name it.

        >>> AXES["solve_rate"].farther, AXES["exposure"].farther
        ('harder', 'less familiar')
        """
        return FARTHER[self.kind]

    def __post_init__(self) -> None:
        if (self.kind == "nominal") != (self.harder is None):
            raise InputError(f"axis {self.name!r}: a nominal axis has no harder end and every other axis has one")


_ORDERED: Final[dict[AxisKind, tuple[tuple[str, str, Harder], ...]]] = {
    "difficulty": (  # how hard: by what it takes, or by who can do it
        ("difficulty", "difficulty as graded", "higher"),
        ("level", "level as graded", "higher"),
        ("grade", "school grade", "higher"),
        ("hard", "hard (1) or not (0)", "higher"),
        ("solve_rate", "share of attempts that solve it", "lower"),
        ("pass_rate", "share of attempts that pass", "lower"),
        ("success_rate", "share of attempts that succeed", "lower"),
        ("accuracy", "share of answers that are right", "lower"),
        ("percent_correct", "percent of answers that are right", "lower"),
        ("steps", "calculations in the solution", "higher"),
        ("reasoning_steps", "steps of reasoning", "higher"),
        ("n_steps", "steps of the solution", "higher"),
        ("hops", "links to follow", "higher"),
        ("n_hops", "links to follow", "higher"),
        ("digits", "digits of the numbers", "higher"),
        ("operands", "numbers to combine", "higher"),
        ("carries", "carries in the sum", "higher"),
        ("objects", "objects", "higher"),
        ("options", "answer options", "higher"),
        ("choices", "answers listed", "higher"),
        ("pairs", "links in the prompt", "higher"),
        ("distance", "words between links and question", "higher"),
        ("links_from_fact", "links after the stored fact", "higher"),
        ("supporting_facts", "facts that the answer rests on", "higher"),
        ("solution_lines", "lines of the reference solution", "higher"),
        ("math_level", "level (1-5)", "higher"),
        ("math_difficulty", "difficulty as rated by a model", "higher"),
        ("arc_set", "easy 0, challenge 1", "higher"),
    ),
    "familiarity": (  # how often met before, or how far from what was
        ("exposure", "presentations in training", "lower"),
        ("frequency", "occurrences in training text", "lower"),
        ("popularity", "how often it is looked up", "lower"),
        ("typicality", "share of the range that people's ratings have", "lower"),
        ("demonstrations", "solved examples before", "lower"),
        ("shots", "solved examples before", "lower"),
        ("typos", "share of letters", "higher"),
        ("casing", "share of letters", "higher"),
        ("character_swap", "share of neighbouring letters", "higher"),
        ("character_noise", "share of characters", "higher"),
        ("word_order", "share of words", "higher"),
        ("perplexity", "perplexity under a reference", "higher"),
        ("policy_weight", "fair shares of the weight in training", "lower"),
    ),
    "length": (  # how much text, or how far away in it
        ("length", "length", "higher"),
        ("n_tokens", "tokens", "higher"),
        ("n_words", "words", "higher"),
        ("context_words", "words of filler", "higher"),
        ("context_length", "thousand tokens of context", "higher"),
        ("depth", "share of the context before the relevant part", "lower"),
    ),
}
_NOMINAL: Final = (
    *("domain", "language", "subject", "wording", "phrasing", "grammaticality", "composition", "generalisation"),
    *("knowledge_conflict", "said_before", "modality", "geometric", "physical", "causal"),
)
AXES: Final[Mapping[str, Axis]] = MappingProxyType(
    {
        axis.name: axis
        for axis in (
            *(
                Axis(name=name, unit=unit, kind=kind, harder=harder)
                for kind, entries in _ORDERED.items()
                for name, unit, harder in entries
            ),
            *(Axis(name=name, unit="", kind="nominal", harder=None) for name in _NOMINAL),
        )
    }
)
TWO_QUESTIONS: Final = frozenset({"geometric", "physical", "causal"})
"""Axes of suites that ask two questions about one text: what differs is what is asked, not the text that is read."""
ELSEWHERE: Final = frozenset({"depth"})
"""Names that mean one thing in a suite of the toolkit and mostly another elsewhere; a spec says what they mean."""


def declared(
    name: str, *, has_levels: bool, kind: AxisKind | None = None, harder: Harder | None = None, unit: str | None = None
) -> Axis:
    """The axis of a suite that a spec declares: the one of that name in the table, except for what the spec says.

    Args:
        name: what the spec calls it.
        has_levels: whether items have levels; without any the axis is nominal unless the spec says otherwise.
        kind: what it measures, said by the spec.
        harder: which end is the harder or less familiar one, said by the spec.
        unit: what one step means, said by the spec.

    Raises:
        InputError: if an axis that is not in the table has levels, and the spec does not say which end is harder and
            what it measures.
    """
    known = None if name in ELSEWHERE else AXES.get(name)
    if kind is None and not has_levels:
        kind = "nominal"
    if known is not None and kind in (None, known.kind):
        kind, harder = known.kind, harder or known.harder
    if kind == "nominal":
        return Axis(name=name, unit=unit or "", kind="nominal", harder=harder)
    if kind is None or harder is None:
        lacking = [
            *(["`harder: higher` or `harder: lower` (which end is harder or less familiar)"] if not harder else []),
            *([f"`kind:` {', '.join(get_args(AxisKind)[:-1])} or {get_args(AxisKind)[-1]}"] if not kind else []),
        ]
        raise InputError(f"axis {name!r} is none of `sparsity list axes`; say {' and '.join(lacking)}")
    return Axis(name=name, unit=unit or (known.unit if known else name.replace("_", " ")), kind=kind, harder=harder)
