"""Gains of several treatments over a reference on the same questions, and the chance that the largest of them is luck.

Questions are answered after the examples of every treatment, so each answer is compared with another to the same
question. Errors are over questions *and* examples (:mod:`analyses.statistics.crossed`): a gain is one that would come
back with other questions and other examples from the same data. Tests are Student's. The chance of a single false one
among all comparisons is bounded by the distribution of the smallest p-value under normal draws that are correlated as
the comparisons are over questions (a Gaussian copula; single-step max-T where all errors are equally well known).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import cluster_sums
from analyses.statistics.crossed import Crossed, Shown, Side, crossed_mean
from analyses.statistics.design import recode
from analyses.statistics.resampling import LEVEL, student

DRAWS: Final = 9999


class Asked(NamedTuple):
    """Answers after the examples of several treatments.

    Attributes:
        right: one row per answered question of a pool, one column per treatment; all defined.
        groups: what rows share: their question, or the cluster of questions; numbers.
        shown: examples of each treatment.
    """

    right: Float[np.ndarray, "answers treatments"]
    groups: tuple[Int[np.ndarray, " answers"], ...]
    shown: tuple[Shown, ...]

    def gain(self, treatment: int, reference: int) -> Crossed:
        """Gain of one treatment over another."""
        sides = (Side(1.0, self.shown[treatment]), Side(-1.0, self.shown[reference]))
        return crossed_mean(self.right[:, treatment] - self.right[:, reference], self.groups, sides)

    def share(self, treatment: int) -> Crossed:
        """Share of right answers of one treatment."""
        return crossed_mean(self.right[:, treatment], self.groups, (Side(1.0, self.shown[treatment]),))


class Gains(NamedTuple):
    """One gain per comparison.

    Attributes:
        value: mean difference.
        low: lower end of its 95 % interval.
        high: upper end.
        error: standard error, over questions and examples.
        freedom: degrees of freedom of that error.
        p: two-sided, of each alone; 1 where there is no difference in any answer.
        p_family: two-sided, of the largest of all.
    """

    value: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    error: Float[np.ndarray, " columns"]
    freedom: Float[np.ndarray, " columns"]
    p: Float[np.ndarray, " columns"]
    p_family: Float[np.ndarray, " columns"]

    def interval(self, column: int) -> tuple[float, float]:
        """Both ends of one."""
        return float(self.low[column]), float(self.high[column])


def paired_gains(asked: Asked, pairs: Sequence[tuple[int, int]], *, rng: np.random.Generator) -> Gains:
    """Gains of several pairs of treatments, with intervals and tests.

    Args:
        asked: the answers.
        pairs: treatment and reference of each comparison.
        rng: the source of chance.
    """
    found = [asked.gain(*pair) for pair in pairs]
    value, error, freedom = (np.array([one[part] for one in found]) for part in range(3))
    half = error * np.array([student((1 + LEVEL) / 2, one) for one in freedom])
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * stats.t.sf(np.abs(value) / error, freedom), 1.0)
    alike = (error == 0) & (value != 0)  # every single answer differs alike: all signs of questions would have to agree
    p[alike] = 2.0 ** (1 - len(np.unique(asked.groups[0])))
    differences = np.column_stack([asked.right[:, one] - asked.right[:, other] for one, other in pairs])
    return Gains(value, value - half, value + half, error, freedom, p, _family(differences, asked.groups[0], p, rng))


def _family(
    differences: Float[np.ndarray, "answers columns"],
    groups: Int[np.ndarray, " answers"],
    p: Float[np.ndarray, " columns"],
    rng: np.random.Generator,
) -> Float[np.ndarray, " columns"]:
    """Chance that the smallest of all p-values is as small as each, given how comparisons go together."""
    sums = cluster_sums(differences - differences.mean(axis=0), recode(groups))
    size = np.sqrt((sums**2).sum(axis=0))
    joint = sums / np.where(size > 0, size, 1.0)
    draws = np.abs(rng.standard_normal((DRAWS, len(joint))) @ joint)
    largest = np.sort(draws.max(axis=1))
    beyond = DRAWS - np.searchsorted(largest, stats.norm.isf(p / 2))
    return np.maximum(p, (1 + beyond) / (1 + DRAWS))


class Both(NamedTuple):
    """The smaller of two gains: whether something is better than each of two references.

    Attributes:
        value: the smaller gain.
        low: better than both is claimed where this is above zero (the intersection-union test, at 95 % each).
        high: not better than one of them is claimed where this is below zero; at 97.5 % each, because either will do.
        p: two-sided, of the claim on whose side the smaller gain lies.
    """

    value: float
    low: float
    high: float
    p: float


def smaller(gains: Gains, columns: tuple[int, int]) -> Both:
    """Better than each of two references, by the gains over them.

    Args:
        gains: gains over both among others.
        columns: of the two.
    """
    chosen = list(columns)
    value = float(gains.value[chosen].min())
    wider = np.array([student(1 - (1 - LEVEL) / 4, one) for one in gains.freedom[chosen]])
    high = gains.value[chosen] + gains.error[chosen] * wider
    p = gains.p[chosen]
    worse = gains.value[chosen] < 0
    claimed = float(min(1.0, 2 * p[worse].min())) if worse.any() else float(p.max())
    return Both(value, float(gains.low[chosen].min()), float(high.min()), claimed)
