"""A finding: one question, one number with its interval, the Gaussian null, and what may be said of it.

Problem: reports drift from statistics when sentences are typed by hand. Idea: an analysis returns findings, and
everything a reader meets (page, Markdown, JSON, the line in the terminal) is a view of them. A finding carries its
own sentence, verdict and figure data; a p-value is a field of the test that stands beside an estimate and is never
found alone.

Non-goals: layout (``reporting``) and drawing (``figures``).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, cast

from analyses.data.panels import place
from analyses.findings.display import Row, card
from analyses.findings.formatting import p_value, shown, with_interval
from analyses.findings.null import Side
from analyses.statistics.equivalence import NORMAL_QUANTILE, Equivalence

Verdict = Literal[
    "supported", "contradicted", "undecided", "described",  # a pre-stated answer
    "significantly positive", "significantly negative", "not significant",  # one of many secondary ones
]  # fmt: skip
Generality = Literal["items", "domains", "templates", "seeds", "models"]
Role = Literal["pre_treatment", "mediator", "state", "collider", "basis", "intervention"]

ALPHA: Final = 0.05
FEWEST_TO_GENERALISE: Final = 6
LENGTH: Final = "n_tokens"  # name of the control that no correlation goes without
COUNT: Final = "count"  # key of an effect that is a number of things
DETECTABLE: Final = "detectable"  # key of an effect
SIDES: Final[dict[str, int]] = {
    "supported": 1,
    "significantly positive": 1,
    "contradicted": -1,
    "significantly negative": -1,
}


class Level(NamedTuple):
    """One level or domain: where it lies on the axis and the mean of the measure there with its 95 % interval."""

    name: str
    value: float
    shifted: bool
    n: int
    mean: float
    low: float
    high: float


class Null(NamedTuple):
    """The Gaussian null: the exact expectation for an i.i.d. Gaussian vector of this width.

    Attributes:
        kind: which null.
        value: its expectation.
        sd: standard deviation of the measure of one such vector.
        excess: mean over the items less the expectation; the sign is that of the measure, not of sparsity.
        interval: 95 % interval of the excess.
        sparser: which side of it is the sparse one.
        sign: on which side of the null the items lie, by the interval.
    """

    kind: Literal["gaussian"]
    value: float
    sd: float
    excess: float
    interval: tuple[float, float]
    sparser: Literal["higher", "lower"]
    sign: Side


class Control(NamedTuple):
    """The estimate with one covariate held fixed.

    Attributes:
        name: the covariate.
        role: ``pre_treatment`` may be adjusted for; a ``mediator`` is read off the output and a ``state`` computed from
            the state itself (its norm), and adjusting for either removes no confounder.
        estimate: the adjusted estimate, in the unit of the finding's own; NaN where it cannot be separated from the
            covariate.
        interval: its 95 % interval.
        correlation: rank correlation of the measure with the covariate.
    """

    name: str
    role: Role
    estimate: float
    interval: tuple[float, float]
    correlation: float

    @property
    def p(self) -> float:
        """Two-sided p-value of the adjusted estimate, from its interval; NaN without one."""
        return p_of(self.estimate, self.interval)


class LeftOut(NamedTuple):
    """Items of the suite that a finding does not use, and why."""

    reason: str
    n: int


class Effect(NamedTuple):
    """Another effect size of the same comparison: Cohen's d beside Cliff's delta, Kendall's tau-b beside Spearman's.

    Attributes:
        name: which.
        estimate: its value; NaN where there is none.
        interval: its 95 % interval; NaN where it has none.
        reason: why there is no value; empty where there is one.
        key: the word by which programs find it among the effects of a finding; empty where none looks for it.
        of: what it is an effect of, where several effects have one key: a domain, the input of a code.
    """

    name: str
    estimate: float
    interval: tuple[float, float]
    reason: str = ""
    key: str = ""
    of: str = ""


class Mark(NamedTuple):
    """One point, row or cell of a plot; ``low`` and ``high`` are NaN where it has no interval.

    Attributes:
        series: the line of a curve, the heading of a group of rows, the row of a matrix.
        name: the label of the point or row, the column of a matrix.
        x: place on the x axis of a curve; NaN elsewhere.
        value: what is drawn.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    series: str
    name: str
    x: float
    value: float
    low: float
    high: float


class Plot(NamedTuple):
    """Figure data that are no level means; how it looks is the business of :mod:`analyses.figures`.

    Attributes:
        kind: ``curve`` lines over a number, ``forest`` rows of estimates with intervals, ``matrix`` cells.
        x: what the horizontal axis shows, with its unit.
        y: what the vertical axis shows; for a forest empty.
        marks: the data, in the order of drawing.
        reference: the value that means nothing happened (a line in the plot); NaN where there is none.
    """

    kind: Literal["curve", "forest", "matrix"]
    x: str
    y: str
    marks: tuple[Mark, ...]
    reference: float = math.nan


class Significance(NamedTuple):
    """A test of the estimate, alone and as one of many.

    Attributes:
        name: which test.
        p: its two-sided p-value.
        p_adjusted: decides the verdict. Of a pre-stated finding: the larger of p and of the p-value after adjusting
            for length, by Holm over the suites of its model and question (family-wise). Of a secondary one: p, by
            Benjamini and Hochberg over those of its question, where all measures of sparsity of one site and group
            count as one test together.
        p_family: by Westfall and Young's max-T over all layers, sites, measures and suites of its question: the
            probability of one trend as large anywhere, if there is none at all. NaN where nothing was permuted.
        correction: what `p_adjusted` is corrected by, in words; empty where nothing was corrected.
    """

    name: str
    p: float
    p_adjusted: float
    p_family: float = math.nan
    correction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Scope of a finding; empty fields mean that it is about all of them.

    Attributes:
        model: the model as the sweep names it.
        suite: the suite or suites.
        axis: name of the axis.
        site: site in the network without layer.
        layer: its layer; None where the finding is about all layers.
        position: which tokens.
        metric: the measure.
        group: the level or domain that is compared; empty for a trend.
        basis: the coordinates in which the measure was read; ``raw`` are the model's own.
    """

    model: str = ""
    suite: str = ""
    axis: str = ""
    site: str = ""
    layer: int | None = None
    position: str = ""
    metric: str = ""
    group: str = ""
    basis: str = "raw"

    @property
    def place(self) -> str:
        """Site and layer as people write them."""
        return self.site if self.layer is None else place(self.site, self.layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer.

    Attributes:
        analysis: which analysis gave it.
        question: what was asked.
        scope: of what.
        primary: whether it is the one pre-stated answer of its analysis; all others are secondary and adjusted.
        selected: whether the data chose its site and layer (that of the largest effect, say), so that they were not
            stated in advance.
        estimate: the number; NaN where the question could not be answered. Where the unit says so, its sign is turned
            so that positive means sparser.
        unit: what the number is.
        interval: 95 % interval.
        quantity: what kind of number it is, in a word or two (``rank correlation``, ``Cliff's delta``).
        adjusted_for: names of what the estimate itself is adjusted for; empty where it is adjusted for nothing.
        n: items used.
        n_clusters: independent clusters among them.
        left_out: items of the suite that are not used, with the reason.
        null: the Gaussian null, where the measure has one.
        test: the test, where there is one.
        generalises_over: what the interval generalises to beyond the items at hand.
        controls: the estimate with covariates held fixed.
        effects: other effect sizes of the same comparison, signs turned alike.
        bound: whether the estimate is negligible beside the noise floor; "no effect" is said only where it is.
        verdict: what may be said.
        text: one sentence with the numbers.
        levels: the figure's data where these are means per level.
        plot: the figure's data where they are something else.
        reproduce: the command that gives it again.
    """

    analysis: str
    question: str
    scope: Scope
    primary: bool = False
    selected: bool = False
    estimate: float = math.nan
    unit: str = ""
    quantity: str = ""
    adjusted_for: tuple[str, ...] = ()
    interval: tuple[float, float] = (math.nan, math.nan)
    n: int = 0
    n_clusters: int = 0
    left_out: tuple[LeftOut, ...] = ()
    null: Null | None = None
    test: Significance | None = None
    generalises_over: Generality = "items"
    controls: tuple[Control, ...] = ()
    effects: tuple[Effect, ...] = ()
    bound: Equivalence | None = None
    verdict: Verdict = "undecided"
    text: str
    levels: tuple[Level, ...] = ()
    plot: Plot | None = None
    reproduce: str = ""

    @property
    def detectable(self) -> float:
        """The effect that would be detected with 80 % power; NaN where it is not known."""
        return next((effect.estimate for effect in self.effects if effect.key == DETECTABLE), math.nan)

    def effects_by(self, key: str) -> list[Effect]:
        """The effects of one key, in their order."""
        return [effect for effect in self.effects if effect.key == key]

    @property
    def side(self) -> int:
        """1 where the verdict says that the estimate is positive, -1 where it is negative, 0 where neither."""
        return SIDES.get(self.verdict, 0)

    @property
    def length(self) -> Control | None:
        """The same estimate adjusted for length; None where length does not vary or nothing was adjusted for."""
        return next((control for control in self.controls if control.name == LENGTH), None)

    @property
    def survives_length(self) -> bool:
        """True where the estimate keeps its sign after adjusting for length, by its interval, or none varies."""
        control = self.length
        if control is None:
            return True
        return control.interval[0] > 0 if self.estimate > 0 else control.interval[1] < 0

    @property
    def answered(self) -> bool:
        """True where there is an estimate at all."""
        return math.isfinite(self.estimate)

    def _repr_html_(self) -> str:
        return card(shown(self.text, max(len(self.text), 1)), self.row)

    @property
    def row(self) -> Row:
        """The finding as one row of a table in a notebook."""
        scope = self.scope
        of = " ".join(part for part in (scope.metric, scope.place and f"at {scope.place}", scope.group) if part)
        return Row(
            question=self.analysis,
            of=shown(f"{of} ({scope.suite})" if scope.suite else of, 80),
            estimate=with_interval(self.estimate, self.interval) if self.answered else self.text,
            items=f"{self.n:,}",
            p=p_value(self.test.p_adjusted if self.test else math.nan),
            verdict=self.verdict,
            primary=self.primary,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain types for ``findings.json``; NaN becomes null."""
        content = asdict(self)
        content["null"] = None if self.null is None else self.null._asdict()
        content["test"] = None if self.test is None else self.test._asdict()
        content["controls"] = [control._asdict() for control in self.controls]
        content["left_out"] = [left._asdict() for left in self.left_out]
        content["effects"] = [effect._asdict() for effect in self.effects]
        content["levels"] = [level._asdict() for level in self.levels]
        content["bound"] = None if self.bound is None else self.bound._asdict()
        if self.plot is not None:
            content["plot"] = self.plot._asdict() | {"marks": [mark._asdict() for mark in self.plot.marks]}
        return _plain(content)


def decide(estimate: float, interval: tuple[float, float], p: float) -> Verdict:
    """The verdict on a directed claim whose estimate is positive where the claim is right.

    Both the interval and the (adjusted) test must speak; where they disagree, or either is missing, nothing is decided.

    >>> decide(0.3, (0.1, 0.5), 0.001), decide(-0.3, (-0.5, -0.1), 0.001), decide(0.3, (-0.1, 0.5), 0.2)
    ('supported', 'contradicted', 'undecided')
    """
    low, high = interval
    if not (math.isfinite(estimate) and math.isfinite(low) and math.isfinite(high)) or not p < ALPHA:
        return "undecided"
    if low > 0:
        return "supported"
    return "contradicted" if high < 0 else "undecided"


def p_of(estimate: float, interval: tuple[float, float]) -> float:
    """Two-sided p-value of an effect of zero, from a 95 % interval that is symmetric on its own scale.

    Inside (-1, 1) that is Fisher's scale, elsewhere the plain one. NaN without an interval.

    >>> round(p_of(0.2, (0.0, 0.4)), 3), round(p_of(5.0, (2.5, 7.5)), 5), p_of(0.2, (math.nan, math.nan))
    (0.05, 9e-05, nan)
    """
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return math.nan
    side = estimate - low if estimate > 0 else high - estimate  # the half that decides
    if low > -1 and high < 1 and abs(estimate) < 1:
        edge = low if estimate > 0 else high
        side, estimate = abs(math.atanh(estimate) - math.atanh(edge)), math.atanh(estimate)
    return math.erfc(abs(estimate) / side * NORMAL_QUANTILE / math.sqrt(2)) if side > 0 else 0.0


def secondary(verdict: Verdict) -> Verdict:
    """The word for one of many: `supported` and `contradicted` are kept for what was stated in advance.

    >>> secondary("supported"), secondary("undecided"), secondary("described")
    ('significantly positive', 'not significant', 'described')
    """
    words: dict[Verdict, Verdict] = {
        "supported": "significantly positive",
        "contradicted": "significantly negative",
        "undecided": "not significant",
    }
    return words.get(verdict, verdict)


def _plain(value: object) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("list[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
