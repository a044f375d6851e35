"""The ledger of covariates: what could stand behind a change, and the part that each may play.

What was fixed before the model ran (length, bytes per token, the last token) may be held fixed: that adjusts. What is
read off the output (entropy, loss, margin) or lies on the way to it (the norm of the state) may have been moved by the
very thing that is asked about: holding it fixed says how much it accounts for, which removes no confounder. What both
the input and the state act on (whether the answer was right) opens a path that was closed: it is listed and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from analyses.comparison import Comparison, associate_with, at, comparisons, effect, effect_given, signs
from analyses.evidence import Covariate
from analyses.finding import Role
from analyses.statistics.association import Association, associate_items
from analyses.statistics.resampling import LEVEL
from analyses.statistics.trend import RESAMPLES
from analyses.tables import Panel

MEDIATORS: Final = ("next_token_entropy", "mean_next_token_entropy", "nll", "mean_nll", "margin", "mean_margin")
COLLIDERS: Final = ("correct",)
NORM: Final = "l2_norm"
FEWEST_KNOWN: Final = 0.5
FEWEST_WITHIN: Final = 8  # items of a set, for a correlation within it

Numbers = tuple[float, tuple[float, float]]


class Entry(NamedTuple):
    """What one covariate does to the effect of a panel.

    Attributes:
        covariate: which, with its role.
        correlation: rank correlation of the measure with it, over all items.
        within: the same inside each level or domain.
        given: the effect with it held fixed, over items.
        over_domains: mean of the same over domains, with Student's interval over them; NaN where there is one domain.
        without_one: lowest and highest of that mean when one domain is left out.
        n_domains: how many.
    """

    covariate: Covariate
    correlation: float
    within: tuple[float, ...]
    given: Numbers
    over_domains: Numbers
    without_one: tuple[float, float]
    n_domains: int


def ledger(panel: Panel, column: int) -> list[Covariate]:
    """Covariates that most items have and that vary, pre-treatment ones first, colliders last."""
    n_tokens = panel.items["n_tokens"].to_numpy(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_token = panel.items["n_bytes"].to_numpy(np.float64) / n_tokens
    found = [Covariate("n_tokens", "pre_treatment", n_tokens), Covariate("bytes_per_token", "pre_treatment", per_token)]
    roles: tuple[tuple[tuple[str, ...], Role], ...] = ((MEDIATORS, "mediator"), (COLLIDERS, "collider"))
    for names, role in roles:
        read = ((name, panel.outcome(name)) for name in names)
        found += [Covariate(name, role, values) for name, values in read if values is not None]
    norm = panel.find(panel.columns[column]._replace(metric=NORM))
    if norm is not None:
        where = panel.columns[column].place
        found.append(Covariate(f"{NORM} at {where}", "mediator", panel.values[:, norm]))
    usable = [covariate for covariate in found if _varies(covariate.values)]
    return sorted(usable, key=lambda covariate: ("pre_treatment", "mediator", "collider").index(covariate.role))


def _varies(values: Float[np.ndarray, " items"]) -> bool:
    known = values[np.isfinite(values)]
    return len(known) >= FEWEST_KNOWN * len(values) and len(known) > 1 and bool(np.ptp(known) > 0)


class Together(NamedTuple):
    """Covariates that are known for the same items, and the association that they were put into at once."""

    covariates: list[Covariate]
    association: Association


def together(
    panel: Panel, column: int, one: Comparison, covariates: Sequence[Covariate], rng: np.random.Generator
) -> list[Together]:
    """Associations of the measure with the comparison and covariates; one pass for all that are known for all items."""
    known = [np.isfinite(covariate.values[one.rows]) for covariate in covariates]
    complete = [covariate for covariate, here in zip(covariates, known, strict=True) if here.all()]
    partly = [[covariate] for covariate, here in zip(covariates, known, strict=True) if not here.all()]
    found: list[Together] = []
    for group in ([complete] if complete else []) + partly:
        scores = np.column_stack([covariate.values for covariate in group])
        found.append(Together(group, associate_with(panel, one, [column], scores, resamples=RESAMPLES, rng=rng)))
    return found


def enter(panel: Panel, column: int, one: Comparison, held: Together, number: int, rng: np.random.Generator) -> Entry:
    """What holding one covariate fixed, counted from 1, does over items and over domains."""
    covariate, association = held.covariates[number - 1], held.association
    by_domain: list[float] = []
    if one.is_contrast:
        for single in comparisons(panel):
            own = associate_with(panel, single, [column], covariate.values[:, None], resamples=2, rng=rng)
            by_domain.append(float(effect_given(own, single, 1).value[0]))
    deltas = np.array([value for value in by_domain if np.isfinite(value)])
    return Entry(
        covariate,
        float(association.correlation(number).value[0]),
        _within(panel, column, one, covariate),
        at(effect_given(association, one, number), 0),
        over_domains(deltas),
        _without_one(deltas),
        len(deltas),
    )


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


def over_domains(deltas: Float[np.ndarray, " domains"]) -> Numbers:
    """Mean over domains with Student's interval, one estimate per domain."""
    if len(deltas) < 2:
        return float("nan"), (float("nan"), float("nan"))
    mean = float(deltas.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(deltas) - 1) * deltas.std(ddof=1) / np.sqrt(len(deltas)))
    return mean, (mean - half, mean + half)


def _without_one(deltas: Float[np.ndarray, " domains"]) -> tuple[float, float]:
    if len(deltas) < 2:
        return float("nan"), float("nan")
    means = (deltas.sum() - deltas) / (len(deltas) - 1)
    return float(means.min()), float(means.max())


def same_last_token(panel: Panel, column: int, one: Comparison, rng: np.random.Generator) -> Numbers | None:
    """The effect among items that end in the same token, where at least half of the items have such company."""
    if "last_token" not in panel.items or panel.columns[column].position not in {"last", "answer"}:
        return None
    tokens = panel.items["last_token"].to_numpy(np.float64)
    rows = one.rows & np.isfinite(tokens)
    if not rows.any():
        return None
    codes = np.unique(tokens[rows], return_inverse=True)[1].reshape(-1)
    values = signs(panel)[column] * panel.values[rows][:, [column]]
    found = associate_items(values, one.score[rows, None], codes, within=True, resamples=RESAMPLES, rng=rng)
    if found.n[0] < FEWEST_KNOWN * rows.sum() or found.n_clusters[0] < 2:
        return None
    return at(effect(found, one), 0)
