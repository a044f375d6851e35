"""Intervals for estimates that are far from normal: skewed ones, ratios, and groups that do not overlap at all.

Percentiles of resamples serve most estimates. They are one-sided where an estimate is skewed (bias-corrected and
accelerated intervals, Efron 1987), and a ratio of two estimates has the error of its denominator too (Fieller 1954).
An estimate near the edge of its range has next to no spread in resamples, and none on the edge, so there the variance
comes from theory and the interval is a score interval (Wilson 1927; Newcombe 2006 for two groups). Its end at the edge
is that of a count of disagreements by Poisson's law (Brown, Cai and DasGupta 2001), because a score interval of one or
two of them leaves the edge too far out.

Coverage near the edge is not 95 % in every cell, and no interval could have that. Only one end can miss there, and it
does in 2.5 % of runs: 97.5 % is nominal. Few items allow few values, between which coverage jumps. And how often groups
disagree depends on the tails of the law: where Cliff's delta is .975 its variance is .7 of Newcombe's for a normal law,
1.4 of it for an exponential and 1.5 for a lognormal one, and data without any disagreement do not tell these apart.
What is simulated stands in PROOFS.md (tests/analyses/statistics/test_edges.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy import stats

from analyses.statistics.design import Layout
from analyses.statistics.resampling import LEVEL, Interval, Way, variance_of

FEWEST_FOR_FISHER: Final = 3  # clusters; a rank correlation of two is 1 or -1
MANY_AS_NORMAL: Final = 1e6  # degrees of freedom from which Student's law is the normal one
POISSON_SHARE: Final = 0.05  # near the edge one end alone can miss, and has all of 1 - LEVEL
NEAR: Final = 1e-4  # to the edge, where a variance is in proportion to the distance from it
HALVINGS: Final = 40  # of a range of 2: the end of an interval is placed to 2e-12
Variance = Callable[[np.ndarray], np.ndarray]


def bca(
    estimate: Float[np.ndarray, " columns"],
    replicates: Float[np.ndarray, "draws columns"],
    left_out: Float[np.ndarray, "clusters columns"],
) -> Interval:
    """Interval from bootstrap replicates, corrected by the estimates with one cluster left out.

    The bias is read off the share of replicates below the estimate, the acceleration off the skewness of the jackknife.
    NaN where all replicates lie on one side of the estimate, or some are undefined.

    Args:
        estimate: from all items.
        replicates: under resampled clusters.
        left_out: with each cluster left out in turn.
    """
    below = (replicates < estimate).mean(axis=0) + 0.5 * (replicates == estimate).mean(axis=0)
    bias = np.asarray(stats.norm.ppf(below), dtype=np.float64)
    deviations = left_out.mean(axis=0) - left_out
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = (deviations**3).sum(axis=0) / (6 * (deviations**2).sum(axis=0) ** 1.5)
    ordered, last = np.sort(replicates, axis=0), len(replicates) - 1
    bounds: list[np.ndarray] = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + float(stats.norm.ppf(share))
        place = last * np.asarray(stats.norm.cdf(bias + z / (1 - acceleration * z)), dtype=np.float64)
        below = np.where(np.isfinite(place), np.floor(place), 0).astype(np.int64)
        pair = np.take_along_axis(ordered, np.stack([below, np.minimum(below + 1, last)]), axis=0)
        bounds.append(pair[0] + (place - below) * (pair[1] - pair[0]))
    return Interval(bounds[0], bounds[1])


def score_interval(
    estimate: Float[np.ndarray, " columns"],
    variance: Variance,
    quantile: float | Float[np.ndarray, " columns"],
    *,
    least: float,
    most: float,
) -> Interval:
    """All values that are within the quantile of *their own* standard error of the estimate (a score interval).

    The variance is that of the estimator if the value were the truth, so it does not vanish where the estimate lies on
    the edge of its range: two groups without any overlap still have an interval.

    Args:
        estimate: between `least` and `most`; NaN stays NaN.
        variance: from true values to the variance of the estimator, one per column.
        quantile: of Student's or the normal law, one for all columns or one each.
        least: the lowest value there can be.
        most: the highest.

    Wilson's interval of a proportion is one of these; 10 successes of 10:

    >>> found = score_interval(np.ones(1), lambda p: p * (1 - p) / 10, 1.96, least=0.0, most=1.0)
    >>> found.low.round(3).tolist(), found.high.tolist()
    ([0.722], [1.0])
    """
    bounds: list[np.ndarray] = []
    for edge in (least, most):
        outside, inside = np.full_like(estimate, edge), estimate.copy()
        for _ in range(HALVINGS):
            middle = (outside + inside) / 2
            with np.errstate(invalid="ignore"):
                near = (estimate - middle) ** 2 <= quantile**2 * variance(middle)
            inside, outside = np.where(near, middle, inside), np.where(near, outside, middle)
        known = np.isfinite(estimate) & np.isfinite(variance(estimate))
        with np.errstate(invalid="ignore"):
            whole = (estimate - edge) ** 2 <= quantile**2 * variance(np.full_like(estimate, edge))
        bounds.append(np.where(known, np.where(whole | (estimate == edge), edge, inside), np.nan))
    return Interval(bounds[0], bounds[1])


def area_variance(area: Float[np.ndarray, " columns"], n_low: int, n_high: int) -> Float[np.ndarray, " columns"]:
    r"""Variance of the share of pairs in which the item of the higher group is above, if `area` is the true share.

    Newcombe (2006), method 5, with N = (m + n) / 2 - 1:

    .. math:: \frac{\theta(1-\theta)}{mn}
              \left(1 + N\frac{1-\theta}{2-\theta} + N\frac{\theta}{1+\theta}\right)

    Args:
        area: the share, from 0 to 1; one half where neither group is higher.
        n_low: items of one group.
        n_high: items of the other.

    >>> area_variance(np.array([0.5, 1.0]), 10, 10).round(4).tolist()
    [0.0175, 0.0]
    """
    mean = (n_low + n_high) / 2 - 1
    spread = 1 + mean * (1 - area) / (2 - area) + mean * area / (1 + area)
    return area * (1 - area) / (n_low * n_high) * spread


def trusted(estimate: Float[np.ndarray, " columns"], n: int) -> Float[np.ndarray, " columns"]:
    """Weight of a variance that was estimated from the data beside one from theory; 0 on the edge, near 1 inside.

    What the data say of the variance of an estimate between -1 and 1 rests on the items that disagree. With q of them
    expected the weight is q / (q + 1).

    >>> trusted(np.array([1.0, 0.8, 0.0]), 20).round(2).tolist()
    [0.0, 0.67, 0.91]
    """
    disagree = (1 - np.minimum(np.abs(estimate), 1.0)) / 2 * n
    return disagree / (disagree + 1)


def freedom_of(layout: Layout) -> int:
    """Degrees of freedom of a variance over clusters; clusters that lie in one of two groups leave one less."""
    return max(layout.n_clusters - (1 if layout.spans or not layout.tied else 2), 1)


def quantile_for(part: Float[np.ndarray, " columns"], freedom: int) -> Float[np.ndarray, " columns"]:
    """Student's quantile of a variance of which a part was estimated and the rest is known (Satterthwaite 1946).

    Args:
        part: share of the variance that was estimated, from 0 to 1; NaN stays NaN.
        freedom: degrees of freedom of that part alone.

    >>> quantile_for(np.array([0.0, 0.5, 1.0]), 4).round(2).tolist()
    [1.96, 2.12, 2.78]
    """
    known = np.isfinite(part)
    effective = np.minimum(freedom / np.maximum(np.where(known, part, 1.0), 1e-9) ** 2, MANY_AS_NORMAL)
    return np.where(known, np.asarray(stats.t.ppf((1 + LEVEL) / 2, effective), dtype=np.float64), np.nan)


def delta_interval(
    delta: Float[np.ndarray, " columns"], replicates: Float[np.ndarray, "draws columns"], way: Way, layout: Layout
) -> Interval:
    """Score interval of Cliff's delta, one method from no overlap to full overlap of the two groups.

    The variance is Newcombe's (2006) for these numbers of items, raised by the effect of clusters, which weakens
    towards the edge because the few items that disagree are in few clusters. It is scaled to what the replicates say,
    the more the more items disagree.
    """
    if layout.within:
        return correlation_interval(delta, replicates, way, layout)

    def theory(value: np.ndarray) -> np.ndarray:
        return 4 * _raised(value, layout) * area_variance((1 + value) / 2, *layout.items_at)

    return _scored(delta, variance_of(replicates, way), theory, min(layout.clusters_at), freedom_of(layout))


def correlation_interval(
    correlation: Float[np.ndarray, " columns"],
    replicates: Float[np.ndarray, "draws columns"],
    way: Way,
    layout: Layout,
) -> Interval:
    r"""Interval of a rank correlation with levels that items share, or inside sources; else :func:`fisher_interval`.

    It is a score interval of the correlation as a share s of the largest one that the ties allow, with a variance in
    proportion to :math:`u \sqrt{k^2 + (1 - k^2) u^2}`, where :math:`u = 1 - s^2`. Of many values of the score that is
    :math:`u^2`, as of a correlation of untied numbers. Near the edge all disagreement comes from single neighbours that
    changed places, and their number has a variance in proportion to u: k is what one exchange moves the correlation by,
    times Newcombe's (m + 1)/2 for how many come together where m items share a value.
    """
    if not (layout.tied or layout.within):
        return fisher_interval(correlation, replicates, way, layout.n_clusters)
    best = np.maximum(layout.best, np.abs(correlation))

    def theory(share: np.ndarray) -> np.ndarray:
        left = np.maximum(1 - share**2, 0.0)
        near_edge = np.sqrt(layout.edge**2 + (1 - layout.edge**2) * left**2)
        return layout.base / best**2 * _raised(share, layout) * left * near_edge

    variance = variance_of(replicates, way) / best**2
    found = _scored(correlation / best, variance, theory, layout.n_clusters, freedom_of(layout))
    return Interval(found.low * best, found.high * best)


def _raised(value: Float[np.ndarray, " columns"], layout: Layout) -> Float[np.ndarray, " columns"]:
    """Factor by which clusters raise the variance of an estimate between -1 and 1; 1 at either end."""
    return 1 + (layout.effect_of_design - 1) * np.sqrt(np.maximum(1 - value**2, 0.0))


def _scored(
    value: Float[np.ndarray, " columns"],
    variance: Float[np.ndarray, " columns"],
    theory: Variance,
    n: int,
    freedom: int,
) -> Interval:
    value = np.clip(value, -1.0, 1.0)
    weight, own = trusted(value, n), theory(value)
    ratio = np.where(own > 0, variance / np.where(own > 0, own, 1.0), np.where(np.isfinite(variance), 1.0, np.nan))
    scale = 1 - weight + weight * ratio
    quantile = quantile_for(weight * ratio / scale, freedom)
    found = score_interval(value, lambda truth: scale * theory(truth), quantile, least=-1.0, most=1.0)
    side = np.where(value < 0, -1.0, 1.0)
    one = scale * theory(side * (1 - NEAR)) / NEAR  # what one disagreement moves the estimate by
    end = side * (1 - one * _fewest_expected((1 - np.abs(value)) / one))
    nearer = np.isfinite(found.low) & np.isfinite(end) & (np.abs(value) < 1) & (value != 0)
    return Interval(
        np.where(nearer & (side < 0), np.minimum(found.low, end), found.low),
        np.where(nearer & (side > 0), np.maximum(found.high, end), found.high),
    )


def _fewest_expected(count: Float[np.ndarray, " columns"]) -> Float[np.ndarray, " columns"]:
    """Expected number of events of which so many, or more, are seen in :data:`POISSON_SHARE` of cases.

    >>> _fewest_expected(np.array([1.0, 2.0])).round(3).tolist()  # 1 - exp(-.051) is .05
    [0.051, 0.355]
    """
    counted = np.maximum(np.where(np.isfinite(count), count, 1.0), np.finfo(np.float64).tiny)
    return np.where(np.isfinite(count), np.asarray(stats.gamma.ppf(POISSON_SHARE, counted), dtype=np.float64), np.nan)


def fisher_interval(
    correlation: Float[np.ndarray, " columns"],
    replicates: Float[np.ndarray, "draws columns"],
    way: Way,
    n_clusters: int,
) -> Interval:
    r"""Interval of a correlation on Fisher's scale :math:`z = \operatorname{artanh} r`.

    The variance of z is that of the replicates over :math:`(1 - r^2)^2`, and near the edge, where replicates hardly
    differ, :math:`(1 + r^2/2)/(n - 3)` (Bonett and Wright 2000). There r is kept inside by half of the smallest step of
    Spearman's coefficient, :math:`6 / (n (n^2 - 1))`. NaN below three clusters.
    """
    if n_clusters < FEWEST_FOR_FISHER:
        return Interval(np.full_like(correlation, np.nan), np.full_like(correlation, np.nan))
    inside = 1 - 6 / (n_clusters * (n_clusters**2 - 1))
    kept = np.clip(correlation, -inside, inside)
    weight = trusted(kept, n_clusters)
    theory = (1 - weight) * (1 + kept**2 / 2) / max(n_clusters - 3, 1)
    own = weight * variance_of(replicates, way) / (1 - kept**2) ** 2
    half = quantile_for(own / (own + theory), n_clusters - 1) * np.sqrt(own + theory)
    z = np.arctanh(kept)
    low = np.where(correlation <= -inside, correlation, np.tanh(z - half))
    high = np.where(correlation >= inside, correlation, np.tanh(z + half))
    return Interval(np.where(np.isfinite(half), low, np.nan), np.where(np.isfinite(half), high, np.nan))


def fieller(
    over: Float[np.ndarray, " two"], replicates: Float[np.ndarray, "draws two"], way: Way
) -> tuple[float, float]:
    r"""Interval of a ratio of two estimates by Fieller, from their replicates; the second is the denominator.

    All ratios :math:`\theta` for which :math:`a - \theta b` is within the quantile of its own standard error. NaN where
    the denominator is not told from zero, because then no ratio is excluded.

    Args:
        over: numerator and denominator.
        replicates: both under each weighting.
        way: how the weightings were made.
    """
    known = replicates[np.isfinite(replicates).all(axis=1)]
    n = len(known)
    if n < 2:
        return float("nan"), float("nan")
    deviations = known - known.mean(axis=0)
    few = way == "jackknife"
    spread = deviations.T @ deviations * ((n - 1) / n if few else 1 / (n - 1))
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) if few else stats.norm.ppf((1 + LEVEL) / 2))
    (a, b), (aa, ab, bb) = over, quantile**2 * spread[[0, 0, 1], [0, 1, 1]]
    if not b**2 > bb:
        return float("nan"), float("nan")
    root = float(np.sqrt(max((a * b - ab) ** 2 - (b**2 - bb) * (a**2 - aa), 0.0)))
    middle, scale = float(a * b - ab), float(b**2 - bb)
    return (middle - root) / scale, (middle + root) / scale
