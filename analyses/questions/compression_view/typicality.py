"""Typicality in the findings on concepts: closeness to the category, sparsity, and what familiarity leaves of either.

Ranks are taken within categories and brought to the same range, so that a category counts by how many members it has.
Word frequency, number of tokens and length were there before the model ran; code length is read off its output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.concepts import AXIS, POSITIONS, Members, sparsity_of
from analyses.data.panels import place
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh, judge
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.null import sparser
from analyses.findings.panel import PRIMARY_METRIC, PRIMARY_SITES
from analyses.findings.record import LENGTH, Control, Effect, Finding, LeftOut, Mark, Plot, Role, Scope
from analyses.findings.sentences import claim_of
from analyses.statistics.association import Association, associate_centred, centred_within
from analyses.statistics.concepts.profile import Reading
from analyses.statistics.concepts.resemblance import Frame
from analyses.statistics.design import recode
from analyses.statistics.trend import RESAMPLES
from probes.records.stored_states import StoredPlace
from probes.vocabulary.names import RAW

QUESTION: Final = "Do states keep people's categories and how typical members are, and is typicality familiarity?"
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
DRAWN: Final[Frame] = "centred"  # the others stand with the finding
WORDS: Final = {LENGTH: "number of tokens"}
SHARE_KNOWN: Final = 0.5  # of the members, for a covariate to be held fixed
SPARSITY_CLAIMS: Final = (
    "Within categories, less typical members have sparser states",
    "Within categories, less typical members have denser states",
    "Undecided whether, within categories, less typical members have sparser states",
)
GRADED_CLAIMS: Final = (
    "More typical members lie closer to the rest of their category",
    "More typical members lie farther from the rest of their category",
    "Undecided whether more typical members lie closer to the rest of their category",
)
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


def by_run(several: Sequence[Members]) -> list[list[Members]]:
    """The sets of norms of each run."""
    return [[own for own in several if own.run_id == run_id] for run_id in dict.fromkeys(own.run_id for own in several)]


def stated_of(layers: Sequence[Layer]) -> Layer:
    """The pre-stated place: the final norm, else the last one."""
    return min(layers, key=lambda own: (own.where.site != PRIMARY_SITES[0], -own.where.layer))


def scope_in(own: Members, where: StoredPlace, metric: str) -> Scope:
    """Scope of a finding about one set of norms at one place."""
    return Scope(
        model=own.model,
        suite=own.suite,
        axis=AXIS,
        site=where.site,
        layer=where.layer,
        position=where.position,
        metric=metric,
        group=own.norms,
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


def graded_finding(own: Members, layers: Sequence[Layer], stated: Layer) -> Finding:
    """Closeness of typical members to their category, through the layers."""
    found = stated.reading.typicality[DRAWN]
    held = hold(stated.reading.similarity, own.typicality, [own])
    drawn = [(one, one.reading.typicality[DRAWN]) for one in layers]
    marks = [mark(DRAWN, one, within.estimate, within.interval) for one, within in drawn]
    small = (LeftOut("categories with fewer than four rated members", found.left_out),) if found.left_out else ()
    finding = Finding(
        analysis="concepts",
        question=QUESTION,
        scope=scope_in(own, stated.where, "cosine to the category"),
        estimate=found.estimate,
        unit="rank correlation within categories, positive = more typical members lie closer to the others",
        quantity="rank correlation",
        interval=found.interval,
        n=found.n_items,
        n_clusters=found.n_items,
        left_out=(*left_out_of(own), *small),
        controls=held.controls,
        effects=tuple(
            Effect(f"similarity {frame.replace('_', ' ')}", within.estimate, within.interval, key=frame)
            for frame, within in stated.reading.typicality.items()
        ),
        verdict=judge(found.interval),
        plot=Plot("curve", LAYERS, "correlation of typicality with similarity to the category", tuple(marks), 0.0),
        text="",
    )
    raw = stated.reading.typicality["raw"].estimate
    return replace(
        finding,
        text=(
            f"{claim_of(finding, GRADED_CLAIMS)}: {shown(own.norms)}, Spearman "
            f"{with_interval(found.estimate, found.interval)} within {found.n_categories} categories at {stated.name}, "
            f"cosines centred ({signed(raw)} raw). {held.sentence}"
        ),
    )


def sparsity_finding(run: Run, several: Sequence[Members]) -> Finding | None:
    """The pre-stated answer: sparsity against typicality, all sets of norms of one run together."""
    measured = measured_in(run, several[0])
    if measured is None:
        return None
    metric, where = measured
    sign = 1.0 if sparser(metric) == "higher" else -1.0
    values = [sparsity_of(run, own, metric, where) * sign for own in several]
    held = hold(np.concatenate(values), -np.concatenate([own.typicality for own in several]), several)
    alone = [(own.norms, hold(value, -own.typicality, [own]).alone) for own, value in zip(several, values, strict=True)]
    marks = [
        Mark("norms", "all", math.nan, held.alone[0], *held.alone[1]),
        *(Mark("norms", shown(name), math.nan, value, *bounds) for name, (value, bounds) in alone if len(alone) > 1),
        *(
            Mark("adjusting for", WORDS.get(own.name, own.name), math.nan, own.estimate, *own.interval)
            for own in held.controls
        ),
    ]
    verdict = judge(held.alone[1])
    finding = Finding(
        analysis="concepts",
        question=QUESTION,
        scope=replace(scope_in(several[0], where, metric), group=""),
        primary=True,
        estimate=held.alone[0],
        unit="rank correlation within categories, positive = sparser where less typical",
        quantity="rank correlation",
        interval=held.alone[1],
        n=held.n,
        n_clusters=held.n_names,
        left_out=tuple(left for own in several for left in left_out_of(own)),
        controls=held.controls,
        effects=tuple(Effect(name, value, bounds, key="norms", of=name) for name, (value, bounds) in alone),
        verdict=verdict,
        plot=Plot("forest", "correlation with typicality, + = sparser where less typical", "", tuple(marks), 0.0),
        text="",
    )
    survives = held.together is not None and judge(held.together.interval) == verdict
    kept = "" if verdict == "undecided" else " It remains." if survives else " It does not remain."
    return replace(
        finding,
        text=(
            f"{claim_of(finding, SPARSITY_CLAIMS)}: {metric} at {place(where.site, where.layer)}, Spearman "
            f"{with_interval(*held.alone)}, n = {held.n:,}. {held.sentence}{kept}"
        ),
    )


def measured_in(run: Run, own: Members) -> tuple[str, StoredPlace] | None:
    """The pre-stated measure and place of a run: Hoyer at the final norm, of the items' own tokens."""
    rows = run.measurements(suite=[own.suite])
    rows = rows[(rows["run_id"].astype(str) == own.run_id) & (rows["basis"].astype(str) == RAW) & (rows["unit"] == -1)]
    there = rows[["metric", "site", "layer", "position"]].drop_duplicates()
    found = [
        (str(metric), StoredPlace(str(site), int(layer), str(position)))
        for metric, site, layer, position in there.itertuples(index=False)
        if sparser(str(metric)) is not None and str(position) in POSITIONS
    ]

    def preference(one: tuple[str, StoredPlace]) -> tuple[bool, int, bool, int]:
        metric, where = one
        site_rank = where.site != PRIMARY_SITES[0]
        return metric != PRIMARY_METRIC, POSITIONS.index(where.position), site_rank, -where.layer

    return min(found, key=preference) if found else None
