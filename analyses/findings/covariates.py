"""The ledger of covariates: what could stand behind a change, and the part that each may play.

What was fixed before the model ran (length, bytes per token, the last token) may be held fixed: that adjusts. What is
read off the output (entropy, loss, margin), or is computed from the state itself (its norm), may have been moved by the
very thing that is asked about: adjusting for it says how much goes with it, which removes no confounder. What both
the input and the state act on (whether the answer was right) opens a path that was closed: it is listed and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from analyses.data.panels import LAST_READ, TEMPLATE, Panel
from analyses.findings.contrast import (
    Comparison,
    associate_with,
    at,
    comparisons,
    effect,
    effect_given,
    independent,
    signs,
)
from analyses.findings.panel import Covariate, bytes_per_token, fresh
from analyses.findings.record import LENGTH, Role
from analyses.statistics.association import Association, associate_items
from analyses.statistics.groups import average
from analyses.statistics.trend import RESAMPLES

MEDIATORS: Final = ("next_token_entropy", "mean_next_token_entropy", "nll", "mean_nll", "margin", "mean_margin")
COLLIDERS: Final = ("correct",)
NORM: Final = "l2_norm"
ORDER: Final[tuple[Role, ...]] = ("pre_treatment", "mediator", "state", "collider")
KINDS_OF_ITEM: Final = {LAST_READ: "last token", TEMPLATE: "template"}
FEWEST_KNOWN: Final = 0.5
FEWEST_WITHIN: Final = 8  # items of a set, for a correlation within it

Numbers = tuple[float, tuple[float, float]]


class Entry(NamedTuple):
    """Change that one covariate makes to the effect of a panel.

    Attributes:
        covariate: which, with its role.
        correlation: rank correlation of the measure with it, over all items.
        adjusted: the same adjusted for the number of tokens; NaN for that number itself and where it does not vary.
        within: rank correlation inside each level or domain.
        given: the effect with it held fixed, over items.
        over_domains: mean of the same over domains, with Student's interval over them; NaN where there is one domain.
        without_one: lowest and highest of that mean when one domain is left out.
        n_domains: how many.
    """

    covariate: Covariate
    correlation: float
    adjusted: float
    within: tuple[float, ...]
    given: Numbers
    over_domains: Numbers
    without_one: tuple[float, float]
    n_domains: int


def ledger(panel: Panel, column: int) -> list[Covariate]:
    """Covariates that most items have and that vary, pre-treatment ones first, colliders last.

    The position of the token that was measured is one of them where it is not the last of the prompt, whose place is
    the prompt's length.
    """
    n_tokens = panel.items["n_tokens"].to_numpy(np.float64)
    per_token = bytes_per_token(panel.items)
    found = [Covariate(LENGTH, "pre_treatment", n_tokens), Covariate("bytes_per_token", "pre_treatment", per_token)]
    position = panel.token(panel.columns[column].position)
    if position is not None:
        found.append(Covariate("position", "pre_treatment", position))
    roles: tuple[tuple[tuple[str, ...], Role], ...] = ((MEDIATORS, "mediator"), (COLLIDERS, "collider"))
    for names, role in roles:
        read = ((name, panel.outcome(name)) for name in names)
        found += [Covariate(name, role, values) for name, values in read if values is not None]
    norm = panel.find(panel.columns[column]._replace(metric=NORM))
    if norm is not None:
        where = panel.columns[column].place
        found.append(Covariate(f"{NORM} at {where}", "state", panel.values[:, norm]))
    usable = [covariate for covariate in found if _varies(covariate.values)]
    return sorted(
        usable, key=lambda covariate: ("pre_treatment", "mediator", "state", "collider").index(covariate.role)
    )


def _varies(values: Float[np.ndarray, " items"]) -> bool:
    known = values[np.isfinite(values)]
    return len(known) >= FEWEST_KNOWN * len(values) and len(known) > 1 and bool(np.ptp(known) > 0)


class Together(NamedTuple):
    """Covariates that are known for the same items, and the association that they were put into at once."""

    covariates: list[Covariate]
    association: Association


def together(panel: Panel, column: int, one: Comparison, covariates: Sequence[Covariate]) -> list[Together]:
    """Associations of the measure with the comparison and covariates; one pass for all that are known for all items."""
    known = [np.isfinite(covariate.values[one.rows]) for covariate in covariates]
    complete = [covariate for covariate, here in zip(covariates, known, strict=True) if here.all()]
    partly = [[covariate] for covariate, here in zip(covariates, known, strict=True) if not here.all()]
    found: list[Together] = []
    for group in ([complete] if complete else []) + partly:
        scores = np.column_stack([covariate.values for covariate in group])
        found.append(Together(group, associate_with(panel, one, [column], scores, resamples=RESAMPLES)))
    return found


def enter(panel: Panel, column: int, one: Comparison, held: Together, number: int) -> Entry:
    """Adjust for one covariate, counted from 1, over items and over domains."""
    covariate, association = held.covariates[number - 1], held.association
    slopes = by_domain(panel, column, one, [covariate])
    return Entry(
        covariate,
        float(association.correlation(number).value[0]),
        _adjusted(panel, column, one, covariate),
        _within(panel, column, one, covariate),
        at(effect_given(association, one, number), 0),
        average(slopes)[:2],
        without_one(slopes),
        len(slopes),
    )


def by_domain(panel: Panel, column: int, one: Comparison, held: Sequence[Covariate]) -> Float[np.ndarray, " domains"]:
    """The effect of each independent domain with these covariates held fixed together; empty where there are none."""
    if not one.is_contrast or not held:
        return np.zeros(0)
    domains = comparisons(panel)
    scores = np.column_stack([covariate.values for covariate in held])
    effects: list[float] = []
    for single in domains:
        own = associate_with(panel, single, [column], scores, resamples=2)
        effects.append(float(own.partial_all(range(1, len(held) + 1), slope=True).value[0]))
    return independent(effects, [single.made for single in domains])


def _adjusted(panel: Panel, column: int, one: Comparison, covariate: Covariate) -> float:
    """Rank correlation of the measure with a covariate, the number of tokens held fixed."""
    length = panel.items["n_tokens"].to_numpy(np.float64)
    known = one.rows & np.isfinite(covariate.values) & np.isfinite(length) & np.isfinite(panel.values[:, column])
    if covariate.name == LENGTH or known.sum() < FEWEST_WITHIN or np.ptp(length[known]) == 0:
        return float("nan")
    values = signs(panel)[column] * panel.values[known][:, [column]]
    scores = np.column_stack([covariate.values, length])[known]
    codes = np.arange(int(known.sum()))
    found = associate_items(values, scores, codes, within=False, resamples=2, rng=fresh())
    return float(found.partial(1).value[0])


def _within(panel: Panel, column: int, one: Comparison, covariate: Covariate) -> tuple[float, ...]:
    labels = panel.labels.astype(str)
    found: list[float] = []
    for label in dict.fromkeys(labels[one.rows]):
        rows = one.rows & (labels == label)
        pair = np.column_stack([signs(panel)[column] * panel.values[rows, column], covariate.values[rows]])
        pair = pair[np.isfinite(pair).all(axis=1)]
        if len(pair) >= FEWEST_WITHIN and (np.ptp(pair, axis=0) > 0).all():
            found.append(float(stats.spearmanr(pair[:, 0], pair[:, 1]).statistic))
    return tuple(found)


def without_one(deltas: Float[np.ndarray, " domains"]) -> tuple[float, float]:
    """Lowest and highest mean when each domain is left out once; NaN below two domains."""
    if len(deltas) < 2:
        return float("nan"), float("nan")
    means = (deltas.sum() - deltas) / (len(deltas) - 1)
    return float(means.min()), float(means.max())


def same_kind(panel: Panel, column: int, one: Comparison, name: str) -> Numbers | None:
    """The effect among items of one kind, where at least half of the items have company on the other side.

    The token that a state stands on says much of it, and so does the template in which something is asked; both were
    there before the model ran. The token matters for positions that are one token.
    """
    if name not in panel.items or (name == LAST_READ and panel.columns[column].position not in {"last", "answer"}):
        return None
    kinds = panel.items[name]
    rows = one.rows & kinds.notna().to_numpy()
    if not rows.any():
        return None
    codes = np.unique(kinds[rows].astype(str), return_inverse=True)[1].reshape(-1)
    values = signs(panel)[column] * panel.values[rows][:, [column]]
    found = associate_items(values, one.score[rows, None], codes, within=True, resamples=RESAMPLES, rng=fresh())
    if found.n[0] < FEWEST_KNOWN * rows.sum() or found.n_clusters[0] < 2:
        return None
    return at(effect(found, one), 0)
