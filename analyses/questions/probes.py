"""Probes: what can be decoded from the states, by layer, and how much of it does their sparsity alone tell?

What people mean by probing, for the two things that this report is about: where an item lies on its axis (level,
exposure, domain) and whether its answer is right. A linear probe of the raw vectors is fitted on some clusters and read
on others (:mod:`analyses.statistics.probing`); beside it stand the same probe with shuffled labels, the pre-stated
measure of sparsity alone, and what each costs in bits. Primary: the axis, at the place where sparsity is asked about.

What is decodable need not be used by the model, and a probe that beats sparsity says that the states hold more than one
number, which nobody doubted. No claim is made beyond "decodable".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse import csgraph

from analyses.data.panels import KIN, Column, Panel, read_panels
from analyses.data.runs import KeepsStates, Run, with_states
from analyses.findings.contrast import Comparison, at, effect, effect_given, effect_lost, fresh, overall, signs
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.panel import FEWEST_ITEMS, detectable, length_of, primary_column, unanswered
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Scope, Significance
from analyses.findings.registry import analysis
from analyses.findings.sentences import length_adjusted
from analyses.findings.verdicts import settle
from analyses.statistics.association import associate_items
from analyses.statistics.design import DesignKind, design_of, exchanged, recode
from analyses.statistics.groups import cluster_means
from analyses.statistics.permutation import CONTRAST_NAMES, TEST_NAMES, design_p
from analyses.statistics.prediction import FEWEST_OF_A_KIND
from analyses.statistics.probing import online_code, read_kind, read_order, splits
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "What can be decoded from the states, and how much of it does their sparsity alone tell?"
SHUFFLES: Final = 8
SHUFFLED, ALONE, BITS = "shuffled", "alone", "bits"  # keys of effects
MOST_ITEMS: Final = 1000  # a probe of more costs time and tells the same
NOTHING: Final = (float("nan"), float("nan"))
TOO_FEW: Final = "too few independent clusters: with some held out, the others are all of one kind"
RANK: Final = "rank correlation"
ERRORS: Final = "errors"


class Probed(NamedTuple):
    """The states of some items at one place, with what is to be read from them.

    Attributes:
        where: the place, with the measure of sparsity that stands beside the probe.
        states: the vectors.
        compared: what is decoded; its rows are all of these items.
        sparsity: the measure at the same place, larger meaning sparser; NaN where it was not measured.
        lengths: the number of tokens, None where it does not vary.
        clusters: which items belong together; also by whom they are about, which a probe would recognise.
    """

    where: Column
    states: Float[np.ndarray, "n width"]
    compared: Comparison
    sparsity: Float[np.ndarray, " n"]
    lengths: Float[np.ndarray, " n"] | None
    clusters: Int[np.ndarray, " n"]


@analysis(QUESTION, order=16, title="Probes beside sparsity")
def probes(run: Run) -> list[Finding]:
    """Answer for every suite whose sweep keeps states."""
    keeper, panels = with_states(run), read_panels(run, AXIS_KINDS)
    if keeper is None or all(stored.of_tokens for stored in keeper.stored_states()):
        reason = "no states are kept; add the key `states: [resid_post, final_norm]` to the spec"
        return [unanswered(panel, "probes", QUESTION, reason) for panel in panels[:1]]
    findings: list[Finding] = []
    for panel in panels:
        for target in _targets(panel):
            found = [_finding(panel, probed) for probed in _probed(run, keeper, panel, target)]
            told = [finding for finding in found if finding is not None and finding.answered]
            findings += _with_primary(panel, told)
            if found and not told:
                findings.append(unanswered(panel, "probes", QUESTION, TOO_FEW))
    return [_told(finding) for finding in settle(findings)]


def _targets(panel: Panel) -> list[Comparison]:
    """The axis first, then whether the answer was wrong."""
    axis, correct = overall(panel), panel.outcome("correct")
    found = [axis] if axis is not None else []
    if correct is not None:
        rows = np.isfinite(correct)
        wrong = np.where(rows, correct < 0.5, False).astype(np.float64)
        if min(wrong[rows].sum(), (1 - wrong[rows]).sum()) >= FEWEST_OF_A_KIND:
            design = design_of(wrong[rows], panel.clusters[rows])
            found.append(Comparison(ERRORS, "wrong", "right", rows, wrong, design))
    return found


def _probed(run: Run, keeper: KeepsStates, panel: Panel, one: Comparison) -> list[Probed]:
    """States at every kept place of one position: that of the pre-stated measure, where states were kept at it."""
    column = primary_column(panel)
    if column is None:
        return []
    runs = run.runs()
    own = runs[runs["run_id"].astype(str).isin(panel.run_ids)]
    models, suites = (list(dict.fromkeys(own[name].astype(str))) for name in ("model", "suite"))
    kept = [stored for stored in keeper.stored_states() if not stored.of_tokens]
    positions = [panel.columns[column].position, *(stored.position for stored in kept)]
    position = next(name for name in positions if any(stored.position == name for stored in kept))
    length, families = length_of(panel), _families(panel)
    found: list[Probed] = []
    for stored in (stored for stored in kept if stored.position == position):
        keys, vectors = keeper.states(stored.site, layer=stored.layer, position=position, suite=suites, model=models)
        mine = keys["run_id"].astype(str).isin(panel.run_ids).to_numpy() & np.isfinite(vectors).all(axis=1)
        row = panel.items.index.get_indexer(pd.Index(keys["example_id"].astype(str)))
        mine &= (row >= 0) & one.rows[np.maximum(row, 0)]
        mine[mine] = _some(families[row[mine]])
        rows = row[mine]
        score = one.score[rows]
        if len(rows) < FEWEST_ITEMS or len(np.unique(score)) < 2:
            continue
        where = Column(stored.site, stored.layer, position, panel.columns[column].metric)
        measured = panel.find(where)
        sparsity = np.full(len(rows), np.nan)
        if measured is not None:
            sparsity = signs(panel)[measured] * panel.values[rows, measured]
        varies = length is not None and np.isfinite(length.values[rows]).all() and np.ptp(length.values[rows]) > 0
        lengths = length.values[rows] if length is not None and varies else None
        compared = one._replace(rows=np.ones(len(rows), dtype=bool), score=score)
        states = vectors[mine].astype(np.float64)
        found.append(Probed(where, states, compared, sparsity, lengths, recode(families[rows])))
    return sorted(found, key=lambda probed: (probed.where.layer, probed.where.site == "final_norm"))


def _families(panel: Panel) -> Int[np.ndarray, " items"]:
    """Clusters of items, joined where they are about the same; the clusters alone where that is not known of all."""
    if KIN not in panel.items or panel.items[KIN].isna().any():
        return panel.clusters
    kin = np.unique(panel.items[KIN].astype(str), return_inverse=True)[1].reshape(-1)
    n = len(kin)
    n_clusters = int(panel.clusters.max()) + 1
    graph = sparse.csr_array((np.ones(n), (panel.clusters, n_clusters + kin)), shape=(n_clusters + n, n_clusters + n))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1][panel.clusters], dtype=np.int64)


def _some(clusters: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whole clusters by chance, of about as many items as a probe needs."""
    codes = recode(clusters)
    sizes = np.bincount(codes)
    order = fresh().permutation(len(sizes))
    keep = order[np.cumsum(sizes[order]) <= max(MOST_ITEMS, sizes[order[0]])]
    return np.isin(codes, keep)


def shuffled(
    score: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"], design: DesignKind, rng: np.random.Generator
) -> Float[np.ndarray, "n shuffles"]:
    """Labels of a control task: exchanged within sources, or as whole sources, or freely where sources are mixed.

    Where only some sources hold several labels, exchanging within them would leave the labels of the others to be read.
    """
    lowest, highest = (np.array([f(score[clusters == c]) for c in np.unique(clusters)]) for f in (np.min, np.max))
    if design != "clusters":
        design = "paired" if (lowest < highest).all() else "items"
        return np.stack([score[order] for order in exchanged(len(score), clusters, design, SHUFFLES, rng)], axis=1)
    return np.stack([rng.permutation(highest)[clusters] for _ in range(SHUFFLES)], axis=1)


def _finding(panel: Panel, probed: Probed) -> Finding | None:
    """Finding on what a probe of one site and layer predicts; None where a training part would hold one kind only."""
    one, rng = probed.compared, fresh()
    parts = splits(probed.states, probed.clusters, rng)
    labels = np.column_stack([one.score, shuffled(one.score, probed.clusters, one.design, rng)])
    read = read_kind(parts, labels > 0.5) if one.is_contrast else read_order(parts, labels)
    was_read = np.isfinite(read[:, 0])
    if was_read.sum() < FEWEST_ITEMS or len(np.unique(one.score[was_read])) < 2:
        return None
    within = one.design == "paired" and not one.is_contrast
    known = np.isfinite(probed.sparsity).all()
    # both on the items that were read, so that they can be compared
    alone_values = np.where(was_read, probed.sparsity, np.nan)
    values = np.column_stack([read[:, 0], alone_values]) if known else read[:, :1]
    scores = one.score[:, None] if probed.lengths is None else np.column_stack([one.score, probed.lengths])
    found = associate_items(values, scores, probed.clusters, within=within, resamples=RESAMPLES, rng=rng)
    (value, interval), alone = at(effect(found, one), 0), at(effect(found, one), 1) if known else None
    nothing = [_score(read[:, column], labels[:, column], probed, within=within) for column in range(1, SHUFFLES + 1)]
    chance = float(np.mean(nothing))
    selectivity = Effect("selectivity", value - chance, (interval[0] - chance, interval[1] - chance))
    effects = [
        Effect(
            f"shuffled labels, mean of {SHUFFLES}",
            chance,
            (float(np.min(nothing)), float(np.max(nothing))),
            key=SHUFFLED,
        ),
        selectivity,
        detectable(interval),
        *_codes(probed, rng),
    ]
    metric = probed.where.metric
    if alone is not None:
        effects += [
            Effect(f"{metric} alone", *alone, key=ALONE),
            Effect(f"gain over {metric} alone", *at(effect_lost(found, one, before=0, after=1), 0)),
        ]
    adjusted = ()
    if probed.lengths is not None:
        given = at(effect_given(found, one, 1), 0)
        adjusted = (Control(LENGTH, "pre_treatment", *given, float(found.correlation(1).value[0])),)
    what = _label(one.group, panel.axis.name, contrast=one.is_contrast)
    p = float(design_p(one.design, read[:, :1], one.score, probed.clusters, rng)[0])
    return Finding(
        analysis="probes",
        question=QUESTION,
        scope=Scope(
            model=panel.model,
            suite=panel.suite,
            axis=panel.axis.name,
            site=probed.where.site,
            layer=probed.where.layer,
            position=probed.where.position,
            metric=metric,
            group=one.group,
        ),
        estimate=value,
        quantity=one.quantity,
        unit=f"{one.quantity} of the held-out reading of a {_kind(one)} probe with {what}",
        interval=interval,
        n=len(values),
        n_clusters=int(probed.clusters.max()) + 1,
        test=Significance((CONTRAST_NAMES if one.is_contrast else TEST_NAMES)[one.design], p, float("nan")),
        controls=adjusted,
        effects=tuple(effects),
        text="",
    )


def _score(read: Float[np.ndarray, " n"], label: Float[np.ndarray, " n"], probed: Probed, *, within: bool) -> float:
    """The effect of a probe with the labels that it was fitted to, without an interval."""
    codes = probed.clusters
    found = associate_items(read[:, None], label[:, None], codes, within=within, resamples=2, rng=fresh())
    return float(effect(found, probed.compared).value[0])


def _codes(probed: Probed, rng: np.random.Generator) -> list[Effect]:
    """Bits per item of the online codes: of the far half of the axis, or of the two kinds."""
    score = probed.compared.score
    distinct = np.unique(score)
    label = score > (distinct[len(distinct) // 2 - 1] + distinct[len(distinct) // 2]) / 2
    by_states = online_code(probed.states, label, probed.clusters, rng)
    columns = {"states": by_states.probe, "the base rate": by_states.base_rate}
    if np.isfinite(probed.sparsity).all():
        columns[f"{probed.where.metric} alone"] = online_code(
            probed.sparsity[:, None], label, probed.clusters, rng
        ).probe
    bits = cluster_means(np.column_stack(list(columns.values())), probed.clusters, resamples=RESAMPLES, rng=rng)
    return [
        Effect(f"bits per item, online code by {name}", float(mean), (float(low), float(high)), key=BITS, of=name)
        for name, mean, low, high in zip(columns, bits.mean, bits.low, bits.high, strict=True)
    ]


def _kind(one: Comparison) -> str:
    return "logistic" if one.is_contrast else "ridge"


def _label(group: str, axis: str, *, contrast: bool) -> str:
    if group == ERRORS:
        return "wrong answers"
    return "shifted items" if contrast else shown(axis)


def _with_primary(panel: Panel, findings: list[Finding]) -> list[Finding]:
    """The pre-stated place is primary and carries the curve over layers; no other takes its part."""
    column = primary_column(panel)
    if column is None or not findings:
        return findings
    stated = panel.columns[column].place
    marks = [
        Mark(series, finding.scope.place, float(index), value, *interval)
        for index, finding in enumerate(findings)
        for series, value, interval in _series(finding)
    ]
    plot = Plot("curve", "site and layer, in the order of a forward pass", findings[0].unit, tuple(marks), 0.0)
    is_axis = findings[0].scope.group != ERRORS
    places = [finding.scope.place for finding in findings]
    index = places.index(stated) if stated in places else len(places) - 1
    first = replace(findings[index], primary=is_axis and stated in places, plot=plot)
    return [*findings[:index], first, *findings[index + 1 :]]


def _series(finding: Finding) -> list[tuple[str, float, tuple[float, float]]]:
    (shuffles,) = finding.effects_by(SHUFFLED)
    return [
        ("probe of the states", finding.estimate, finding.interval),
        ("shuffled labels (range)", shuffles.estimate, shuffles.interval),
        *((e.name, e.estimate, e.interval) for e in finding.effects_by(ALONE)),
    ]


def _told(finding: Finding) -> Finding:
    """A probe can show that something is decodable, never that it is not."""
    if not finding.answered:
        return finding
    verdict = finding.verdict
    if finding.side < 0:
        verdict = "undecided" if finding.primary else "not significant"
    (shuffles,) = finding.effects_by(SHUFFLED)
    alone = next(iter(finding.effects_by(ALONE)), None)
    bits = [f"{effect.estimate:.2f} by {effect.of}" for effect in finding.effects_by(BITS)]
    what = _label(finding.scope.group, finding.scope.axis, contrast=finding.quantity != RANK)
    claim = (
        f"{what[0].upper()}{what[1:]}: decodable" if finding.side > 0 else f"Undecided whether {what} can be decoded"
    )
    beside = f"; {finding.scope.metric} alone gives {with_interval(alone.estimate, alone.interval)}" if alone else ""
    return replace(
        finding,
        verdict=verdict,
        text=(
            f"{claim} at {finding.scope.place} on {shown(finding.scope.suite)}: {finding.quantity} of the held-out "
            "reading "
            f"{with_interval(finding.estimate, finding.interval)}{length_adjusted(finding)} over {finding.n:,} items, "
            f"{signed(shuffles.estimate)} with shuffled labels{beside}; bits per item: {', '.join(bits)}."
        ),
    )
