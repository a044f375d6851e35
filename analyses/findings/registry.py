"""The analyses by name, and lists of what they find.

An analysis is a function ``Run -> list of Findings``; :func:`analysis` registers it under its own name, and
:func:`analyse` asks it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import pandas as pd
from threadpoolctl import threadpool_limits

from analyses.data.runs import Run, remember
from analyses.findings.display import table
from analyses.findings.record import Finding, Scope
from analyses.findings.verdicts import graded
from sparsity.registry import Registry


class Findings(list[Finding]):
    """A list of findings; a notebook shows it as a table, :meth:`to_frame` makes one of it."""

    def __repr__(self) -> str:
        counts = Counter(finding.verdict for finding in self)
        said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        return f"<{len(self)} findings: {said}>" if self else "<no findings>"

    def to_frame(self) -> pd.DataFrame:
        """One row per finding: what it is about, estimate with interval, p-values, length-adjusted estimate, verdict.

        Undefined numbers are NaN. Controls, effects and levels have no columns; they stay with the findings.
        """
        return pd.DataFrame([_row(finding) for finding in self], columns=list(_row(Finding(**_EMPTY))))

    def _repr_html_(self) -> str:
        return table([finding.row for finding in self])


class Analysis(NamedTuple):
    """A registered analysis: what it asks, the function that answers, and how a report shows the answer.

    Attributes:
        name: by which it is asked for.
        question: what it asks, in a sentence.
        answer: the function.
        order: its place among the sections of a report; what happens comes first, then how, where and what else.
        title: the heading of its section.
        counted: what the numbers behind an answer count.
        headline: whether its pre-stated answers open the report.
    """

    name: str
    question: str
    answer: Callable[[Run], list[Finding]]
    order: int
    title: str
    counted: str
    headline: bool


ANALYSES: Registry[Analysis] = Registry("analysis", "analyses.questions", plugins="sparsity.questions")
LAST: Final = 1000  # the place of an analysis that asks for none

Answer = Callable[[Run], list[Finding]]


def analysis(
    question: str, *, order: int = LAST, title: str = "", counted: str = "items", headline: bool = False
) -> Callable[[Answer], Answer]:
    """Register a function ``Run -> list of Findings`` as the analysis of its own name; see :class:`Analysis`."""

    def register(function: Answer) -> Answer:
        name = function.__name__
        shown = title or name.replace("_", " ").capitalize()
        ANALYSES.add(name, Analysis(name, question, function, order, shown, counted, headline))
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
    command = reproduce or f"analyse(run, {name!r})"
    return Findings(replace(finding, reproduce=command) for finding in answers(run, name))


def answers(run: Run, name: str) -> list[Finding]:
    """Answers of an analysis to a run, asked once where the run remembers; for questions about other answers."""
    # resampling uses a thread per core by itself; threads of the BLAS below them would only wait for each other
    with threadpool_limits(1, user_api="blas"):
        return remember(run, f"answers {name}", lambda: graded(ANALYSES[name].answer(run)))


_EMPTY: Final[dict[str, Any]] = {"analysis": "", "question": "", "scope": Scope(), "text": ""}


def _row(finding: Finding) -> dict[str, object]:
    scope, test, length = finding.scope, finding.test, finding.length
    return {
        "analysis": finding.analysis,
        "model": scope.model,
        "suite": scope.suite,
        "axis": scope.axis,
        "site": scope.site,
        "layer": scope.layer,
        "position": scope.position,
        "basis": scope.basis,
        "metric": scope.metric,
        "group": scope.group,
        "primary": finding.primary,
        "estimate": finding.estimate,
        "low": finding.interval[0],
        "high": finding.interval[1],
        "quantity": finding.quantity,
        "unit": finding.unit,
        "n": finding.n,
        "n_clusters": finding.n_clusters,
        "p": test.p if test else math.nan,
        "p_adjusted": test.p_adjusted if test else math.nan,
        "length_adjusted": length.estimate if length else math.nan,
        "length_low": length.interval[0] if length else math.nan,
        "length_high": length.interval[1] if length else math.nan,
        "verdict": finding.verdict,
        "text": finding.text,
    }
