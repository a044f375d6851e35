"""Contributions: does the policy that minimises the area under the loss curve make examples contribute alike?

`sparsity learning-law` trains under equal weights and under the best policy it finds, and writes for every seed how
alike the contributions of examples are: their weighted mean over their standard deviation (SIM, arXiv:2402.17759).
Primary: the natural logarithm of SIM under the policy over SIM under equal weights, by the paper's contribution. Beside
it the same by the exact first-order quantity, which is what an optimum makes equal, and the acceleration of the policy,
of a larger step without any policy, and of the policy with its examples exchanged.

Limits. Seeds are what is resampled. The answer is about the toy tasks of the command, not about a language model of the
user's; a larger step may be as good as the policy, so a claim about contributions is none about speed.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.data.runs import Run
from analyses.data.written_tables import written
from analyses.findings.contrast import judge
from analyses.findings.formatting import number, shown, with_interval
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope, Significance, Verdict
from analyses.findings.registry import analysis
from analyses.statistics.groups import Average, average

QUESTION: Final = "Do examples contribute more alike under the policy that minimises the area under the loss?"
TABLE: Final = "seeds"
PAPER, EXACT, FASTER, AREA = "similarity", "exact_similarity", "acceleration", "area"
EQUAL, POLICY = "equal weights", "policy"
BESIDE: Final = (POLICY, "equal weights, steps x 10", "policy, examples exchanged")
FEWEST_SEEDS: Final = 3
UNIT: Final = "ln of SIM under the policy over SIM under equal weights, positive = more alike under the policy"
CLAIMS: Final[dict[Verdict, str]] = {
    "supported": "Examples contribute more alike under the policy",
    "contradicted": "Examples contribute less alike under the policy",
    "undecided": "It is undecided whether examples contribute more alike under the policy",
    "described": "Too few seeds to say whether examples contribute more alike under the policy",
}


@analysis(QUESTION, order=6, title="Contributions of examples", counted="seeds")
def contributions(run: Run) -> list[Finding]:
    """Answer for every learner whose seeds lie beside the sweeps."""
    needed = {"seed", "arm", PAPER, EXACT, FASTER, AREA}
    return [
        finding
        for learner, table in written(run, TABLE).items()
        if needed <= set(table.columns) and (finding := _of(learner, table)) is not None
    ]


def _of(learner: str, table: pd.DataFrame) -> Finding | None:
    """Finding on one learner; None where an arm is missing."""
    paper, exact = _gain(table, PAPER), _gain(table, EXACT)
    if not paper.size:
        return None
    found = average(paper)
    verdict: Verdict = judge(found.interval) if len(paper) >= FEWEST_SEEDS else "described"
    effects = [_effect("the same by the exact first-order quantity", average(exact))]
    effects += [_effect(f"acceleration of {arm}", average(_values(table, arm, FASTER))) for arm in BESIDE]
    areas = {arm: average(_values(table, arm, AREA)) for arm in table["arm"].astype(str).unique()}
    marks = [Mark("", shown(arm), math.nan, each.mean, *each.interval) for arm, each in areas.items()]
    times = ", ".join(f"{arm} {number(effect.estimate)}" for arm, effect in zip(BESIDE, effects[1:], strict=True))
    return Finding(
        analysis="contributions",
        question=QUESTION,
        scope=Scope(model="", suite=learner or "learning law", metric=PAPER),
        primary=True,
        estimate=found.mean,
        interval=found.interval,
        unit=UNIT,
        quantity="logarithm of a ratio",
        n=len(paper),
        n_clusters=len(paper),
        generalises_over="seeds",
        test=Significance("Student's t over seeds", found.p, found.p) if len(paper) >= FEWEST_SEEDS else None,
        effects=tuple(effects),
        verdict=verdict,
        plot=Plot("forest", "area under the held-out loss (less is better)", "", tuple(marks)),
        text=(
            f"{CLAIMS[verdict]}: ln of the ratio of SIM {with_interval(found.mean, found.interval)} over "
            f"{len(paper)} seeds. Acceleration over equal weights: {times}."
        ),
    )


def _gain(table: pd.DataFrame, column: str) -> Float[np.ndarray, " seeds"]:
    """Logarithm of the ratio of the policy to equal weights, a number per seed where both are positive."""
    ratio = (_column(table, POLICY, column) / _column(table, EQUAL, column)).dropna()
    return np.log(ratio[ratio > 0].to_numpy(np.float64))


def _column(table: pd.DataFrame, arm: str, column: str) -> pd.Series:
    return table[table["arm"] == arm].set_index("seed")[column].astype(float)


def _values(table: pd.DataFrame, arm: str, column: str) -> Float[np.ndarray, " seeds"]:
    """Numbers of an arm; the mean is undefined where one of them is."""
    return _column(table, arm, column).to_numpy(np.float64)


def _effect(name: str, found: Average) -> Effect:
    return Effect(name, found.mean, found.interval)
