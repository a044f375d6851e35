"""Gain in predicting an outcome from one measure more, on held-out items.

A logistic model of the covariates and one of the covariates and the measure are fitted to the same four fifths of the
clusters and asked for the other fifth. The gain is the mean difference of their log losses, in bits per item; items
are compared with themselves, so what makes them hard cancels. Below zero the measure only added noise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats

from analyses.statistics.design import recode
from analyses.statistics.groups import cluster_means

FOLDS: Final = 5
REPEATS: Final = 4
FEWEST_OF_A_KIND: Final = 15
RESAMPLES: Final = 2000
NEWTON_STEPS: Final = 50
LONGEST_STEP: Final = 4.0  # of a weight at once: nearly separable items would send it far beyond its place
SUREST: Final = 1e-6


class Gain(NamedTuple):
    """Held-out gain from adding a measure to the covariates of a logistic model.

    Attributes:
        bits: mean gain of log loss per held-out item, in bits.
        low: lower end of its 95 % interval over clusters.
        high: upper end.
        auc_without: area under the curve of the covariates alone, on held-out items.
        auc_with: with the measure.
        n: items.
        n_clusters: independent ones.
    """

    bits: float
    low: float
    high: float
    auc_without: float
    auc_with: float
    n: int
    n_clusters: int


def held_out_gain(
    outcome: Bool[np.ndarray, " n"],
    covariates: Float[np.ndarray, "n covariates"],
    measure: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
) -> Gain | None:
    """Gain of one measure over covariates; None with fewer than 15 items of either outcome.

    Args:
        outcome: what is predicted.
        covariates: what the measure has to beat, without missing values.
        measure: without missing values.
        clusters: items that may not be on both sides.
        rng: the source of chance: which fifth is held out.
    """
    if min(int(outcome.sum()), int((~outcome).sum())) < FEWEST_OF_A_KIND:
        return None
    codes = recode(clusters)
    both = np.column_stack([covariates, measure])
    losses = np.zeros((2, len(outcome)))
    areas: list[list[float]] = [[], []]
    for _ in range(REPEATS):
        fold = rng.permutation(int(codes.max()) + 1)[codes] % FOLDS
        for held in range(FOLDS):
            test = fold == held
            if len(np.unique(outcome[~test])) < 2:
                return None
            for row, features in enumerate((covariates, both)):
                p = chances(features, outcome, test)
                losses[row, test] -= np.log2(np.where(outcome[test], p, 1 - p)) / REPEATS
                areas[row].append(_auc(outcome[test], p))
    gain = cluster_means((losses[0] - losses[1])[:, None], codes, resamples=RESAMPLES, rng=rng)
    without, beside = (float(np.nanmean(row)) if np.isfinite(row).any() else float("nan") for row in areas)
    interval = float(gain.low[0]), float(gain.high[0])
    return Gain(float(gain.mean[0]), *interval, without, beside, len(outcome), gain.n_clusters)


def chances(
    features: Float[np.ndarray, "n k"], outcome: Bool[np.ndarray, " n"], test: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " held"]:
    """Predicted chance of the held-out items, never 0 or 1; features are scaled by what is not held out."""
    train = features[~test]
    spread = train.std(axis=0)
    scaled = (features - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    weights = fit_logistic(scaled[~test], outcome[~test])
    p = np.asarray(special.expit(weights[0] + scaled[test] @ weights[1:]), dtype=np.float64)
    return np.clip(p, SUREST, 1 - SUREST)


def fit_logistic(features: Float[np.ndarray, "n k"], outcome: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " weights"]:
    """Intercept and weights of a logistic model with a ridge penalty of one half of their squares, by Newton's method.

    scikit-learn's ``LogisticRegression(C=1)`` gives the same; a report fits hundreds of them to a few numbers per item.
    """
    x = np.column_stack([np.ones(len(features)), features])
    y = outcome.astype(np.float64)
    penalty = np.diag([0.0, *np.ones(features.shape[1])])
    weights = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = np.asarray(special.expit(x @ weights), dtype=np.float64)
        slope = x.T @ (y - p) - penalty @ weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
        size = float(np.abs(step).max())
        weights = weights + step * min(1.0, LONGEST_STEP / max(size, 1e-12))
        if size < 1e-8:
            break
    return weights


def _auc(outcome: Bool[np.ndarray, " n"], score: Float[np.ndarray, " n"]) -> float:
    """Area under the curve by mid-ranks; NaN where only one outcome is held out."""
    n_yes, n_no = int(outcome.sum()), int((~outcome).sum())
    if not n_yes or not n_no:
        return float("nan")
    ranks = np.asarray(stats.rankdata(score), dtype=np.float64)
    return float((ranks[outcome].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))
