"""Onset of an effect along ordered sites (layers), and its largest size without the bias of having chosen the site.

The largest effect of several is too large by selection. So the items are halved, whole clusters on one side: one half
chooses the site, the other measures there, and the other way round (cross-fitting). The onset is the first site whose
effect reaches half of the largest; its uncertainty is the set of sites that resamples choose.

Effects are ratios of sums over clusters, so that every resample, and both of its halves, is one product of weights with
the clusters' sums.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from analyses.statistics.association import centred_within, cluster_sums
from analyses.statistics.resampling import FEW_CLUSTERS, LEVEL, MANY_CLUSTERS

DRAWS: Final = 400
DRAWS_OF_MANY: Final = 150
SHARE_OF_LARGEST: Final = 0.5


class Onset(NamedTuple):
    """Onset and peak of an effect along ordered sites, with intervals.

    Attributes:
        effects: effect at every place, from all items.
        low: lower ends of their 95 % intervals.
        high: upper ends.
        onset: index of the first place that reaches half of the largest effect.
        onset_set: smallest set of places that 95 % of the resamples choose as onset, in order.
        peak: index of the place with the largest effect.
        cross_fitted: effect at the largest place, measured on items that did not choose it.
        interval: its 95 % interval.
    """

    effects: Float[np.ndarray, " places"]
    low: Float[np.ndarray, " places"]
    high: Float[np.ndarray, " places"]
    onset: int
    onset_set: tuple[int, ...]
    peak: int
    cross_fitted: float
    interval: tuple[float, float]


class Sums(NamedTuple):
    """Sums over the items of each cluster from which an effect follows.

    Attributes:
        parts: shape ``(clusters, contrasts, 2, 3, places)`` with count, sum and sum of squares of two groups, or
            ``(clusters, 3, places)`` with squares of the score, squares of the value and their products.
        kind: which of the two.
    """

    parts: Float[np.ndarray, "clusters ..."]
    is_contrast: bool


def contrast_sums(
    values: Float[np.ndarray, "n places"],
    groups: list[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]],
    clusters: Int[np.ndarray, " n"],
) -> Sums:
    """Sums for the mean over contrasts of Cohen's d; each contrast is a pair of masks (near, far)."""
    centred = values - np.nanmean(values, axis=0)
    defined = np.isfinite(centred)
    filled = np.where(defined, centred, 0.0)
    moments = np.stack([defined.astype(np.float64), filled, filled**2], axis=1)
    masks = np.stack([np.stack(pair) for pair in groups]).astype(np.float64)  # contrasts x 2 x n
    parts = [
        np.stack([cluster_sums(moments * side[:, None, None], clusters) for side in pair], axis=1) for pair in masks
    ]
    return Sums(np.stack(parts, axis=1), is_contrast=True)


def slope_sums(
    values: Float[np.ndarray, "n places"],
    score: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    within: bool,
) -> Sums:
    """Sums for the rank correlation with a score, ranks taken over all items or within clusters."""
    everything = clusters if within else np.zeros_like(clusters)
    rank = centred_within(np.column_stack([score, values]), everything)
    rank = np.where(np.isfinite(rank), rank, 0.0)
    score_rank, ranks = rank[:, :1], rank[:, 1:]
    moments = np.stack([np.broadcast_to(score_rank**2, ranks.shape), ranks**2, score_rank * ranks], axis=1)
    return Sums(cluster_sums(moments, clusters), is_contrast=False)


def effects_of(parts: Float[np.ndarray, "draws ..."], *, is_contrast: bool) -> Float[np.ndarray, "draws places"]:
    """Effects from sums over clusters that were added up under some weights."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if not is_contrast:
            return parts[:, 2] / np.sqrt(parts[:, 0] * parts[:, 1])
        n, total, square = np.moveaxis(parts, 3, 0)  # each draws x contrasts x 2 x places
        mean = total / n
        within = (square - n * mean**2).sum(axis=2) / (n.sum(axis=2) - 2)
        d = (mean[:, :, 1] - mean[:, :, 0]) / np.sqrt(within)
        known = np.isfinite(d)
        return np.where(known, d, 0.0).sum(axis=1) / known.sum(axis=1)


def find_onset(sums: Sums, strata: Int[np.ndarray, " clusters"], *, rng: np.random.Generator) -> Onset:
    """Locate an effect among places.

    Args:
        sums: of the clusters.
        strata: the group that a cluster belongs to; clusters are drawn and halved within strata.
        rng: the source of chance.
    """
    n_clusters = len(strata)
    flat = sums.parts.reshape(n_clusters, -1)
    shape = sums.parts.shape[1:]

    def effects(weights: Float[np.ndarray, "draws clusters"]) -> Float[np.ndarray, "draws ..."]:
        return (weights @ flat).reshape(-1, *shape)

    n_draws = DRAWS_OF_MANY if n_clusters >= MANY_CLUSTERS else DRAWS
    drawn = _draws(strata, n_draws, rng)
    first = _halves(strata, n_draws, rng)
    one, other = effects(drawn * first), effects(drawn * (1 - first))
    whole = effects_of(one + other, is_contrast=sums.is_contrast)
    replicates = _cross(one, other, is_contrast=sums.is_contrast)
    halves = effects(first)
    everything = effects(np.ones((1, n_clusters)))
    fitted = _cross(halves, everything - halves, is_contrast=sums.is_contrast)
    estimate = effects_of(everything, is_contrast=sums.is_contrast)[0]
    value = float(np.nanmean(fitted)) if np.isfinite(fitted).any() else float("nan")
    low, high = _bounds(value, replicates[:, None], n_clusters)
    lows, highs = _bounds(estimate, whole, n_clusters)
    chosen = _onsets(whole[np.isfinite(whole).all(axis=1)])
    peak = int(np.where(np.isfinite(estimate), np.abs(estimate), 0.0).argmax())
    return Onset(
        estimate,
        np.asarray(lows),
        np.asarray(highs),
        int(_onsets(estimate[None])[0]),
        _set_of(chosen, len(estimate)),
        peak,
        value,
        (float(low[0]), float(high[0])),
    )


def _cross(
    one: Float[np.ndarray, "draws ..."], other: Float[np.ndarray, "draws ..."], *, is_contrast: bool
) -> Float[np.ndarray, " draws"]:
    """Mean of both directions: the place with the largest effect in one half, its effect in the other."""
    sides = [effects_of(part, is_contrast=is_contrast) for part in (one, other)]
    found: list[np.ndarray] = []
    for choosing, measuring in (sides, sides[::-1]):
        size = np.abs(np.where(np.isfinite(choosing), choosing, 0.0))
        found.append(np.take_along_axis(measuring, size.argmax(axis=1)[:, None], axis=1)[:, 0])
    return (found[0] + found[1]) / 2


def _onsets(effects: Float[np.ndarray, "draws places"]) -> Int[np.ndarray, " draws"]:
    size = np.abs(np.where(np.isfinite(effects), effects, 0.0))
    return (size >= SHARE_OF_LARGEST * size.max(axis=1, keepdims=True)).argmax(axis=1)


def _set_of(chosen: Int[np.ndarray, " draws"], n_places: int) -> tuple[int, ...]:
    """Smallest set of places that holds 95 % of the choices."""
    if not len(chosen):
        return ()
    counts = np.bincount(chosen, minlength=n_places)
    order = np.argsort(-counts, kind="stable")
    enough = int((np.cumsum(counts[order]) < LEVEL * len(chosen)).sum()) + 1
    return tuple(sorted(int(place) for place in order[:enough]))


def _bounds(
    estimate: float | Float[np.ndarray, " k"], replicates: Float[np.ndarray, "draws k"], n_clusters: int
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Percentiles; with few clusters Student's interval around the estimate, which percentiles make too short."""
    known = np.isfinite(replicates).sum(axis=0) > 1
    replicates = np.where(known, replicates, 0.0)
    estimate = np.where(known, estimate, np.nan)
    if n_clusters < FEW_CLUSTERS:
        spread = np.nanstd(replicates, axis=0, ddof=1) * np.sqrt(n_clusters / max(n_clusters - 1, 1))
        half = float(stats.t.ppf((1 + LEVEL) / 2, max(n_clusters - 1, 1))) * spread
        return estimate - half, estimate + half
    low, high = np.nanquantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _draws(strata: Int[np.ndarray, " clusters"], n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap counts of the clusters, drawn within strata."""
    weights = np.zeros((n_draws, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = rng.integers(0, len(members), (n_draws, len(members)))
        np.add.at(weights, (np.arange(n_draws)[:, None], members[drawn]), 1.0)
    return weights


def _halves(strata: Int[np.ndarray, " clusters"], n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Zeros and ones that put half of each stratum's clusters on one side."""
    side = np.zeros((n_draws, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order = rng.random((n_draws, len(members))).argsort(axis=1)
        # of an odd number the larger half changes sides by chance
        side[:, members] = order < (len(members) + rng.integers(0, 2, (n_draws, 1))) // 2
    return side
