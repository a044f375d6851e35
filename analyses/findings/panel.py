"""The parts that every finding about a panel has: level means, null, covariates, primary column, adjustment.

One place, so that an ordered axis and a nominal one are treated alike: the same items, the same clusters, the same null
at the same width, the same rule for what may be adjusted for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Int

from analyses.data.panels import ALL_TOKENS, Panel
from analyses.findings.null import chance, side_of, sparser
from analyses.findings.record import (
    DETECTABLE,
    LENGTH,
    Control,
    Effect,
    Finding,
    LeftOut,
    Level,
    Null,
    Role,
    Scope,
)
from analyses.findings.verdicts import Family
from analyses.statistics.association import Association
from analyses.statistics.design import DesignKind
from analyses.statistics.equivalence import NORMAL_QUANTILE, Equivalence, equivalence, minimum_detectable
from analyses.statistics.groups import Means, cluster_means
from analyses.statistics.multiplicity import (
    FAMILY_PERMUTATIONS,
    max_t,
)
from analyses.statistics.resampling import FEW_CLUSTERS, LEVEL, Estimates, student

PRIMARY_METRIC: Final = "hoyer"
PRIMARY_SITES: Final = ("final_norm", "resid_post")
PRIMARY_POSITIONS: Final = ("mean", ALL_TOKENS, "last", "answer")
MOST_LEVELS: Final = 12  # more distinct values than this are shown as ranges
RANGES: Final = 8
FEWEST_ITEMS: Final = 6
SEED: Final = 0  # of every computation anew, so that its result is the same whatever else is computed
SEPARATED: Final = "n/a (the interval reaches complete separation)"
POWER: Final = "detectable with 80 % power"


class Covariate(NamedTuple):
    """A number per item that could stand behind a trend, and the part it may play."""

    name: str
    role: Role
    values: Float[np.ndarray, " items"]


class LevelMeans(NamedTuple):
    """Mean of every column at every level, and over all items."""

    names: list[str]
    values: list[float]
    shifted: list[bool]
    means: list[Means]
    overall: Means

    def of_column(self, column: int) -> tuple[Level, ...]:
        """The levels of one column as a figure wants them."""
        return tuple(
            Level(name, value, shifted, int(m.n[column]), *(float(x[column]) for x in (m.mean, m.low, m.high)))
            for name, value, shifted, m in zip(self.names, self.values, self.shifted, self.means, strict=True)
        )


def level_means(panel: Panel, *, resamples: int) -> LevelMeans:
    """Means per level, in the order of the axis; in-distribution groups first where it has none."""
    codes, names, values, shifted = levels_of(panel)
    means = [
        cluster_means(panel.values[codes == code], panel.clusters[codes == code], resamples=resamples, rng=fresh())
        for code in range(len(names))
    ]
    overall = cluster_means(panel.values, panel.clusters, resamples=resamples, rng=fresh())
    return LevelMeans(names, values, shifted, means, overall)


def fresh() -> np.random.Generator:
    """Random draws for one computation, always the same: equal data have equal intervals whatever else is asked."""
    return np.random.default_rng(SEED)


def left_out(panel: Panel, used: Bool[np.ndarray, " items"]) -> tuple[LeftOut, ...]:
    """Items of a panel that a finding does not use, counted by reason.

    Args:
        panel: the items.
        used: which of them the finding uses.
    """
    ordered = panel.axis.kind != "nominal"
    no_level = ~np.isfinite(panel.levels) if ordered else np.zeros(len(used), dtype=bool)
    counts = ((f"no level of {panel.axis.name} is recorded", no_level & ~used), ("undefined there", ~no_level & ~used))
    return tuple(LeftOut(reason, int(rows.sum())) for reason, rows in counts if rows.any())


def levels_of(panel: Panel) -> tuple[Int[np.ndarray, " items"], list[str], list[float], list[bool]]:
    """Code of each item's level, and the levels' names, places and splits; -1 for an item without a level."""
    if panel.axis.kind == "nominal":
        keys = [(bool(shifted), str(label)) for shifted, label in zip(panel.shifted, panel.labels, strict=True)]
        order = {key: code for code, key in enumerate(sorted(set(keys), key=lambda key: (key[0], keys.index(key))))}
        codes = np.array([order[key] for key in keys], dtype=np.int64)
        return codes, [name for _, name in order], [math.nan] * len(order), [split for split, _ in order]
    levels = panel.levels
    distinct = np.unique(levels[np.isfinite(levels)])
    if len(distinct) > MOST_LEVELS:
        return _ranges(levels)
    codes = np.where(np.isfinite(levels), np.searchsorted(distinct, levels), -1)
    first = [int(np.flatnonzero(codes == code)[0]) for code in range(len(distinct))]
    names = [str(panel.labels[index]) for index in first]
    return (
        codes,
        names,
        [float(level) for level in distinct],
        [_mostly(panel.shifted[codes == c]) for c in range(len(first))],
    )


def _ranges(
    levels: Float[np.ndarray, " items"],
) -> tuple[Int[np.ndarray, " items"], list[str], list[float], list[bool]]:
    finite = np.isfinite(levels)
    edges = np.unique(np.quantile(levels[finite], np.linspace(0, 1, RANGES + 1)))
    codes = np.where(finite, np.clip(np.searchsorted(edges, levels, side="right") - 1, 0, len(edges) - 2), -1)
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges.tolist())]
    middles = [float(np.median(levels[codes == code])) for code in range(len(names))]
    return codes, names, middles, [False] * len(names)


def _mostly(flags: Bool[np.ndarray, " some"]) -> bool:
    return bool(flags.mean() > 0.5)


def null_of(panel: Panel, overall: Means, column: int) -> Null | None:
    """The Gaussian null at a column, and the signed excess of the items' mean over it."""
    metric = panel.columns[column].metric
    reference = chance(metric, float(panel.widths[column]))
    direction = sparser(metric)
    if reference is None or direction is None:
        return None
    excess = float(overall.mean[column]) - reference.mean
    low, high = float(overall.low[column]) - reference.mean, float(overall.high[column]) - reference.mean
    return Null("gaussian", reference.mean, reference.sd, excess, (low, high), direction, side_of(low, high, direction))


def length_of(panel: Panel) -> Covariate | None:
    """The number of tokens, which every correlation is adjusted for; None where no item is longer than another."""
    found = Covariate(LENGTH, "pre_treatment", panel.items["n_tokens"].to_numpy(np.float64))
    return found if _varies(found) else None


def bytes_per_token(items: pd.DataFrame) -> Float64[np.ndarray, " items"]:
    """UTF-8 bytes of each item's text per token: high where the tokenizer knows words whole, low for rare ones.

    >>> bytes_per_token(pd.DataFrame({"n_bytes": [12], "n_text_tokens": [3]})).tolist()
    [4.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return items["n_bytes"].to_numpy(np.float64) / items["n_text_tokens"].to_numpy(np.float64)


def covariates_of(panel: Panel) -> list[Covariate]:
    """Covariates of a trend: length and bytes per token before the model, entropy and loss after it.

    A covariate that is the same for every item explains nothing and is left out, and so is one that most items lack.
    """
    n_tokens = panel.items["n_tokens"].to_numpy(np.float64)
    per_token = bytes_per_token(panel.items)
    candidates = [
        Covariate(LENGTH, "pre_treatment", n_tokens),
        Covariate("bytes_per_token", "pre_treatment", per_token),
    ]
    for name in ("next_token_entropy", "mean_next_token_entropy", "nll"):
        values = panel.outcome(name)
        if values is not None:
            candidates.append(Covariate(name, "mediator", values))
    return [found for found in candidates if _varies(found)]


def _varies(found: Covariate) -> bool:
    known = np.isfinite(found.values)
    return bool(known.mean() >= 0.5 and np.ptp(found.values[known]) > 0)


def bounded(estimate: float, interval: tuple[float, float], floor: float, n_clusters: int) -> Equivalence | None:
    """True where an estimate is negligible beside the noise floor; None where either is not known."""
    low, high = interval
    if not (math.isfinite(floor) and floor > 0 and math.isfinite(low) and high > low):
        return None
    freedom = math.inf if n_clusters >= FEW_CLUSTERS else float(max(n_clusters - 1, 1))
    quantile = student((1 + LEVEL) / 2, freedom)
    return equivalence(estimate, (high - low) / (2 * quantile), floor, freedom=freedom)


def detectable(interval: tuple[float, float]) -> Effect:
    """The effect, between -1 and 1, that a comparison of this precision detects with 80 % power.

    The error is read off the width on Fisher's scale, where it is the same at the estimate as near zero, where a small
    effect would lie. Where the groups are completely separated the width says nothing of that.
    """
    low, high = interval
    nothing = (math.nan, math.nan)
    if math.isfinite(low) and math.isfinite(high) and max(-low, high) > 1 - 1e-9:
        return Effect(POWER, math.nan, nothing, SEPARATED, key=DETECTABLE)
    error = (math.atanh(high) - math.atanh(low)) / (2 * NORMAL_QUANTILE)
    return Effect(POWER, math.tanh(minimum_detectable(error)), nothing, key=DETECTABLE)


class Controlled(NamedTuple):
    """The estimate of every column with one covariate held fixed, and the columns' correlation with it."""

    covariate: Covariate
    given: Estimates
    correlation: Estimates

    def of_column(self, column: int) -> Control:
        """The control of one column."""
        interval = (float(self.given.low[column]), float(self.given.high[column]))
        value, correlation = float(self.given.value[column]), float(self.correlation.value[column])
        return Control(self.covariate.name, self.covariate.role, value, interval, correlation)


def controlled(association: Association, covariates: Sequence[Covariate], *, slope: bool) -> list[Controlled]:
    """Read the controls off an association whose further scores are these covariates, in this order."""
    given = association.partial_slope if slope else association.partial
    return [
        Controlled(covariate, given(number), association.correlation(number))
        for number, covariate in enumerate(covariates, start=1)
    ]


def split_by_completeness(
    covariates: Sequence[Covariate], rows: Bool[np.ndarray, " items"]
) -> tuple[list[Covariate], list[Covariate]]:
    """Covariates that every one of these items has, and those that some lack and that need a pass of their own."""
    complete = [covariate for covariate in covariates if np.isfinite(covariate.values[rows]).all()]
    varying = [covariate for covariate in complete if np.ptp(covariate.values[rows]) > 0]
    names = {covariate.name for covariate in complete}
    return varying, [covariate for covariate in covariates if covariate.name not in names]


def primary_column(panel: Panel) -> int | None:
    """The one column that was stated before looking: Hoyer at the final norm, else at the last residual stream.

    Of several positions the mean over tokens comes first, then the last token. Where Hoyer was not measured, the first
    measure of sparsity in the sweep's order stands in for it.
    """
    measures = [index for index, column in enumerate(panel.columns) if sparser(column.metric) is not None]
    if not measures:
        return None

    def preference(index: int) -> tuple[int, int, int, int, int]:
        column = panel.columns[index]
        return (
            column.metric != PRIMARY_METRIC,
            _place_in(PRIMARY_SITES, column.site),
            _place_in(PRIMARY_POSITIONS, column.position),
            -column.layer,
            index,
        )

    return min(measures, key=preference)


def _place_in(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def scope_of(panel: Panel, column: int, group: str = "") -> Scope:
    """Scope of a finding about one column."""
    where = panel.columns[column]
    return Scope(
        model=panel.model,
        suite=panel.suite,
        axis=panel.axis.name,
        site=where.site,
        layer=where.layer,
        position=where.position,
        metric=where.metric,
        group=group,
        basis=where.basis,
    )


def family_of(
    panel: Panel,
    values: Float[np.ndarray, "n columns"],
    levels: Float[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    *,
    design: DesignKind,
    group: str = "",
) -> Family:
    """The measures of sparsity of a panel as one family; sizes are no part of it."""
    columns = [index for index, column in enumerate(panel.columns) if sparser(column.metric) is not None]
    tests = max_t(values[:, columns], levels, clusters, design=design, permutations=FAMILY_PERMUTATIONS, rng=fresh())
    return Family([scope_of(panel, column, group) for column in columns], tests)


def unanswered(panel: Panel, analysis: str, question: str, reason: str) -> Finding:
    """A question that the items of a panel cannot answer, and why."""
    return Finding(
        analysis=analysis,
        question=question,
        scope=Scope(model=panel.model, suite=panel.suite, axis=panel.axis.name),
        primary=True,
        n=len(panel.items),
        n_clusters=len(np.unique(panel.clusters)),
        text=f"Not answered for {panel.suite}: {reason}.",
    )


def undefined_columns(panel: Panel) -> list[tuple[str, list[str]]]:
    """Measures that are undefined for every item, each with the places where that is so."""
    found: dict[str, list[str]] = {}
    for index, column in enumerate(panel.columns):
        if not np.isfinite(panel.values[:, index]).any():
            found.setdefault(column.metric, []).append(column.place)
    return list(found.items())
