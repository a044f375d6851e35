"""Concepts: are categories of people clusters of states, and do their members lie as typical as people find them?

From a sweep of the suite ``concepts``, one section per set of norms.

Primary, read after the final norm: *agreement*, the adjusted mutual information of k-means with as many clusters as
there are categories, which is 0 by chance, beside the most that items of two categories allow.

Beside it stand, without being claims: *regret*, what the categories lose beside the best partition of no greater
entropy on sentences that this was not found on (0 = nothing, 1 = as much as random clusters of the same sizes); the
same in bits of the next token; and *graded membership*, the correlation of typicality with similarity to the category,
within categories. That a clustering of the states themselves explains more of them is no finding, because it minimises
what it is judged by, so regret counts from a tenth of the way to chance on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from analyses.data.concepts import FEWEST, Members, last_ones, over_sentences, places_of, read_members, vectors_at
from analyses.data.runs import Run, with_states
from analyses.findings.contrast import fresh, judge
from analyses.findings.formatting import number, shown, signed, with_interval
from analyses.findings.panel import PRIMARY_SITES
from analyses.findings.record import ALPHA, Effect, Finding, LeftOut, Mark, Plot, Scope, Significance, p_of
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.questions.human_categories.concept_bits import bits_finding
from analyses.questions.human_categories.concept_training import training_findings
from analyses.questions.human_categories.membership import (
    AXIS,
    LAYERS,
    NO_INTERVAL,
    QUESTION,
    Layer,
    hold,
    left_out_of,
    mark,
    scope_in,
    set_of,
)
from analyses.statistics.concepts.agreement import ami_ceiling
from analyses.statistics.concepts.held_out import UNDEFINED, HeldOut, held_out_regret
from analyses.statistics.concepts.profile import read_place
from analyses.statistics.concepts.quantisation import better_partitions
from analyses.statistics.concepts.resemblance import Frame
from analyses.statistics.multiplicity import holm
from probes.records.stored_states import StoredPlace

LEAST_REGRET: Final = 0.1  # of the way from the best partition to chance: less is no harder compression worth a claim
PEAK: Final = "largest over layers"
DRAWN: Final[Frame] = "centred"  # the others stand with the finding
CLAIMS: Final = (
    "Clusters of states agree with people's categories beyond chance",
    "Clusters of states agree with people's categories less than chance would",
    "Undecided whether clusters of states agree with people's categories",
)
GRADED_CLAIMS: Final = (
    "More typical members lie closer to the rest of their category",
    "More typical members lie farther from the rest of their category",
    "Undecided whether more typical members lie closer to the rest of their category",
)


@analysis(QUESTION, order=6, title="Concepts", headline=True)
def concepts(run: Run) -> list[Finding]:
    """Answer for every model that was asked the suite ``concepts``, for each set of norms."""
    asked = read_members(run)
    every = [own for own in asked if len(own.items) >= FEWEST]
    final = last_ones(every)
    findings = [_unanswered(own) for own in last_ones(asked) if len(own.items) < FEWEST]
    profiles = _profiles(run, final)
    rates: list[Finding] = []
    for own in final:
        layers = profiles.get((own.run_id, own.norms))
        if layers:
            findings += [_agreement(own, layers), _graded(own, layers)]
            rates.append(_rate(own, layers, _held_out(run, own, _stated(layers).where)))
    told = [found for own in final if (found := bits_finding(run, own)) is not None]
    return [*settle(findings), *_corrected(rates), *told, *training_findings(run, every)]


def _unanswered(own: Members) -> Finding:
    left = "; ".join(f"{left.n:,} {left.reason}" for left in left_out_of(own))
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=Scope(model=own.model, suite=set_of(own), axis=AXIS),
        n=len(own.items),
        n_clusters=len(own.items),
        left_out=left_out_of(own),
        text=f"Not answered for {shown(own.norms)}: {len(own.items)} members can be told apart{left and f' ({left})'}.",
    )


def _profiles(run: Run, several: Sequence[Members]) -> dict[tuple[str, str], list[Layer]]:
    """Readings of every set of norms, place by place; nothing where no states are kept."""
    keeper = with_states(run)
    if keeper is None or not several:
        return {}
    found: dict[tuple[str, str], list[Layer]] = {}
    for where in places_of(keeper):
        for own, sentences in vectors_at(keeper, run, where, several):
            vectors = over_sentences(sentences)
            if np.isfinite(vectors).all() and np.ptp(vectors) > 0:
                reading = read_place(vectors, own.categories, own.typicality, fresh())
                found.setdefault((own.run_id, own.norms), []).append(Layer(where, reading))
    return found


def _held_out(run: Run, own: Members, where: StoredPlace) -> HeldOut:
    """Regret at one place on sentences that the better partition was not found on."""
    keeper, rng = with_states(run), fresh()
    if keeper is None:
        return UNDEFINED
    ((_, sentences),) = vectors_at(keeper, run, where, [own])
    if not np.isfinite(sentences).all():
        return UNDEFINED
    return held_out_regret(sentences, own.categories, lambda seen: better_partitions(seen, own.categories, rng), rng)


def _agreement(own: Members, layers: Sequence[Layer]) -> Finding:
    stated, best = _stated(layers), max(layers, key=lambda one: one.reading.agreement.ami)
    ceiling = ami_ceiling([str(item) for item in own.items["item"]], own.categories)
    found, top = stated.reading, best.reading
    graded = [(one, one.reading.typicality[DRAWN]) for one in layers]
    marks = [
        *(mark("agreement", one, one.reading.agreement.ami, one.reading.interval) for one in layers),
        *(mark("ceiling", one, ceiling, NO_INTERVAL) for one in layers),
        *(mark("typicality", one, within.estimate, within.interval) for one, within in graded),
    ]
    finding = Finding(
        analysis="concepts",
        question=QUESTION,
        scope=scope_in(own, stated.where, "adjusted mutual information"),
        primary=True,
        estimate=found.agreement.ami,
        unit="adjusted mutual information of k-means clusters with people's categories, 0 = chance, 1 = the same",
        quantity="adjusted mutual information",
        interval=found.interval,
        n=len(own.items),
        n_clusters=len(own.items),
        left_out=left_out_of(own),
        effects=(
            Effect("ceiling (items of several categories have one state)", ceiling, NO_INTERVAL, key="ceiling"),
            Effect(f"{PEAK} (chosen by the data)", top.agreement.ami, top.interval, key="peak", of=best.name),
            Effect("items that stand in several categories", float(_several(own)), NO_INTERVAL, key="several"),
            Effect("normalised mutual information (above 0 by chance)", found.agreement.nmi, NO_INTERVAL, key="nmi"),
            Effect("adjusted Rand index", found.agreement.ari, NO_INTERVAL, key="ari"),
        ),
        verdict=judge(found.interval),
        plot=Plot("curve", LAYERS, "agreement of clusters, or correlation of typicality", tuple(marks), 0.0),
        text="",
    )
    k = len(np.unique(own.categories))
    closeness = found.typicality[DRAWN]
    return replace(
        finding,
        text=(
            f"{claim_of(finding, CLAIMS)}: adjusted mutual information "
            f"{with_interval(found.agreement.ami, found.interval)} of at most {number(ceiling)} at {stated.name}, "
            f"{len(own.items):,} members of {k} categories ({shown(own.norms)}). Largest over layers: "
            f"{number(top.agreement.ami)} at {best.name}. Typicality and closeness to the category: Spearman "
            f"{with_interval(closeness.estimate, closeness.interval)}."
        ),
    )


def _several(own: Members) -> int:
    """Different items that people put into more than one category."""
    return int((own.items.groupby("item")["category"].nunique() > 1).sum())


def _stated(layers: Sequence[Layer]) -> Layer:
    """The pre-stated place: the final norm, else the last one."""
    return min(layers, key=lambda own: (own.where.site != PRIMARY_SITES[0], -own.where.layer))


def _graded(own: Members, layers: Sequence[Layer]) -> Finding:
    """Closeness of typical members to their category."""
    stated = _stated(layers)
    found = stated.reading.typicality[DRAWN]
    held = hold(stated.reading.similarity, own.typicality, [own])
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
        text="",
    )
    raw = stated.reading.typicality["raw"].estimate
    return replace(
        finding,
        text=(
            f"{claim_of(finding, GRADED_CLAIMS)}: Spearman {with_interval(found.estimate, found.interval)} within "
            f"{found.n_categories} categories at {stated.name}, cosines centred ({signed(raw)} raw). {held.sentence}"
        ),
    )


def _rate(own: Members, layers: Sequence[Layer], held_out: HeldOut) -> Finding:
    stated = _stated(layers)
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
    beyond = held_out.interval[0] - LEAST_REGRET, held_out.interval[1] - LEAST_REGRET
    p = _p(held_out.regret - LEAST_REGRET, beyond)
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=scope_in(own, stated.where, "regret"),
        estimate=held_out.regret,
        interval=held_out.interval,
        unit="regret of people's categories on a sentence left out, 0 = no better partition, 1 = as random clusters",
        quantity="regret",
        n=n,
        n_clusters=n,
        left_out=left_out_of(own),
        test=Significance(f"interval against {LEAST_REGRET:g}", p, p),
        effects=(
            Effect("regret on the sentences searched", found.normalised, NO_INTERVAL, key="seen"),
            Effect("variance inside people's categories", found.share, NO_INTERVAL, key="share"),
            Effect("inside the best partition of no greater entropy", found.best, NO_INTERVAL, key="best"),
            Effect("inside random clusters of the same sizes", found.null, NO_INTERVAL, key="null"),
            Effect("z of the categories against those", found.z, NO_INTERVAL, key="z"),
            Effect("entropy of the categories in bits", people[0].bits, NO_INTERVAL, key="bits"),
            Effect("the paper's L of categories (depends on the unit)", stated.reading.paper[0], NO_INTERVAL, key="L"),
            Effect("the paper's L of clusters", stated.reading.paper[1], NO_INTERVAL, key="L of clusters"),
        ),
        verdict=judge(beyond),
        plot=Plot("curve", "bits that the label takes", f"variance not explained at {stated.name}", tuple(marks)),
        text=(
            f"People's categories ({people[0].bits:.3f} bits) leave {found.share:.1%} of the variance at {stated.name} "
            f"unexplained, the best partition found of no greater entropy {found.best:.1%}, random clusters of the "
            f"same sizes {found.null:.1%} (z {signed(found.z)}). Regret on a sentence left out: "
            f"{with_interval(held_out.regret, held_out.interval)}; through the network {_through(layers)} on those "
            "searched."
        ),
    )


def _corrected(rates: Sequence[Finding]) -> list[Finding]:
    """Correct regrets over the sets of norms of a model; one without an interval is described."""
    found = [finding for finding in rates if not np.isfinite(finding.interval[0])]
    found = [replace(finding, test=None, verdict="described") for finding in found]
    tested = [finding for finding in rates if np.isfinite(finding.interval[0])]
    for model in dict.fromkeys(finding.scope.model for finding in tested):
        own = [finding for finding in tested if finding.scope.model == model]
        tests = [finding.test for finding in own if finding.test is not None]
        said = f"Holm over {len(own)} sets of norms" if len(own) > 1 else "none: one set of norms"
        for finding, test, p in zip(own, tests, holm(np.array([test.p for test in tests])), strict=True):
            verdict = finding.verdict if p < ALPHA else "undecided"
            found.append(replace(finding, test=test._replace(p_adjusted=float(p), correction=said), verdict=verdict))
    return found


def _p(estimate: float, interval: tuple[float, float]) -> float:
    """Two-sided p-value; 0 where leaving out items changes nothing."""
    return 0.0 if interval[0] == interval[1] != 0 else p_of(estimate, interval)


def _through(layers: Sequence[Layer]) -> str:
    """Regret at the first, the middle and the last place."""
    some = [layers[at] for at in sorted({0, len(layers) // 2, len(layers) - 1})]
    return ", ".join(f"{one.name} {number(one.reading.regret.normalised)}" for one in some)
