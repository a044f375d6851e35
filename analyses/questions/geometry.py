"""Geometry: how is each level's set of vectors laid out, layer by layer?

A vector can be sparse while the set is high-dimensional, and the other way round. From the rows that the spec key
``populations`` writes: how few inputs use a unit (lifetime) and how few units an input uses (population), how many
dimensions the set spans (participation ratio of the covariance, RankMe, stable rank) or needs (TwoNN), and whether its
variance points everywhere (IsoScore*). Where the sweep has nulls, the same with coordinates shuffled and in the model
before training stand beside it. Ranks grow with the number of vectors: levels of very different sizes do not compare.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import Final

from analyses.data.runs import Run
from analyses.data.sets import SetValue, read_sets
from analyses.findings.formatting import level_name, number, p_value, signed
from analyses.findings.record import Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from probes.vocabulary import names
from probes.vocabulary.sites import UNLAYERED
from sparsity.population import POPULATION

QUESTION: Final = "How is the set of vectors of each level laid out, layer by layer?"
NULL_QUESTION: Final = "Is a change one of coordinates, and is it there before training?"
STREAM: Final = "resid_post"
FIRST: Final = ("covariance_participation_ratio", "mean_lifetime_sparseness", "two_nn_dimension", "isoscore_star")
NULL_BASES: Final = (names.SHUFFLED, names.UNTRAINED)
NO_INTERVAL: Final = (math.nan, math.nan)


@analysis(QUESTION, order=18, title="Geometry of sets of vectors", counted="vectors")
def geometry(run: Run) -> list[Finding]:
    """Answer for every model, suite, position and family of sites with population measures; all are described."""
    order = (*FIRST, *(name for name in POPULATION if name not in FIRST))
    found = read_sets(run, order, (names.RAW, *NULL_BASES))
    return _first_stated([_geometry(own) for own in _sheets(found, order)])


@analysis(NULL_QUESTION, order=19, title="Nulls: rotations and training", counted="vectors")
def nulls(run: Run) -> list[Finding]:
    """Answer from the rotations of a sweep, and from mean Hoyer of shuffled and untrained vectors."""
    changes = read_sets(run, (names.ROTATION_CHANGE,))
    ps = {value[:7]: value.estimate.value for value in read_sets(run, (names.ROTATION_P,))}
    hoyer = read_sets(run, (names.MEAN_HOYER,), (names.RAW, *NULL_BASES))
    shown_bases = {value.basis for value in hoyer} - {names.RAW}
    findings = _first_stated([_rotation(value, ps.get(value[:7], math.nan)) for value in changes])
    return findings + ([_geometry(own, "nulls") for own in _sheets(hoyer, (names.MEAN_HOYER,))] if shown_bases else [])


def _sheets(found: list[SetValue], order: tuple[str, ...]) -> list[list[SetValue]]:
    """Content of one picture: one measure of one model and suite along one family of sites."""

    def key(value: SetValue) -> tuple[str, str, str, str, int]:
        family = STREAM if value.site in UNLAYERED else value.site
        return value.model, value.suite, value.position, family, order.index(value.metric)

    known = sorted((value for value in found if math.isfinite(value.estimate.value)), key=key)
    return [list(own) for _, own in groupby(known, key)]


def _geometry(own: list[SetValue], asked_by: str = "geometry") -> Finding:
    """One measure through the layers, a line per level and null."""
    end = max(own, key=lambda value: (value.layer, value.site in UNLAYERED))
    there = [value for value in own if (value.site, value.layer) == (end.site, end.layer)]
    raw = [value for value in there if value.basis == names.RAW] or there
    marks = tuple(
        Mark(value.group, value.place, float(value.layer), value.estimate.value, *NO_INTERVAL)
        for value in own
        if value.basis == names.RAW
    )
    listed = ", ".join(f"{number(value.estimate.value)} at {level_name(value.group, value.axis)}" for value in raw)
    sizes = sorted({value.n for value in raw})
    each = f"{sizes[0]} vectors each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} vectors each"
    beside = [
        f"{number(_mean([v for v in there if v.basis == basis]))} {basis}"
        for basis in NULL_BASES
        if any(v.basis == basis for v in there)
    ]
    words = f"; in the mean over levels {' and '.join(beside)}" if beside else ""
    metric = end.metric.replace("_", " ")
    return Finding(
        analysis=asked_by,
        question=QUESTION if asked_by == "geometry" else NULL_QUESTION,
        scope=Scope(
            model=end.model, suite=end.suite, site=end.site, layer=end.layer, position=end.position, metric=end.metric
        ),
        primary=False,
        estimate=_mean(raw),
        unit=f"{metric}, position {end.position}, mean over levels",
        interval=NO_INTERVAL,
        n=sum(value.n for value in raw),
        n_clusters=sum(value.n for value in raw),
        verdict="described",
        text=f"{metric[:1].upper() + metric[1:]} at {end.place}, position {end.position}: {listed} ({each}){words}.",
        plot=Plot("curve", "site and layer, in the order of a forward pass", metric, (*marks, *_null_marks(own))),
    )


def _first_stated(findings: list[Finding]) -> list[Finding]:
    """The same with the first at the final norm and the last token, of every model and suite, as the pre-stated one."""
    stated: set[tuple[str, str]] = set()
    told: list[Finding] = []
    for finding in findings:
        scope = finding.scope
        about = scope.model, scope.suite
        first = (scope.site, scope.position) == ("final_norm", "last") and about not in stated
        stated |= {about} if first else set()
        told.append(replace(finding, primary=first))
    return told


def _null_marks(own: list[SetValue]) -> list[Mark]:
    """A line for each null: the mean over levels at every place."""
    marks: list[Mark] = []
    for basis in NULL_BASES:
        at = dict.fromkeys((value.place, value.layer) for value in own if value.basis == basis)
        for place, layer in at:
            mean = _mean([value for value in own if (value.basis, value.place) == (basis, place)])
            marks.append(Mark(f"{basis} (mean)", place, float(layer), mean, *NO_INTERVAL))
    return marks


def _mean(values: list[SetValue]) -> float:
    return sum(value.estimate.value for value in values) / len(values)


def _rotation(value: SetValue, p: float) -> Finding:
    """One change beside the same change under rotations."""
    change, span = value.estimate.value, (value.estimate.low, value.estimate.high)
    inside = span[0] <= change <= span[1]
    said = "inside what is seen under 95 % of" if inside else "outside what is seen under 95 % of"
    marks = (
        Mark("the model's own coordinates", value.group, math.nan, change, *NO_INTERVAL),
        Mark("random rotations (95 %)", value.group, math.nan, sum(span) / 2, *span),
    )
    return Finding(
        analysis="nulls",
        question=NULL_QUESTION,
        scope=Scope(
            model=value.model,
            suite=value.suite,
            site=value.site,
            layer=value.layer,
            position=value.position,
            metric="hoyer",
            group=value.group,
            axis=value.axis,
        ),
        primary=False,
        estimate=change,
        unit=f"change of mean hoyer from the reference, position {value.position}",
        interval=NO_INTERVAL,
        n=value.n,
        n_clusters=value.n,
        verdict="described",
        text=(
            f"The change of mean Hoyer to {level_name(value.group, value.axis)} at {value.place}, position "
            f"{value.position}, is {signed(change)}, {said} random "
            f"rotations, where it lies between {signed(span[0])} and {signed(span[1])} "
            f"(p {p_value(p)} by rank)."
        ),
        plot=Plot("forest", "change of mean hoyer, + = sparser", "", marks, 0.0),
    )
