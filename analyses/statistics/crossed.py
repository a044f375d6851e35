"""Means of answers that are not independent in two ways at once: they share questions, and they share examples.

A question is asked after the examples of several pools, and an example is shown before many questions. A good example
lifts all answers after it, so a mean over many questions after few examples is less certain than its questions say.
The variance of an answer is taken as a sum: what its question brings, what its examples bring (wherever they stand, and
where they stand), and the rest. Each part is estimated from the products of the answers that share it (quadratic forms
with their expectations, no part below zero), and the variance of the mean is what the parts add up to in it. Where two
answers are subtracted, what was shown before both cancels.

How well a variance is known depends on how many questions and examples it comes from. Student's law is taken with one
degree of freedom less than the effective number of the rarest of them (of examples: also of the sets of examples that
were shown, so an arm that shows one set per pool has as many as there are pools).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, sparse

from analyses.statistics.groups import share_interval
from analyses.statistics.resampling import LEVEL, student

Shown = Int[np.ndarray, "answers k"]
"""Examples before each answer, numbered from 0, in their order; -1 where there is none."""
SHARE: Final = 1e-9  # of the largest part; below it a part has cancelled


class Crossed(NamedTuple):
    """A mean over answers that share questions and examples.

    Attributes:
        mean: over answers.
        error: its standard error over questions and examples; 0 where all answers are the same.
        freedom: degrees of freedom of that error: one less than the effective number of what answers share least of.
    """

    mean: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of Student's law."""
        half = student((1 + LEVEL) / 2, self.freedom) * self.error
        return self.mean - half, self.mean + half

    @property
    def share(self) -> tuple[float, float]:
        """95 % interval of a mean that is a share."""
        return share_interval(self.mean, self.interval, self.freedom + 1)


class Side(NamedTuple):
    """Examples that were shown for one side of a difference.

    Attributes:
        sign: 1, or -1 of what is subtracted.
        shown: of each answer.
    """

    sign: float
    shown: Shown


def crossed_mean(
    values: Float[np.ndarray, " answers"], groups: Sequence[Int[np.ndarray, " answers"]], sides: Sequence[Side]
) -> Crossed:
    """Mean of answers, or of differences of answers, with its error over questions and examples.

    Args:
        values: of each answer; all defined.
        groups: what answers may share besides examples, such as their question; numbers.
        sides: the examples of each answer, and of what is subtracted from it.

    >>> found = crossed_mean(np.array([1.0, 0.0, 1.0, 1.0]), [np.arange(4)], [])
    >>> found.mean, round(found.error, 3), found.freedom
    (0.75, 0.25, 3.0)
    """
    n = len(values)
    mean = float(values.mean())
    if n < 2:
        return Crossed(mean, math.nan, 1.0)
    examples = list(_examples(sides, n))
    parts = [
        *(_members(np.arange(n), group, np.ones(n), n) for group in groups),
        *examples,
        sparse.identity(n, format="csr"),
    ]
    sets = list(_sets(sides, n))
    weights = [_weights(part) for part in parts]
    counted = [*weights, *map(_weights, sets)]
    large = max(float(np.abs(own).max(initial=0.0)) for own in counted)
    numbers = [_effective(own) for own in counted if np.abs(own).max(initial=0.0) > SHARE * large]
    freedom = max(min(numbers) - 1.0, 1.0)
    if not np.ptp(values):
        return Crossed(mean, 0.0, freedom)
    size = np.array([own @ own for own in weights])
    variance = _variances(parts, weights, values - mean) * size / n**2
    return Crossed(mean, math.sqrt(variance.sum()), freedom)


def _examples(sides: Sequence[Side], n: int) -> Iterator[Any]:
    """Incidence of examples wherever they stand, and of examples where they stand."""
    if not sides:
        return
    width = max(side.shown.shape[1] for side in sides)
    rows = [np.repeat(np.arange(n), side.shown.shape[1]) for side in sides]
    signs = [np.full(side.shown.size, side.sign) for side in sides]
    codes = [side.shown.reshape(-1) for side in sides]
    # counted from the end: the last example stands right before the question whatever their number
    ends = [np.tile(np.arange(side.shown.shape[1] - 1, -1, -1, dtype=np.int64), n) for side in sides]
    at = [np.where(own < 0, -1, own * width + end) for own, end in zip(codes, ends, strict=True)]
    for own in (codes, at) if width > 1 else (codes,):
        yield _members(np.concatenate(rows), np.concatenate(own), np.concatenate(signs), n)


def _sets(sides: Sequence[Side], n: int) -> Iterator[Any]:
    """Incidence of whole sets of examples."""
    for side in sides:
        _, codes = np.unique(side.shown, axis=0, return_inverse=True)
        codes = np.where((side.shown < 0).all(axis=1), -1, codes.reshape(-1))
        yield _members(np.arange(n), codes, np.ones(n), n)


def _members(rows: Int[np.ndarray, " m"], codes: Int[np.ndarray, " m"], signs: Float[np.ndarray, " m"], n: int) -> Any:  # noqa: ANN401  a sparse matrix
    """Sparse incidence, answers by what they share; negative codes are nothing."""
    there = codes >= 0
    names, codes = np.unique(codes[there], return_inverse=True)
    return sparse.csr_matrix((signs[there], (rows[there], codes.reshape(-1))), shape=(n, max(len(names), 1)))


def _weights(part: Any) -> Float[np.ndarray, " shared"]:  # noqa: ANN401  a sparse matrix
    """Weight of each shared thing in the sum of all answers."""
    return np.asarray(part.sum(axis=0), dtype=np.float64).reshape(-1)


def _effective(weights: Float[np.ndarray, " shared"]) -> float:
    """Number of equally weighted things that would vary as much: all of them where weights are equal, 1 if one leads.

    >>> _effective(np.array([2.0, 2.0, 2.0])), _effective(np.array([1.0, 0.0]))
    (3.0, 1.0)
    """
    return float((weights @ weights) ** 2 / (weights**4).sum())


def _variances(
    parts: Sequence[Any], weights: Sequence[Float[np.ndarray, "..."]], residuals: Float[np.ndarray, " answers"]
) -> Float[np.ndarray, "..."]:
    """Variance that each part brings to one answer: non-negative, and as near as can be to the observed products.

    Of ``y`` with covariance ``sum s_j Z_j Z_j'``, less its mean, ``|Z_i'(y - mean)|^2`` has the expectation
    ``sum s_j |Z_i' M Z_j|^2``, with M the projection that takes the mean out.
    """
    n, count = len(residuals), len(parts)
    whole, weight = sparse.hstack(parts, format="csr"), np.concatenate(weights)
    part = np.repeat(np.arange(count), [len(own) for own in weights])
    observed = np.bincount(part, np.asarray(whole.T @ residuals) ** 2, minlength=count)
    joint: Any = (whole.T @ whole).tocoo()
    row, column, numbers = joint.row, joint.col, joint.data

    def in_pairs(values: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, "one other"]:
        return np.bincount(part[row] * count + part[column], values, minlength=count**2).reshape(count, count)

    size = np.bincount(part, weight**2, minlength=count)
    expected = (
        in_pairs(numbers**2) - 2 / n * in_pairs(weight[row] * numbers * weight[column]) + np.outer(size, size) / n**2
    )
    scale = np.sqrt(np.maximum(np.diag(expected), np.finfo(np.float64).tiny))
    solved, _ = cast("tuple[Any, float]", optimize.nnls(expected / np.outer(scale, scale), observed / scale))
    return np.asarray(solved, dtype=np.float64) / scale
