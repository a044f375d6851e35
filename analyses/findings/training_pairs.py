"""Results of the paired training runs of the laboratory, cited beside a sweep over laboratory facts.

One model is one draw of its training, and a sweep of one model says nothing of training. The laboratory trained pairs
of models over several seeds that differ in one thing (:mod:`probes.lab.paired_table`); their table is shipped, and a
finding about exposure cites it. Signs are turned as everywhere here: positive means sparser where less familiar.
Prompts of the laboratory have one length, so there is nothing to hold fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from analyses.findings.formatting import with_interval
from analyses.findings.record import Finding
from analyses.statistics.groups import Average, average
from probes.lab.paired_table import CONDITIONS, Twin, read_twins

SUITE: Final = "lab_exposure"
PLAIN, OTHER = "adamw", "equivariant"
READINGS: Final = {
    "mastered": "among mastered facts",
    "mastered_without_answer": "among mastered facts, the answer's row projected out",
    "all_facts": "over all facts",
}


class Shown(NamedTuple):
    """Results of the paired runs of one condition in one reading, over seeds."""

    condition: str
    reading: str
    over_seeds: Average
    n: int

    @property
    def meaning(self) -> str:
        """The condition in words."""
        return CONDITIONS[self.condition].meaning


class Twins(NamedTuple):
    """All that the shipped table holds on the association of exposure with sparsity.

    Attributes:
        shown: by condition and reading.
        difference: AdamW less the rotation-equivariant optimizer, of the same seeds, among mastered facts.
        n_pairs: seeds that both were trained with.
    """

    shown: list[Shown]
    difference: Average
    n_pairs: int


@lru_cache(maxsize=1)
def shipped() -> Twins:
    """The shipped table, read once."""
    return compare(read_twins())


def compare(twins: Sequence[Twin]) -> Twins:
    """Associations over seeds, and the paired difference of the two optimizers."""
    found = [
        Shown(condition, reading, average(own), len(own))
        for condition in CONDITIONS
        for reading in READINGS
        if len(own := _readings(twins, condition, reading)) > 1
    ]
    of_seed = {
        condition: {twin.seed: -twin.mastered for twin in twins if twin.condition == condition}
        for condition in (PLAIN, OTHER)
    }
    both = sorted(of_seed[PLAIN].keys() & of_seed[OTHER].keys())
    pairs = np.array([of_seed[PLAIN][seed] - of_seed[OTHER][seed] for seed in both], dtype=np.float64)
    pairs = pairs[np.isfinite(pairs)]
    return Twins(found, average(pairs), len(pairs))


def _readings(twins: Sequence[Twin], condition: str, reading: str) -> np.ndarray:
    values = np.array([-getattr(twin, reading) for twin in twins if twin.condition == condition], dtype=np.float64)
    return values[np.isfinite(values)]


def sentence(twins: Twins) -> str:
    """Summary of the table in one sentence; nothing where it holds no pairs."""
    by_key = {(own.condition, own.reading): own for own in twins.shown}
    wanted = [(PLAIN, "mastered"), (PLAIN, "mastered_without_answer"), (OTHER, "mastered")]
    if twins.n_pairs < 2 or any(key not in by_key for key in wanted):
        return ""
    plain, without, other = (_said(by_key[key].over_seeds) for key in wanted)
    return (
        f"Over {twins.n_pairs} pairs of small laboratory models sparsity is associated with unfamiliarity "
        f"among mastered facts: Spearman {plain} under AdamW, {without} with the answer's row projected out, and "
        f"{other} under {CONDITIONS[OTHER].meaning} (a difference of {_said(twins.difference)})."
    )


def _said(found: Average) -> str:
    return with_interval(found.mean, found.interval)


def is_laboratory(suite: str) -> bool:
    """True where a panel's suites are about exposure in the laboratory.

    >>> is_laboratory("lab_exposure"), is_laboratory("mine")
    (True, False)
    """
    return SUITE in suite.split(" + ")


def cited(finding: Finding) -> Finding:
    """The finding with what the twins showed, where it is an answer about laboratory facts."""
    if not finding.answered or not is_laboratory(finding.scope.suite):
        return finding
    return replace(finding, text=f"{finding.text} {sentence(shipped())}".rstrip())
