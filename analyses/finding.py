"""A finding: one question, one number with its interval, what chance gives, and what may be said of it.

Problem: reports drift from statistics when sentences are typed by hand. Idea: an analysis returns findings, and
everything a reader meets (page, Markdown, JSON, the line in the terminal) is a view of them. A finding carries its
own sentence, verdict and figure data; a p-value is a field of the test that stands beside an estimate and is never
found alone.

Non-goals: layout (``reporting``) and drawing (``figures``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, NamedTuple, cast

from analyses.runs import Run, remember
from analyses.statistics.equivalence import Equivalence
from analyses.tables import place
from sparsity.registry import Registry

Verdict = Literal["supported", "contradicted", "undecided", "described"]
Generality = Literal["items", "domains", "templates", "seeds", "models"]
Role = Literal["pre_treatment", "mediator", "collider", "basis", "intervention"]

ALPHA: Final = 0.05
FEWEST_TO_GENERALISE: Final = 6
LENGTH: Final = "n_tokens"  # name of the control that no correlation goes without
DETECTABLE: Final = "detectable with 80 % power"  # name of an effect: the least that would have been found


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
    """What chance gives: the exact expectation for an i.i.d. Gaussian vector of this width.

    Attributes:
        kind: which null.
        value: its expectation.
        sd: standard deviation of the measure of one such vector.
        excess: mean over the items less the expectation; the sign is that of the measure, not of sparsity.
        interval: 95 % interval of the excess.
        sparser: which side of it is the sparse one.
        sign: the excess in words.
    """

    kind: Literal["gaussian"]
    value: float
    sd: float
    excess: float
    interval: tuple[float, float]
    sparser: Literal["higher", "lower"]
    sign: Literal["sparser than chance", "denser than chance", "at chance"]


class Control(NamedTuple):
    """The estimate with one covariate held fixed.

    Attributes:
        name: the covariate.
        role: ``pre_treatment`` may be adjusted for; ``mediator`` says how much the output accounts for, which removes
            no confounder.
        estimate: the adjusted estimate, in the unit of the finding's own.
        interval: its 95 % interval.
        correlation: rank correlation of the measure with the covariate.
    """

    name: str
    role: Role
    estimate: float
    interval: tuple[float, float]
    correlation: float


class Effect(NamedTuple):
    """The same comparison in another currency: Cohen's d beside Cliff's delta, Kendall's tau-b beside Spearman's."""

    name: str
    estimate: float
    interval: tuple[float, float]


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
        p_adjusted: by Benjamini and Hochberg over the secondary findings of its analysis, where all measures of
            sparsity of one place and group count as one test together; it decides the verdict.
        p_family: by Westfall and Young's max-T over all layers, sites, measures and suites of its analysis: the chance
            of one trend as large anywhere, if there is none at all. NaN where nothing was permuted.
    """

    name: str
    p: float
    p_adjusted: float
    p_family: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a finding is about; empty fields mean that it is about all of them.

    Attributes:
        model: the model as the sweep names it.
        suite: the suite or suites.
        axis: name of the ruler.
        site: place in the network without layer.
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
        estimate: the number; NaN where the question could not be answered. Where the unit says so, its sign is turned
            so that positive means sparser.
        unit: what the number is.
        interval: 95 % interval.
        n: items behind it.
        n_clusters: independent clusters behind it.
        null: what chance gives, where the measure has a null.
        test: the test, where there is one.
        generalises_over: what the interval speaks about beyond the items at hand.
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
    estimate: float = math.nan
    unit: str = ""
    interval: tuple[float, float] = (math.nan, math.nan)
    n: int = 0
    n_clusters: int = 0
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
        """The effect that would have been found four times in five; NaN where nobody worked it out."""
        return next((effect.estimate for effect in self.effects if effect.name == DETECTABLE), math.nan)

    @property
    def answered(self) -> bool:
        """Whether there is an estimate at all."""
        return math.isfinite(self.estimate)

    def _repr_html_(self) -> str:
        from analyses.display import card  # noqa: PLC0415  display reads findings

        return card(self)

    def to_json(self) -> dict[str, Any]:
        """Plain types for ``findings.json``; NaN becomes null."""
        content = asdict(self)
        content["null"] = None if self.null is None else self.null._asdict()
        content["test"] = None if self.test is None else self.test._asdict()
        content["controls"] = [control._asdict() for control in self.controls]
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


class Findings(list[Finding]):
    """A list of findings that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        from analyses.display import table  # noqa: PLC0415  display reads findings

        return table(self)


class Analysis(NamedTuple):
    """A registered analysis: what it asks and the function that answers."""

    name: str
    question: str
    answer: Callable[[Run], list[Finding]]


ANALYSES: Registry[Analysis] = Registry("analysis")
QUESTIONS: Final = "analyses.questions"

Answer = Callable[[Run], list[Finding]]


def analysis(question: str) -> Callable[[Answer], Answer]:
    """Register a function ``Run -> list of Findings`` as the analysis of its own name."""

    def register(function: Answer) -> Answer:
        ANALYSES.add(function.__name__, Analysis(function.__name__, question, function))
        return function

    return register


def analyse(run: Run, name: str, *, reproduce: str = "") -> Findings:
    """Ask one question of a sweep.

    Args:
        run: the sweep, from ``probes.open_run``.
        name: the analysis, see ``sparsity list analyses``.
        reproduce: the command to record in each finding; by default this call.

    Raises:
        UnknownNameError: if there is no such analysis; suggests the nearest.
    """
    ANALYSES.load(QUESTIONS)
    command = reproduce or f"analyse(run, {name!r})"
    return Findings(replace(finding, reproduce=command) for finding in answers(run, name))


def answers(run: Run, name: str) -> list[Finding]:
    """What an analysis says of a run, asked once where the run remembers; for questions about other answers."""
    ANALYSES.load(QUESTIONS)
    return remember(run, f"answers {name}", lambda: ANALYSES[name].answer(run))


def _plain(value: object) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("list[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
