"""Shared by the findings on members of categories: places, scopes, and a number held against covariates.

Ranks are taken within categories and brought to the same range, so that a category counts by how many members it has.
Word frequency, number of tokens and length were there before the model ran; code length is read off its output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.concepts import AXIS, Members
from analyses.data.panels import place
from analyses.findings.contrast import at, fresh
from analyses.findings.formatting import with_interval
from analyses.findings.record import LENGTH, Control, LeftOut, Mark, Role, Scope
from analyses.statistics.association import Association, associate_centred, centred_within
from analyses.statistics.concepts.profile import Reading
from analyses.statistics.design import recode
from analyses.statistics.trend import RESAMPLES
from probes.records.stored_states import StoredPlace
from probes.suites.concepts import NAME
from probes.suites.sources.norms import ALONE

QUESTION: Final = "Do states keep people's categories, and how typical their members are?"
NO_INTERVAL: Final = (math.nan, math.nan)
LAYERS: Final = "site and layer, in the order of a forward pass"
TOGETHER: Final = "all of these together"
HELD: Final[tuple[tuple[str, str, Role], ...]] = (
    ("word frequency", "frequency", "pre_treatment"),
    (LENGTH, "n_item_tokens", "pre_treatment"),
    ("bytes of the word", "item_bytes", "pre_treatment"),
    ("bits per byte", "bits_per_byte", "mediator"),
)
FEWEST: Final = 6
WORDS: Final = {LENGTH: "number of tokens"}
SHARE_KNOWN: Final = 0.5  # of the members, for a covariate to be held fixed
Numbers = tuple[float, tuple[float, float]]


class Layer(NamedTuple):
    """Reading of one set of norms at one place."""

    where: StoredPlace
    reading: Reading

    @property
    def name(self) -> str:
        """The place as people write it."""
        return place(self.where.site, self.where.layer)


class Held(NamedTuple):
    """A correlation within categories, alone and with covariates held fixed.

    Attributes:
        alone: estimate and interval.
        controls: one for each covariate, and one for all together.
        n: members used.
        n_names: different names among them.
    """

    alone: Numbers
    controls: tuple[Control, ...]
    n: int
    n_names: int

    @property
    def together(self) -> Control | None:
        """All covariates at once."""
        return next((own for own in self.controls if own.name == TOGETHER), None)

    @property
    def sentence(self) -> str:
        """The control with all covariates at once, in words."""
        found = self.together
        if found is None:
            return "No covariate varies."
        names = ", ".join(WORDS.get(own.name, own.name) for own in self.controls if own.name != TOGETHER)
        left = with_interval(found.estimate, found.interval)
        return f"Adjusting for {names} together leaves a partial correlation of {left}."


def set_of(own: Members) -> str:
    """Name of a set of norms as sections are called: that of the suite where it holds one set without a name."""
    if own.norms == ALONE:
        return own.suite
    return own.norms if own.suite == NAME else f"{own.suite}, {own.norms}"


def by_run(several: Sequence[Members]) -> list[list[Members]]:
    """The sets of norms of each run."""
    return [[own for own in several if own.run_id == run_id] for run_id in dict.fromkeys(own.run_id for own in several)]


def scope_in(own: Members, where: StoredPlace, metric: str) -> Scope:
    """Scope of a finding about one set of norms at one place."""
    return Scope(
        model=own.model,
        suite=set_of(own),
        axis=AXIS,
        site=where.site,
        layer=where.layer,
        position=where.position,
        metric=metric,
    )


def mark(series: str, layer: Layer, value: float, interval: tuple[float, float]) -> Mark:
    """One place of a line through the layers."""
    return Mark(series, layer.name, float(layer.where.layer), value, *interval)


def left_out_of(own: Members) -> tuple[LeftOut, ...]:
    """Members that are not used, by reason."""
    counts = (("without a rating, or not read", own.n_missing), ("written in the same tokens as another", own.n_alike))
    return tuple(LeftOut(reason, n) for reason, n in counts if n)


def hold(values: Float[np.ndarray, " n"], score: Float[np.ndarray, " n"], several: Sequence[Members]) -> Held:
    """Correlate a number with a score within categories, alone and with each covariate, and all of them, held fixed.

    Args:
        values: of the members of all sets, one after another.
        score: typicality, or its negative.
        several: the sets, which know the covariates.
    """
    items = pd.concat([own.items for own in several], ignore_index=True)
    category = recode(np.concatenate([own.categories + 100_000 * number for number, own in enumerate(several)]))
    names = pd.factorize(items["item"].str.lower())[0].astype(np.int64)
    usable = np.isfinite(values) & np.isfinite(score)
    kept: list[tuple[str, Role, np.ndarray]] = [
        (name, role, items[column].to_numpy(np.float64))
        for name, column, role in HELD
        if _varies(items[column].to_numpy(np.float64)[usable], category[usable])
    ]
    controls: list[Control] = []
    for name, role, own in kept:
        found = _associated([values, score, own], category, names)
        if found is not None:
            beside = float(found.correlation(1).value[0])
            controls.append(Control(name, role, *at(found.partial_all([1], slope=False), 0), beside))
    several_held = _associated([values, score, *(own for *_, own in kept)], category, names) if len(kept) > 1 else None
    if several_held is not None:
        given = at(several_held.partial_all(list(range(1, len(kept) + 1)), slope=False), 0)
        controls.append(Control(TOGETHER, "mediator", *given, math.nan))
    alone = _associated([values, score], category, names)
    own_value = (math.nan, NO_INTERVAL) if alone is None else at(alone.correlation(), 0)
    return Held(own_value, tuple(controls), int(usable.sum()), len(np.unique(names[usable])))


def _varies(values: Float[np.ndarray, " n"], category: Int[np.ndarray, " n"]) -> bool:
    known = np.isfinite(values)
    if len(values) == 0 or known.mean() < SHARE_KNOWN:
        return False
    spread = pd.Series(values[known]).groupby(category[known]).nunique()
    return bool((spread > 1).any())


def _associated(
    numbers: Sequence[Float[np.ndarray, " n"]], category: Int[np.ndarray, " n"], names: Int[np.ndarray, " n"]
) -> Association | None:
    """The first number beside all others, by ranks within categories, of items that have them all; None of too few."""
    table = np.stack(numbers, axis=1)
    known = np.isfinite(table).all(axis=1)
    if known.sum() < FEWEST:
        return None
    codes = recode(category[known])
    ranks = centred_within(table[known], codes) / (np.bincount(codes)[codes] + 1)[:, None]
    return associate_centred(ranks[:, :1], ranks[:, 1:], recode(names[known]), resamples=RESAMPLES, rng=fresh())
