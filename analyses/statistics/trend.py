"""Does a measure rise or fall along an ordered axis? Estimated and tested over items, never over level means."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.association import Association, Estimate, associate_items
from analyses.statistics.design import DesignKind, design_of, finite_patterns
from analyses.statistics.permutation import design_p

RESAMPLES: Final = 2000


class Trend(NamedTuple):
    """The trend of every column along the axis.

    Attributes:
        design: how the items depend on each other.
        correlation: Spearman's rho, or the pooled rank correlation within sources in a paired design.
        tau_b: Kendall's tau-b over all items.
        p: two-sided p-value of the design's test.
        association: the correlations with level and covariates, for partials.
    """

    design: DesignKind
    correlation: Estimate
    tau_b: Float[np.ndarray, " columns"]
    p: Float[np.ndarray, " columns"]
    association: Association


def trend(
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    covariates: Float[np.ndarray, "n covariates"] | None = None,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Trend:
    """Estimate and test the trend of every column along an ordered axis.

    Args:
        values: the measures, one column each; NaN where undefined.
        levels: place on the axis; two values make it a contrast of two groups.
        clusters: which items belong together.
        covariates: scores to be held fixed later, as ``association.partial(1 + index)``.
        resamples: bootstrap draws.
        rng: the source of chance.
    """
    design = design_of(levels, clusters)
    scores = levels[:, None] if covariates is None else np.column_stack([levels, covariates])
    association = associate_items(values, scores, clusters, within=design == "paired", resamples=resamples, rng=rng)
    usable = np.asarray(np.isfinite(scores).all(axis=1))
    tau_b, p = np.full((2, values.shape[1]), np.nan)
    for columns, rows in finite_patterns(values, usable):
        if len(rows) > 1:
            for column in columns:
                tau_b[column], p[column] = stats.kendalltau(levels[rows], values[rows, column])
    if design != "items":
        p = design_p(design, values[usable], levels[usable], clusters[usable], rng)
    return Trend(design, association.correlation(), tau_b, p, association)
