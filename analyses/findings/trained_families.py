"""Architectures on the same facts: which differences between laboratory models exceed what seeds differ by.

One trained model is one draw. The laboratory trained other architectures of about as many weights on the same facts in
the same order, seed by seed (:data:`probes.lab.paired_table.FAMILIES`), beside the Llama of the paired trainings. A
family is compared with the Llama of the same seed, so that the world cancels; the draws are seeds. The table is
shipped; ``sparsity lab twins --conditions gpt2,mixture,mamba,grouped,sliding --seeds 6`` makes it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from analyses.findings.formatting import with_interval
from analyses.findings.record import FEWEST_TO_GENERALISE, Effect, Finding, Mark, Plot, Scope, Significance, decide
from analyses.findings.training_pairs import PLAIN
from analyses.statistics.groups import Average, average
from analyses.statistics.multiplicity import holm
from probes.lab.paired_table import FAMILIES, SHIPPED_FAMILIES, Twin, read_twins

LLAMA: Final = "Llama"
UNIT: Final = (
    "rank correlation of unfamiliarity with Hoyer among mastered facts, less that of the Llama of the same seed, "
    "positive = sparser where less familiar, more than in a Llama"
)


class Family(NamedTuple):
    """One architecture beside the Llama of the same seeds.

    Attributes:
        meaning: what it is.
        own: its association over seeds.
        llama: that of the Llama.
        apart: the former less the latter, seed by seed.
        apart_all: the same over all facts, known or not.
        n: seeds that both were trained with.
    """

    meaning: str
    own: Average
    llama: Average
    apart: Average
    apart_all: Average
    n: int


@lru_cache(maxsize=1)
def shipped_families() -> list[Family]:
    """The shipped tables, read once."""
    return compare_families([*read_twins(), *read_twins(SHIPPED_FAMILIES)])


def compare_families(twins: Sequence[Twin]) -> list[Family]:
    """Every family of which two seeds or more have a Llama beside them."""
    llamas = {twin.seed: twin for twin in twins if twin.condition == PLAIN}
    found: list[Family] = []
    for name, condition in FAMILIES.items():
        own = {twin.seed: twin for twin in twins if twin.condition == name and np.isfinite(twin.mastered)}
        seeds = sorted(own.keys() & llamas.keys())
        if len(seeds) < 2:
            continue
        # signs are turned as everywhere in the analyses: positive means sparser where less familiar
        mastered = np.array([(-own[seed].mastered, -llamas[seed].mastered) for seed in seeds])
        everything = np.array([llamas[seed].all_facts - own[seed].all_facts for seed in seeds])
        apart = average(mastered[:, 0] - mastered[:, 1])
        parts = (average(mastered[:, 0]), average(mastered[:, 1]), apart, average(everything))
        found.append(Family(condition.meaning, *parts, len(seeds)))
    return found


def family_findings(families: Sequence[Family], *, analysis: str, question: str, suite: str) -> list[Finding]:
    """A finding a family, corrected over the families; of fewer than six seeds one is described."""
    if not families:
        return []
    corrected = holm(np.array([family.apart.p for family in families], dtype=np.float64))
    return [
        _finding(family, float(p), analysis=analysis, question=question, suite=suite, n_families=len(families))
        for family, p in zip(families, corrected, strict=True)
    ]


def _finding(family: Family, p: float, *, analysis: str, question: str, suite: str, n_families: int) -> Finding:
    mean, interval, own_p = family.apart
    few = family.n < FEWEST_TO_GENERALISE
    verdict = "described" if few else decide(mean, interval, p)
    sides = ((family.meaning, family.own), (LLAMA, family.llama), ("difference", family.apart))
    marks = tuple(Mark("", name, float("nan"), side.mean, *side.interval) for name, side in sides)
    words = {"supported": "differ by more than seeds do", "contradicted": "differ by more than seeds do"}
    claim = words.get(
        verdict, "are described beside each other" if few else "are not shown to differ by more than seeds do"
    )
    return Finding(
        analysis=analysis,
        question=question,
        scope=Scope(
            model=f"laboratory, {LLAMA} and {family.meaning}",
            suite=suite,
            site="final_norm",
            position="last",
            metric="hoyer",
            group=f"trained {family.meaning}",
        ),
        estimate=mean,
        interval=interval,
        unit=UNIT,
        quantity="difference of rank correlations",
        n=2 * family.n,
        n_clusters=family.n,
        generalises_over="seeds",
        test=Significance("Student's t over seeds", own_p, p, correction=f"Holm over {n_families} architectures"),
        effects=(
            Effect(family.meaning, family.own.mean, family.own.interval),
            Effect(LLAMA, family.llama.mean, family.llama.interval),
            Effect("over all facts", family.apart_all.mean, family.apart_all.interval),
        ),
        verdict=verdict,
        plot=Plot("forest", "rank correlation, + = sparser where less familiar", "", marks, 0.0),
        text=(
            f"Trained on the same facts in the same order, {family.meaning} and {LLAMA} {claim}: among mastered facts "
            f"sparsity goes with unfamiliarity by a rank correlation of {_said(family.own)} and {_said(family.llama)}, "
            f"a difference of {_said(family.apart)} over {family.n} seeds (over all facts {_said(family.apart_all)})."
        ),
    )


def _said(found: Average) -> str:
    return with_interval(found.mean, found.interval)
