"""Typicality: are less typical members of a category sparser, and is that because they are less familiar?

Primary: Hoyer at the final norm against how untypical a member is, within categories, all sets of norms of a suite
together. Typical words are common words, so it counts only as far as it is left with word frequency, number of tokens,
length and code length held fixed. Items are resampled by name: one that stands in several norms is one cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from analyses.data.concepts import FEWEST, POSITIONS, Members, last_ones, read_members, sparsity_of
from analyses.data.panels import place
from analyses.data.runs import Run
from analyses.findings.contrast import judge
from analyses.findings.formatting import shown, with_interval
from analyses.findings.null import sparser
from analyses.findings.panel import PRIMARY_METRIC, PRIMARY_SITES
from analyses.findings.record import Effect, Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.questions.human_categories.membership import WORDS, by_run, hold, left_out_of, scope_in
from probes.records.stored_states import StoredPlace
from probes.vocabulary.names import RAW

QUESTION: Final = "Are less typical members of a category sparser, and is that because they are less familiar?"
CLAIMS: Final = (
    "Within categories, less typical members have sparser states",
    "Within categories, less typical members have denser states",
    "Undecided whether, within categories, less typical members have sparser states",
)


@analysis(QUESTION, order=7, title="Typicality", headline=True)
def typicality(run: Run) -> list[Finding]:
    """Answer for every model that was asked members of categories, all sets of norms of a suite together."""
    asked = last_ones([own for own in read_members(run) if len(own.items) >= FEWEST])
    return settle([found for own in by_run(asked) if (found := sparsity_finding(run, own)) is not None])


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
        analysis="typicality",
        question=QUESTION,
        scope=replace(scope_in(several[0], where, metric), suite=several[0].suite),
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
            f"{claim_of(finding, CLAIMS)}: {metric} at {place(where.site, where.layer)}, Spearman "
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
