"""Comparisons of a panel: each shifted domain with the in-distribution items, or the levels of an ordered axis.

Questions about where a change sits, what carries it and what accounts for it all start from the same contrast as the
questions about the change itself. This is that contrast in one form, so that they cannot drift apart: a score per item
(membership of a domain, or place on the axis, turned so that larger is farther) and an effect in the currency of the
axis (Cliff's delta, or a rank correlation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from analyses.data.panels import Panel
from analyses.findings.null import sparser
from analyses.findings.panel import FEWEST_ITEMS, fresh, length_of
from analyses.findings.record import Control, Verdict
from analyses.statistics.association import Association, associate_items, partial_of, partial_slope_of
from analyses.statistics.design import DesignKind, design_of
from analyses.statistics.intervals import fieller
from analyses.statistics.ranks import Associations
from analyses.statistics.resampling import Estimates, interval
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import FARTHER

ALL_SHIFTED: Final = "all shifted"
MOSTLY: Final = 0.5


class Comparison(NamedTuple):
    """One contrast of a panel.

    Attributes:
        group: the shifted domain; empty for an ordered axis.
        far: how the far end is called: the domain, or the last level.
        near: how the near end is called.
        rows: the items that take part.
        score: 0 or 1 for a domain, the level turned so that larger is farther for an ordered axis.
        design: how the items depend on each other.
        made: whether the far items are made from the near ones (they share clusters).
        farther: the far end in a word: harder, less familiar, longer or shifted.
    """

    group: str
    far: str
    near: str
    rows: Bool[np.ndarray, " items"]
    score: Float[np.ndarray, " items"]
    design: DesignKind
    made: bool = False
    farther: str = FARTHER["nominal"]

    @property
    def is_contrast(self) -> bool:
        """True where two groups are compared (Cliff's delta) rather than the levels of an axis (rank correlation)."""
        return bool(self.group)

    @property
    def quantity(self) -> str:
        """Kind of number that the effect is."""
        return "Cliff's delta" if self.is_contrast else "rank correlation"

    @property
    def quantity_given(self) -> str:
        """Kind of number that the effect is once it is adjusted for something."""
        return "partial slope of ranks" if self.is_contrast else "partial rank correlation"

    @property
    def unit(self) -> str:
        """The effect with its direction."""
        if self.is_contrast:
            return "Cliff's delta, positive = shifted is sparser"
        return f"rank correlation, positive = sparser where {self.farther}"

    @property
    def unit_given(self) -> str:
        """The effect adjusted for something, with its direction.

        An adjusted Cliff's delta is no longer a share of pairs and may lie beyond 1: it is the slope of ranks on
        membership.
        """
        if self.is_contrast:
            return "partial slope of ranks (Cliff's delta without adjustment), positive = shifted is sparser"
        return f"partial rank correlation, positive = sparser where {self.farther}"


def comparisons(panel: Panel) -> list[Comparison]:
    """All contrasts of a panel that have enough items; empty where nothing can be compared."""
    if panel.axis.kind == "nominal":
        return _domains(panel)
    if panel.axis.harder is None:  # an axis that does not say which end is harder orients nothing
        return []
    far = 1.0 if panel.axis.harder == "higher" else -1.0
    score = far * panel.levels
    rows = np.isfinite(score)
    if rows.sum() < FEWEST_ITEMS or len(np.unique(score[rows])) < 2:
        return []
    labels = panel.labels
    ends = [str(labels[rows][index]) for index in (int(score[rows].argmax()), int(score[rows].argmin()))]
    design = design_of(score[rows], panel.clusters[rows])
    return [Comparison("", ends[0], ends[1], rows, score, design, farther=panel.axis.farther)]


def _domains(panel: Panel) -> list[Comparison]:
    inside = ~panel.shifted
    if inside.sum() < FEWEST_ITEMS:
        return []
    labels, score = panel.labels, panel.shifted.astype(np.float64)
    near = " + ".join(dict.fromkeys(str(label) for label in labels[inside]))
    found: list[Comparison] = []
    for name in dict.fromkeys(str(label) for label in labels[panel.shifted]):
        own = panel.shifted & (labels == name)
        rows = own | inside
        if own.sum() >= FEWEST_ITEMS:
            design, made = design_of(score[rows], panel.clusters[rows]), is_made(panel, own)
            found.append(Comparison(name, name, near, rows, score, design, made))
    return found


def is_made(panel: Panel, far: Bool[np.ndarray, " items"]) -> bool:
    """True where most of these shifted items share a cluster with an in-distribution one, and so are made from it."""
    return bool(np.isin(panel.clusters[far], panel.clusters[~panel.shifted]).mean() > MOSTLY)


def independent(effects: Sequence[float], made: Sequence[bool]) -> Float[np.ndarray, " draws"]:
    """One effect per domain that counts as a draw of its own; all shifts made from the same texts are one draw.

    >>> independent([0.2, 0.4, 0.9], [True, True, False]).round(1).tolist()
    [0.9, 0.3]
    """
    pairs = [(effect, is_made) for effect, is_made in zip(effects, made, strict=True) if np.isfinite(effect)]
    from_same = [effect for effect, is_made in pairs if is_made]
    others = [effect for effect, is_made in pairs if not is_made]
    return np.array([*others, *([np.mean(from_same)] if from_same else [])], dtype=np.float64)


def overall(panel: Panel) -> Comparison | None:
    """The one comparison of a panel: the axis, or all shifted items together beside the in-distribution ones."""
    found = comparisons(panel)
    if len(found) < 2:
        return found[0] if found else None
    rows = np.logical_or.reduce([one.rows for one in found])
    score = panel.shifted.astype(np.float64)
    return Comparison(
        ALL_SHIFTED, ALL_SHIFTED, found[0].near, rows, score, design_of(score[rows], panel.clusters[rows])
    )


def signs(panel: Panel) -> Float[np.ndarray, " columns"]:
    """Factor per column that makes larger mean sparser; sizes keep their sign."""
    return np.array([-1.0 if sparser(column.metric) == "lower" else 1.0 for column in panel.columns])


def associate_with(
    panel: Panel,
    compared: Comparison,
    columns: Sequence[int],
    covariates: Float[np.ndarray, "items covariates"] | None = None,
    *,
    resamples: int,
) -> Association:
    """Rank associations of some columns with the comparison's score and with covariates, larger meaning sparser."""
    rows = compared.rows
    chosen = list(columns)
    values = panel.values[rows][:, chosen] * signs(panel)[chosen]
    scores = compared.score[rows, None]
    if covariates is not None:
        scores = np.column_stack([scores, covariates[rows]])
    within = compared.design == "paired" and not compared.is_contrast
    return associate_items(values, scores, panel.clusters[rows], within=within, resamples=resamples, rng=fresh())


def effect(association: Association, compared: Comparison) -> Estimates:
    """The effect in the currency of the comparison."""
    return association.slope() if compared.is_contrast else association.correlation()


def effect_given(association: Association, compared: Comparison, covariate: int) -> Estimates:
    """The effect with one covariate held fixed, counted from 1."""
    return association.partial_slope(covariate) if compared.is_contrast else association.partial(covariate)


def effect_lost(
    association: Association, compared: Comparison, *, before: int, after: int, given: int | None = None
) -> Estimates:
    """Part of the effect of one column that another one does not have, positive where the second has less of it.

    The sign is turned by that of the first, so that a change of direction counts as more than all lost. Both columns
    must be defined for the same items, so that they are resampled together; NaN where they are not.

    Args:
        association: of both columns with the comparison, and with what is held fixed.
        compared: the comparison.
        before: the column whose effect is lost.
        after: the column that has less of it.
        given: the covariate to hold fixed, counted from 1.
    """
    if len(association.blocks) != 1:
        nothing = np.full(1, np.nan)
        return Estimates(nothing, nothing, nothing)
    block = association.blocks[0]
    turn = 1.0 if float(block.estimate.columns[0, before, 0]) >= 0 else -1.0

    def lost(found: Associations) -> Float[np.ndarray, "weightings 1"]:
        effects = _effects(found, compared, given)
        return (effects[:, [before]] - effects[:, [after]]) * turn

    value = lost(block.estimate)[0]
    bounds = interval(value, lost(block.replicates), block.way)
    return Estimates(value, bounds.low, bounds.high)


def share_lost(
    association: Association, compared: Comparison, *, before: int, after: int
) -> tuple[float, tuple[float, float]]:
    """The same as a share of the first column's effect; the interval is Fieller's, with the error of both sides.

    1 where nothing is left, above 1 where the direction changes; NaN where the effect does not differ from zero.
    """
    _, bounds = at(effect(association, compared), before)
    if len(association.blocks) != 1 or judge(bounds) == "undecided":
        return float("nan"), (float("nan"), float("nan"))
    block = association.blocks[0]

    def sides(found: Associations) -> Float[np.ndarray, "weightings two"]:
        effects = _effects(found, compared, None)
        return np.column_stack([effects[:, before] - effects[:, after], effects[:, before]])

    both = sides(block.estimate)[0]
    return float(both[0] / both[1]), fieller(both, sides(block.replicates), block.way)


def _effects(found: Associations, compared: Comparison, given: int | None) -> Float[np.ndarray, "weightings columns"]:
    if given is not None:
        return (partial_slope_of if compared.is_contrast else partial_of)(found, given)
    return found.columns[..., 0] * (found.ratio if compared.is_contrast else 1.0)


def length_control(panel: Panel, compared: Comparison, columns: Sequence[int]) -> Control | None:
    """The effect adjusted for the number of tokens; None where no item is longer than another.

    Of two columns, what the second has lost of the first one's effect.
    """
    length = length_of(panel)
    if length is None or not np.isfinite(length.values[compared.rows]).all():
        return None
    if np.ptp(length.values[compared.rows]) == 0:
        return None
    found = associate_with(panel, compared, columns, length.values[:, None], resamples=RESAMPLES)
    if len(columns) == 1:
        given = effect_given(found, compared, 1)
    else:
        given = effect_lost(found, compared, before=0, after=1, given=1)
    value, bounds = at(given, 0)
    return Control(length.name, length.role, value, bounds, float(found.correlation(1).value[0]))


def judge(bounds: tuple[float, float]) -> Verdict:
    """The verdict of an interval alone, for an estimate that is positive where the claim is right.

    >>> judge((0.1, 0.2)), judge((-0.2, 0.1)), judge((-0.2, -0.1)), judge((float("nan"), float("nan")))
    ('supported', 'undecided', 'contradicted', 'undecided')
    """
    low, high = bounds
    return "supported" if low > 0 else "contradicted" if high < 0 else "undecided"


def at(estimate: Estimates, column: int) -> tuple[float, tuple[float, float]]:
    """Value and interval of one column."""
    return float(estimate.value[column]), (float(estimate.low[column]), float(estimate.high[column]))
