"""Concepts: are categories of people clusters of states, do their members lie as typical as people find them, and why?

From a sweep of the suite ``concepts``, for every set of norms. *Agreement* is the adjusted mutual information of
k-means with as many clusters as there are categories, beside the most that items of two categories allow. *Rate and
distortion* say what the categories lose beside the best partition of no greater entropy (regret, 0 = none better was
found, 1 = no better than random clusters of the same sizes): that there is a better one is no finding, for clustering
minimises what it is judged by. *Graded membership* is the correlation of typicality with similarity to the category,
within categories. These are read at the final norm, and drawn through all layers with kept states.

Primary: within categories, are less typical members sparser (Hoyer at the pre-stated place)? Typical words are common
words, so it counts only as far as it is left with word frequency, number of tokens, length and code length held fixed.
Items are resampled by name: one that stands in several norms is one cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from analyses.data.concepts import AXIS, FEWEST, Members, places_of, read_members, vectors_at
from analyses.data.runs import Run, with_states
from analyses.findings.contrast import fresh, judge
from analyses.findings.formatting import number, shown, signed, with_interval
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.questions.compression_view.concept_training import training_findings
from analyses.questions.compression_view.typicality import (
    LAYERS,
    NO_INTERVAL,
    QUESTION,
    Layer,
    by_run,
    graded_finding,
    left_out_of,
    mark,
    scope_in,
    sparsity_finding,
    stated_of,
)
from analyses.statistics.concepts.agreement import ami_ceiling
from analyses.statistics.concepts.profile import read_place

CLAIMS: Final = (
    "Clusters of states agree with people's categories beyond chance",
    "Clusters of states agree with people's categories less than chance would",
    "Undecided whether clusters of states agree with people's categories",
)


@analysis(QUESTION, order=14, title="Concepts")
def concepts(run: Run) -> list[Finding]:
    """Answer for every model that was asked the suite ``concepts``, for each set of norms."""
    asked = read_members(run)
    every = [own for own in asked if len(own.items) >= FEWEST]
    final = [own for own in every if _is_last(own, every)]
    findings = [_unanswered(own) for own in asked if len(own.items) < FEWEST and _is_last(own, asked)]
    findings += [found for own in by_run(final) if (found := sparsity_finding(run, own)) is not None]
    for own, layers in _profiles(run, final):
        findings += [_agreement(own, layers), _rate(own, layers), graded_finding(own, layers, stated_of(layers))]
    return settle([*findings, *training_findings(run, every)])


def _unanswered(own: Members) -> Finding:
    left = "; ".join(f"{left.n:,} {left.reason}" for left in left_out_of(own))
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=Scope(model=own.model, suite=own.suite, axis=AXIS, group=own.norms),
        n=len(own.items),
        n_clusters=len(own.items),
        left_out=left_out_of(own),
        text=f"Not answered for {shown(own.norms)}: {len(own.items)} members can be told apart{left and f' ({left})'}.",
    )


def _is_last(own: Members, every: Sequence[Members]) -> bool:
    key = own.training, own.suite, own.norms
    steps = [other.step for other in every if (other.training, other.suite, other.norms) == key]
    return not math.isfinite(own.step) or own.step == max(steps)


def _profiles(run: Run, several: Sequence[Members]) -> list[tuple[Members, list[Layer]]]:
    """Every set of norms with its readings, place by place; nothing where no states are kept."""
    keeper = with_states(run)
    if keeper is None or not several:
        return []
    found: dict[tuple[str, str], list[Layer]] = {}
    for where in places_of(keeper):
        for own, vectors in vectors_at(keeper, run, where, several):
            known = np.isfinite(vectors).all(axis=1)
            if known.all() and np.ptp(vectors) > 0:
                reading = read_place(vectors, own.categories, own.typicality, fresh())
                found.setdefault((own.run_id, own.norms), []).append(Layer(where, reading))
    return [(own, layers) for own in several if (layers := found.get((own.run_id, own.norms)))]


def _agreement(own: Members, layers: Sequence[Layer]) -> Finding:
    stated, best = stated_of(layers), max(layers, key=lambda one: one.reading.agreement.ami)
    ceiling = ami_ceiling([str(item) for item in own.items["item"]], own.categories)
    found, top = stated.reading, best.reading
    verdict = judge(found.interval)
    marks = [
        *(mark("agreement", one, one.reading.agreement.ami, one.reading.interval) for one in layers),
        *(mark("ceiling", one, ceiling, NO_INTERVAL) for one in layers),
    ]
    finding = Finding(
        analysis="concepts",
        question=QUESTION,
        scope=scope_in(own, stated.where, "adjusted mutual information"),
        estimate=found.agreement.ami,
        unit="adjusted mutual information of k-means clusters with people's categories, 0 = chance, 1 = the same",
        quantity="adjusted mutual information",
        interval=found.interval,
        n=len(own.items),
        n_clusters=len(own.items),
        left_out=left_out_of(own),
        effects=(
            Effect("ceiling (items of several categories have one state)", ceiling, NO_INTERVAL, key="ceiling"),
            Effect(
                f"largest over layers ({best.name}; chosen by the data)", top.agreement.ami, top.interval, key="peak"
            ),
            Effect("normalised mutual information (above 0 by chance)", found.agreement.nmi, NO_INTERVAL, key="nmi"),
            Effect("adjusted Rand index", found.agreement.ari, NO_INTERVAL, key="ari"),
        ),
        verdict=verdict,
        plot=Plot(
            "curve", LAYERS, f"adjusted mutual information with categories ({shown(own.norms)})", tuple(marks), 0.0
        ),
        text="",
    )
    k = len(np.unique(own.categories))
    return replace(
        finding,
        text=(
            f"{claim_of(finding, CLAIMS)}: {shown(own.norms)}, adjusted mutual information "
            f"{with_interval(found.agreement.ami, found.interval)} at {stated.name}, {len(own.items):,} members of {k} "
            f"categories, where at most {number(ceiling)} is possible; the largest is {number(top.agreement.ami)} at "
            f"{best.name}."
        ),
    )


def _rate(own: Members, layers: Sequence[Layer]) -> Finding:
    stated = stated_of(layers)
    found = stated.reading.regret
    people, clusters = stated.reading.people, stated.reading.clusters
    n = len(own.items)
    least = max(point.bits for point in clusters) / 16  # a wider range would be drawn on a scale of logarithms
    lines = (("categories, joined", people), ("k-means", clusters))
    marks = [
        Mark(name, "", point.bits, point.share, *NO_INTERVAL)
        for name, points in lines
        for point in points
        if point.bits >= least
    ]
    marks += [
        Mark("random, same sizes", "", point.bits, (n - point.n_clusters) / (n - 1), *NO_INTERVAL)
        for point in people
        if point.bits >= least
    ]
    profile = ", ".join(f"{one.name} {number(one.reading.regret.normalised)}" for one in _some(layers))
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=scope_in(own, stated.where, "regret"),
        estimate=found.normalised,
        unit="regret of people's categories, 0 = no better partition of no greater entropy, 1 = as random clusters",
        quantity="regret",
        n=n,
        n_clusters=n,
        left_out=left_out_of(own),
        effects=(
            Effect("share of variance inside people's categories", found.share, NO_INTERVAL, key="share"),
            Effect("least share found at no greater entropy", found.best, NO_INTERVAL, key="best"),
            Effect("share inside random clusters of the same sizes", found.null, NO_INTERVAL, key="null"),
            Effect("z against those", found.z, NO_INTERVAL, key="z"),
            Effect("entropy of the categories in bits", people[0].bits, NO_INTERVAL, key="bits"),
            *(
                Effect("regret", one.reading.regret.normalised, NO_INTERVAL, key="profile", of=one.name)
                for one in layers
            ),
            Effect("the paper's L of categories (depends on the unit)", stated.reading.paper[0], NO_INTERVAL, key="L"),
            Effect("the paper's L of clusters", stated.reading.paper[1], NO_INTERVAL, key="L of clusters"),
        ),
        verdict="described",
        plot=Plot(
            "curve",
            "bits that the label takes",
            f"variance not explained ({shown(own.norms)}, {stated.name})",
            tuple(marks),
        ),
        text=(
            f"People's categories ({shown(own.norms)}, {people[0].bits:.3f} bits) leave {found.share:.1%} of the "
            f"variance at {stated.name} unexplained; the best partition found of no greater entropy leaves "
            f"{found.best:.1%}, random clusters of the same sizes {found.null:.1%} (z {signed(found.z)}). Regret "
            f"{number(found.normalised)} of the way to chance; through the network {profile}."
        ),
    )


def _some(layers: Sequence[Layer]) -> list[Layer]:
    """The first, the middle and the last place."""
    return [layers[at] for at in sorted({0, len(layers) // 2, len(layers) - 1})]
