"""Limits of text: where a question needs the world behind the words, is it answered worse, and are states sparser?

Text is said to strip what it is about of physics, geometry and causality. The suites of those names tell stories and
ask two questions about each, with the same words, choices and length: one that the text answers literally, one that
needs what the text is about. Everything is compared within stories. Primary: the difference of accuracy. Beside it
stand the code length of the right answer and the sparsity of the state (Hoyer at the pre-stated place), which counts as
sparser only if it stays so with each covariate held fixed: length, bytes per token, entropy, loss.

A difference says that this model finds the second kind of question harder, not that text could not have taught it; and
of a model that answers neither kind nothing can be said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import Comparison, associate_with, at, effect, effect_given, judge, overall
from analyses.findings.covariates import ledger, together
from analyses.findings.formatting import with_interval
from analyses.findings.panel import FEWEST_ITEMS, primary_column, scope_of, unanswered
from analyses.findings.record import Control, Finding, Mark, Plot, Verdict
from analyses.findings.registry import analysis
from analyses.statistics.groups import average, share_interval
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import TWO_QUESTIONS

QUESTION: Final = (
    "Are questions about the world behind the words answered worse than about the words, in sparser states?"
)
ACCURACY: Final = ("choice_correct", "correct")
ACCURACY_UNIT: Final = "accuracy on the words less accuracy on the world, positive = the world is answered worse"
CODE_UNIT: Final = "bits per token of the right answer, positive = longer where the world is asked"
HELD: Final = ("pre_treatment", "mediator")
CLAIMS: Final[dict[Verdict, str]] = {
    "supported": "are answered worse than",
    "contradicted": "are answered better than",
    "undecided": "are not shown to be answered worse than",
    "described": "stand beside",
}
SPARSER: Final[dict[Verdict, str]] = {
    "supported": "are sparser, also with each covariate held fixed",
    "contradicted": "are denser, also with each covariate held fixed",
    "undecided": "are not shown to be sparser or denser after adjusting for the covariates",
    "described": "are described",
}


class Paired(NamedTuple):
    """An outcome of both questions, one number per story that has both."""

    words: Float[np.ndarray, " stories"]
    world: Float[np.ndarray, " stories"]


@analysis(QUESTION, order=4, title="Limits of text", headline=True)
def limits(run: Run) -> list[Finding]:
    """Answer for every suite of stories with two questions."""
    panels = [panel for panel in read_panels(run, ["nominal"]) if panel.axis.name in TWO_QUESTIONS]
    return [finding for panel in panels for finding in _panel_findings(panel)]


def _panel_findings(panel: Panel) -> list[Finding]:
    column, one = primary_column(panel), overall(panel)
    correct = next((found for name in ACCURACY if (found := panel.outcome(name)) is not None), None)
    if column is None or one is None:
        return [unanswered(panel, "limits", QUESTION, "it needs both questions of a story and a measure of sparsity")]
    if correct is None:
        return [unanswered(panel, "limits", QUESTION, "the sweep did not record choice_correct; add it to `outcomes`")]
    answers = paired(correct, panel)
    if len(answers.words) < FEWEST_ITEMS:
        return [unanswered(panel, "limits", QUESTION, f"fewer than {FEWEST_ITEMS} stories have both answers")]
    findings = [_accuracy(panel, column, answers)]
    loss = panel.outcome("nll")
    if loss is not None:
        findings.append(_code_length(panel, column, paired(loss / math.log(2), panel)))
    return [*findings, _sparsity(panel, column, one)]


def paired(values: Float[np.ndarray, " items"], panel: Panel) -> Paired:
    """One number per story and question; stories that lack one of the two are left out."""
    rows = np.isfinite(values)
    shifted = panel.shifted
    both = np.intersect1d(panel.clusters[rows & ~shifted], panel.clusters[rows & shifted])
    halves = [
        np.array([values[rows & (shifted == side) & (panel.clusters == story)].mean() for story in both])
        for side in (False, True)
    ]
    return Paired(halves[0].astype(np.float64), halves[1].astype(np.float64))


def _accuracy(panel: Panel, column: int, answers: Paired) -> Finding:
    found = average(answers.words - answers.world)
    verdict = judge(found.interval)
    sides = (("the words", average(answers.words)), (_world(panel), average(answers.world)))
    intervals = [share_interval(side.mean, side.interval, float(len(answers.words))) for _, side in sides]
    marks = tuple(
        Mark("questions about", name, math.nan, side.mean, *interval)
        for (name, side), interval in zip(sides, intervals, strict=True)
    )
    return Finding(
        analysis="limits",
        question=QUESTION,
        scope=replace(scope_of(panel, column, "accuracy"), site="", layer=None, metric="choice_correct"),
        primary=True,
        estimate=found.mean,
        interval=found.interval,
        unit=ACCURACY_UNIT,
        quantity="difference of shares",
        n=2 * len(answers.words),
        n_clusters=len(answers.words),
        verdict=verdict,
        plot=Plot("forest", "share of right answers", "", marks),
        text=(
            f"Questions about {_world(panel)} {CLAIMS[verdict]} those about the words of the same stories: "
            f"{answers.world.mean():.0%} against {answers.words.mean():.0%} are right, a difference of "
            f"{with_interval(found.mean, found.interval)} over {len(answers.words):,} stories."
        ),
    )


def _code_length(panel: Panel, column: int, bits: Paired) -> Finding:
    found = average(bits.world - bits.words)
    return Finding(
        analysis="limits",
        question=QUESTION,
        scope=replace(scope_of(panel, column, "code length"), site="", layer=None, metric="nll"),
        estimate=found.mean,
        interval=found.interval,
        unit=CODE_UNIT,
        quantity="difference of means",
        n=2 * len(bits.words),
        n_clusters=len(bits.words),
        verdict=judge(found.interval),
        text=(
            f"The right answer about {_world(panel)} costs {bits.world.mean():.2f} bits per token, that about the "
            f"words {bits.words.mean():.2f}: {with_interval(found.mean, found.interval)}."
        ),
    )


def _sparsity(panel: Panel, column: int, one: Comparison) -> Finding:
    alone = associate_with(panel, one, [column], resamples=RESAMPLES)
    value, interval = at(effect(alone, one), 0)
    controls = [
        Control(covariate.name, covariate.role, *at(effect_given(held.association, one, number), 0), float("nan"))
        for held in together(panel, column, one, ledger(panel, column))
        for number, covariate in enumerate(held.covariates, start=1)
        if covariate.role in HELD
    ]
    verdict = beyond(interval, [control.interval for control in controls])
    where = panel.columns[column]
    return Finding(
        analysis="limits",
        question=QUESTION,
        scope=scope_of(panel, column, "sparsity"),
        estimate=value,
        interval=interval,
        unit=one.unit,
        quantity=one.quantity,
        n=int(one.rows.sum()),
        n_clusters=len(np.unique(panel.clusters[one.rows])),
        controls=tuple(controls),
        verdict=verdict,
        text=(
            f"States that answer about {_world(panel)} {SPARSER[verdict]}: {where.metric} at {where.place}, Cliff's "
            f"delta {with_interval(value, interval)}."
        ),
    )


def beyond(interval: tuple[float, float], given: Sequence[tuple[float, float]]) -> Verdict:
    """The verdict of an effect that has to stay on its side of zero whatever is held fixed.

    >>> beyond((0.1, 0.5), [(0.05, 0.4)]), beyond((0.1, 0.5), [(-0.2, 0.4)]), beyond((-0.5, -0.1), [])
    ('supported', 'undecided', 'contradicted')
    """
    verdict = judge(interval)
    return verdict if all(judge(bounds) == verdict for bounds in given) else "undecided"


def _world(panel: Panel) -> str:
    return " and ".join(dict.fromkeys(str(label) for label in panel.labels[panel.shifted]))
