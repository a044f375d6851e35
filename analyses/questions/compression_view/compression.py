"""Compression: are states sparser where the model's code is longer, over kinds of data and along a chunk?

A model is a compressor (arXiv:2309.10668): what it predicts badly costs bits. "Just-in-time compression" says that the
states of such inputs are sparser. A suite over kinds of data (text, code, pictures, sound, chance) can fail that
sentence in three ways, and each is a finding. Primary: within a kind, Hoyer at the final norm against bits per byte,
both ranked inside the kind, so that what a kind is cannot stand behind it. Over kinds: the same of their means, where
five kinds describe and prove nothing. Along the chunk: as the model adapts and its code gets shorter, do states get
denser? That one is asked at every position of the same chunk.

The code length is read off the model's own output: it is the output, and no cause of the state. What sparsity says of
it beyond the mean next-token entropy stands beside the primary answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from analyses.data.panels import Panel, by_item, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh, signs
from analyses.findings.formatting import shown, signed, with_interval
from analyses.findings.panel import FEWEST_ITEMS, detectable, length_of, primary_column, scope_of
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Significance, p_of
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of, length_adjusted, lost_to_length
from analyses.findings.verdicts import settle
from analyses.questions.tokens import Tokens, joined, token_states
from analyses.statistics.association import Association, associate_centred, centred_within
from analyses.statistics.design import recode
from analyses.statistics.groups import average
from analyses.statistics.trend import RESAMPLES

QUESTION: Final = "Are states sparser where the model's code is longer, over kinds of data and along a chunk?"
AXIS: Final = "modality"
BITS: Final = "bits_per_byte"
SURPRISAL: Final = "surprisal"
ENTROPY: Final = "mean_next_token_entropy"
WITHIN: Final = "within kinds of data"
OVER: Final = "over kinds of data"
ALONG: Final = "along the chunk"
UNIT: Final = "rank correlation with code length, positive = sparser where longer"
TEST: Final = "normal, from the interval over independent sources"
NOTHING: Final = (float("nan"), float("nan"))
THIRDS: Final = 3
FEWEST_IN_A_THIRD: Final = 2
CLAIMS: Final = {
    WITHIN: (
        "Within kinds of data, states are sparser where the code is longer",
        "Within kinds of data, states are denser where the code is longer",
        "Undecided whether, within kinds of data, states are sparser where the code is longer",
    ),
    ALONG: (
        "Along a chunk states get denser",
        "Along a chunk states get sparser",
        "Undecided whether states get denser along a chunk",
    ),
}


@analysis(QUESTION, order=5, title="Compression")
def compression(run: Run) -> list[Finding]:
    """Answer for every suite over kinds of data whose sweep measured bits per byte."""
    table, findings = run.familiarity(), list[Finding]()
    for panel in read_panels(run, ["nominal"]):
        column = primary_column(panel)
        bits = by_item(table[table["run_id"].isin(list(panel.run_ids)) & (table["measure"] == BITS)], panel.items.index)
        if panel.axis.name != AXIS or column is None or np.isfinite(bits).sum() < FEWEST_ITEMS:
            continue
        found = [_within(panel, column, bits), *_along(run, panel, column)]
        findings += [replace(finding, text=_sentence(finding)) for finding in settle(found)]
        findings += _over(panel, column, bits)
    return findings


def _within(panel: Panel, column: int, bits: Float[np.ndarray, " items"]) -> Finding:
    """Ranks inside each kind of data; sources are what is resampled."""
    sparsity = panel.values[:, column] * signs(panel)[column]
    beside = {LENGTH: None if (length := length_of(panel)) is None else length.values, ENTROPY: panel.outcome(ENTROPY)}
    known = {name: values for name, values in beside.items() if values is not None}
    columns = np.column_stack([sparsity, bits, *known.values()])
    rows = np.isfinite(columns).all(axis=1)
    kinds = recode(pd.factorize(panel.labels[rows])[0])
    ranks = centred_within(columns[rows], kinds)
    clusters = recode(panel.clusters[rows])
    found = _ranked(ranks, clusters)
    value, interval = at(found.correlation(), 0)
    controls = [
        Control(name, "pre_treatment" if name == LENGTH else "mediator", *given, float(found.correlation(n).value[0]))
        for n, name in enumerate(known, 1)
        if ranks[:, 1 + n].any() and np.isfinite((given := at(found.partial(n), 0))[0])
    ]
    by_kind = [
        (str(kind), *at(_ranked(ranks[kinds == code], clusters[kinds == code]).correlation(), 0))
        for code, kind in enumerate(pd.unique(panel.labels[rows]))
        if (kinds == code).sum() >= FEWEST_ITEMS
    ]
    marks = [Mark(WITHIN, shown(kind), float("nan"), own, *bounds) for kind, own, bounds in by_kind]
    return Finding(
        analysis="compression",
        question=QUESTION,
        scope=scope_of(panel, column, WITHIN),
        primary=True,
        estimate=value,
        unit=UNIT,
        quantity="rank correlation",
        interval=interval,
        n=int(rows.sum()),
        n_clusters=len(np.unique(clusters)),
        test=Significance(TEST, p_of(value, interval), float("nan")),
        controls=tuple(controls),
        effects=(detectable(interval), *(Effect(f"in {kind}", own, bounds, of=kind) for kind, own, bounds in by_kind)),
        text="",
        plot=Plot("forest", UNIT, "", tuple(marks), 0.0),
    )


def _ranked(ranks: Float[np.ndarray, "n k"], clusters: Int[np.ndarray, " n"]) -> Association:
    """The first of some columns of centred ranks with all others."""
    return associate_centred(ranks[:, :1], ranks[:, 1:], recode(clusters), resamples=RESAMPLES, rng=fresh())


def _over(panel: Panel, column: int, bits: Float[np.ndarray, " items"]) -> list[Finding]:
    """The means of the kinds, which are too few to generalise from."""
    sparsity = panel.values[:, column] * signs(panel)[column]
    both = pd.DataFrame({"sparsity": sparsity, "bits": bits}).groupby(panel.labels, sort=False).mean().dropna()
    if len(both) < 3:
        return []
    value = float(stats.spearmanr(both["sparsity"], both["bits"])[0])
    order = ", ".join(f"{shown(str(kind))} {row['bits']:.2f}" for kind, row in both.sort_values("bits").iterrows())
    return [
        Finding(
            analysis="compression",
            question=QUESTION,
            scope=scope_of(panel, column, OVER),
            estimate=value,
            unit=UNIT,
            quantity="rank correlation",
            interval=NOTHING,
            n=len(both),
            n_clusters=len(both),
            generalises_over="domains",
            verdict="described",
            plot=_against_bits(panel, column, bits),
            text=(
                f"Over {len(both)} kinds of data, too few to generalise from, mean sparsity and code length have a "
                f"rank correlation of {signed(value)} (bits per byte: {order})."
            ),
        )
    ]


def _against_bits(panel: Panel, column: int, bits: Float[np.ndarray, " items"]) -> Plot:
    """Mean sparsity against code length: a line per kind of data, through thirds of its chunks by code length."""
    table = pd.DataFrame(
        {"sparsity": panel.values[:, column], "bits": bits, "kind": panel.labels, "own": panel.clusters}
    )
    marks: list[Mark] = []
    for kind, chunks in table.dropna().groupby("kind", sort=False):
        n_parts = THIRDS if len(chunks) >= THIRDS * FEWEST_IN_A_THIRD else 1
        parts = np.array_split(np.argsort(chunks["bits"].to_numpy(), kind="stable"), n_parts)
        for part in (chunks.iloc[rows] for rows in parts):
            mean = average(part.groupby("own")["sparsity"].mean().to_numpy(np.float64))
            low, high = mean.interval
            marks.append(Mark(str(kind), "", float(part["bits"].mean()), mean.mean, low, high))
    scope = scope_of(panel, column, OVER)
    return Plot(
        "curve", "bits per byte", f"mean {scope.metric} at {scope.place}, thirds of the chunks of a kind", tuple(marks)
    )


def _along(run: Run, panel: Panel, column: int) -> list[Finding]:
    """Sparsity against the position in the chunk, every chunk one draw; beside it the code length."""
    told, states = run.familiarity_tokens(), token_states(run, panel)
    if states is None or told.empty:
        return []
    rows = told[told["run_id"].astype(str).isin(panel.run_ids) & (told["measure"] == SURPRISAL)]
    found = None if rows.empty else joined(panel, states, rows, 1.0)
    if found is None:
        return []
    sparsity, surprisal = _slopes(found, found.sparsity), _slopes(found, found.unfamiliar)
    mean, bits = average(sparsity), average(surprisal)
    return [
        Finding(
            analysis="compression",
            question=QUESTION,
            scope=replace(scope_of(panel, column, ALONG), position="all"),
            estimate=mean.mean,
            unit="mean rank correlation of density with the position in the chunk, positive = denser later",
            quantity="rank correlation",
            interval=mean.interval,
            n=len(found.items),
            n_clusters=len(sparsity),
            test=Significance("Student's t over independent sources", mean.p, float("nan")),
            effects=(Effect("code gets shorter along the chunk", bits.mean, bits.interval, key=SURPRISAL),),
            text="",
        )
    ]


def _slopes(found: Tokens, ranks: Float[np.ndarray, " n"]) -> Float[np.ndarray, " sources"]:
    """Rank correlation with the position inside each chunk, averaged over the chunks of a source; falls count."""
    table = pd.DataFrame({"item": found.items, "source": found.clusters, "xy": ranks * found.place})
    table["xx"], table["yy"] = ranks**2, found.place**2
    sums = table.groupby(["source", "item"]).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        own = -sums["xy"] / np.sqrt(sums["xx"] * sums["yy"])
    return own.dropna().groupby("source").mean().to_numpy(np.float64)


def _sentence(finding: Finding) -> str:
    scope, effect = finding.scope, with_interval(finding.estimate, finding.interval)
    claim = claim_of(finding, CLAIMS[scope.group])
    if scope.group == ALONG:
        (bits,) = finding.effects_by(SURPRISAL)
        return (
            f"{claim}: {scope.metric} at {scope.place}, mean rank correlation of density with the position {effect}, "
            f"over {finding.n:,} tokens of {finding.n_clusters:,} independent sources. The same of the code "
            f"length, positive where it gets shorter: {with_interval(bits.estimate, bits.interval)}."
        )
    beside = next((control for control in finding.controls if control.name == ENTROPY), None)
    entropy = (
        f" Adjusting for the mean next-token entropy leaves {with_interval(beside.estimate, beside.interval)}."
        if beside
        else ""
    )
    return (
        f"{claim}: {scope.metric} at {scope.place}, rank correlation with bits per byte {effect}"
        f"{length_adjusted(finding)}, n = {finding.n:,} chunks of {finding.n_clusters:,} independent sources."
        f"{lost_to_length(finding)}{entropy}"
    )
