"""Memory: does a memory beside the model save most where the model is unfamiliar, and where its states are sparse?

A sweep with ``bits_saved`` says of every token how many bits a memory (kNN-LM, Memory Decoder) saves. If states are
sparse where the model lacks knowledge, a memory that has the knowledge should save most there. Tokens are ranked within
their items, as in the question `tokens`, and items are what is resampled. Primary: Hoyer at the final norm against the
bits that the first memory saves, adjusting for the place of the token and for which token it is. Beside it: the same
given surprisal and everything that was counted in a corpus, and bits saved against each of these.

The retest: the model runs as it always does, so no state changes when a memory is added, and which tokens are sparse
cannot change. What changes is what they cost. Is the tie between sparsity and surprisal weaker when surprisal is that
of model and memory together, as it should be if the sparse tokens are the ones that were missing?

Limits. Bits saved are a difference of two code lengths, and a token that costs the model little has little to save:
without surprisal held fixed, sparsity may stand in for difficulty. Surprisal is read off the model's output, so what is
left beside it is a description and removes no confounder. A weight that depends on nothing else was found on other text
and may be wrong for this one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.familiarity import promise, written
from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh
from analyses.findings.formatting import shown, with_interval
from analyses.findings.panel import detectable
from analyses.findings.record import Control, Effect, Finding, Mark, Plot, Significance, p_of
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.questions.tokens import (
    OCTILES,
    POSITION,
    Tokens,
    given_position,
    held_fixed,
    ranked,
    token_states,
    with_states,
)
from analyses.statistics.association import Association, associate_centred, centred_within, cluster_sums
from analyses.statistics.groups import average, cluster_means
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Does a memory save most where the model is unfamiliar, and where its states are sparse?"
SAVED: Final = "bits_saved"
SURPRISAL: Final = "surprisal"
TOGETHER: Final = "surprisal and the corpus"
UNIT: Final = "partial rank correlation within items, positive = more bits saved where sparser"
KEYS: Final = ["run_id", "example_id", "token"]
CLAIMS: Final = {
    "sparse": (
        "Within texts, the memory saves more where states are sparser",
        "Within texts, the memory saves more where states are denser",
        "Undecided whether, within texts, the memory saves more where states are sparser",
    ),
    "given": (
        "Adjusted for surprisal and counts, sparser states still go with more bits saved",
        "Adjusted for surprisal and counts, denser states go with more bits saved",
        "Undecided whether sparsity predicts bits saved after adjusting for surprisal and counts",
    ),
    "of": (
        "The memory saves more where tokens are less familiar by {of}",
        "The memory saves more where tokens are more familiar by {of}",
        "Undecided whether the memory saves more where tokens are less familiar by {of}",
    ),
    "retest": (
        "With the memory, sparsity goes less with surprisal",
        "With the memory, sparsity goes more with surprisal",
        "Undecided whether the memory weakens the tie between sparsity and surprisal",
    ),
}


class Saved(NamedTuple):
    """Tokens of a panel with what one memory saves of them, as ranks within their items.

    Attributes:
        memory: its name.
        tokens: sparsity, and bits saved in the place of unfamiliarity.
        bits: saved, not ranked.
        beside: ranks of surprisal and of what a corpus counts, larger = less familiar, by name.
        with_memory: ranks of the surprisal of model and memory together; None without surprisal.
    """

    memory: str
    tokens: Tokens
    bits: Float[np.ndarray, " n"]
    beside: dict[str, Float[np.ndarray, " n"]]
    with_memory: Float[np.ndarray, " n"] | None


@analysis(QUESTION, order=5, title="Memory", counted="tokens")
def memory(run: Run) -> list[Finding]:
    """Answer for every suite whose sweep has sparsity and bits saved of single tokens."""
    told, findings = run.familiarity_tokens(), list[Finding]()
    if told.empty or SAVED not in set(told["measure"].astype(str)):
        return findings
    for panel in read_panels(run, AXIS_KINDS):
        rows = told[told["run_id"].astype(str).isin(panel.run_ids)]
        states = token_states(run, panel)
        if states is None or rows.empty:
            continue
        saved = rows[rows["measure"] == SAVED]
        for number, name in enumerate(saved["corpus"].astype(str).unique()):
            found = _read(panel, states, rows, name)
            if found is not None:
                findings += [_sparse(found, primary=number == 0), *_beside(found), *_retest(found)]
    return [replace(finding, text=_sentence(finding)) for finding in settle(findings)]


def _read(panel: Panel, states: pd.DataFrame, rows: pd.DataFrame, name: str) -> Saved | None:
    """Tokens with all their numbers; a measure that too few tokens have is left out."""
    of_memory = rows[(rows["measure"] == SAVED) & (rows["corpus"].astype(str) == name)]
    others = rows[rows["measure"] != SAVED]
    wide = _wide(of_memory).rename(columns={"value": SAVED})
    turns: dict[str, float] = {}
    for (measure, corpus), own in others.groupby(["measure", "corpus"], observed=True, sort=False, dropna=False):
        known = promise(str(measure))
        if known is None or (known.from_output and measure != SURPRISAL):
            continue
        title = written(str(measure), corpus)
        both = wide.merge(_wide(own).rename(columns={"value": title}), how="left", on=KEYS)
        if np.isfinite(both[title]).mean() > 0.5:
            wide, turns[title] = both, -1.0 if known.familiar == "higher" else 1.0
    complete = wide[np.isfinite(wide[[SAVED, *turns]].to_numpy(np.float64)).all(axis=1)]
    kept = with_states(panel, states, complete.assign(value=complete[SAVED]))
    tokens = ranked(panel, states, kept, 1.0)
    if tokens is None:
        return None
    beside = {
        title: centred_within(turn * kept[[title]].to_numpy(np.float64), tokens.items)[:, 0]
        for title, turn in turns.items()
    }
    both = None
    if SURPRISAL in turns:
        together = (kept[SURPRISAL] - kept[SAVED]).to_numpy(np.float64)[:, None]
        both = centred_within(together, tokens.items)[:, 0]
    varied = {title: ranks for title, ranks in beside.items() if np.ptp(ranks)}
    return Saved(name, tokens, kept[SAVED].to_numpy(np.float64), varied, both)


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.astype({"run_id": str, "example_id": str})[[*KEYS, "value"]]


def _sparse(found: Saved, *, primary: bool) -> Finding:
    """Sparsity with bits saved, position and token identity held fixed."""
    tokens, held = found.tokens, held_fixed(found.tokens)
    columns = np.column_stack([tokens.sparsity, tokens.unfamiliar, tokens.place])
    value, interval = given_position(held.columns, held.clusters)
    plain = at(_associated(columns[:, :2], tokens.clusters).correlation(), 0)
    controls = [Control(held.name, "pre_treatment", value, interval, float("nan"))]
    if found.beside:
        controls.append(Control(TOGETHER, "mediator", *_given(found), float("nan")))
    return Finding(
        analysis="memory",
        question=QUESTION,
        scope=replace(tokens.where, group=found.memory),
        primary=primary,
        estimate=value,
        unit=f"{UNIT}, adjusting for {held.name}",
        quantity="partial rank correlation",
        adjusted_for=(held.name,),
        interval=interval,
        n=len(held.columns),
        n_clusters=int(held.clusters.max()) + 1,
        test=Significance("normal, from the interval over independent items", p_of(value, interval), float("nan")),
        controls=tuple(controls),
        effects=(Effect("as measured", *plain), detectable(interval), _mean_saved(found)),
        text="",
        plot=_by_sparsity(found),
    )


def _beside(found: Saved) -> list[Finding]:
    """Bits saved with surprisal and with each count; and sparsity with bits saved given all of them."""
    tokens = found.tokens
    findings = [
        _secondary(
            found,
            "of",
            title,
            at(_associated(np.column_stack([tokens.unfamiliar, ranks]), tokens.clusters).correlation(), 0),
        )
        for title, ranks in found.beside.items()
    ]
    return [*findings, _secondary(found, "given", TOGETHER, _given(found))] if found.beside else findings


def _given(found: Saved) -> tuple[float, tuple[float, float]]:
    """Sparsity with bits saved, given position, surprisal and what was counted."""
    tokens = found.tokens
    columns = np.column_stack([tokens.sparsity, tokens.unfamiliar, tokens.place, *found.beside.values()])
    known = columns[:, np.ptp(columns, axis=0) > 0]
    return at(_associated(known, tokens.clusters).partial_all(range(1, known.shape[1] - 1), slope=False), 0)


def _retest(found: Saved) -> list[Finding]:
    """Part of the tie between sparsity and surprisal that goes when the memory helps, item by item."""
    alone = found.beside.get(SURPRISAL)
    if alone is None or found.with_memory is None:
        return []
    tokens = found.tokens
    before, after = (_own(tokens.sparsity, ranks, tokens.clusters) for ranks in (alone, found.with_memory))
    there = np.isfinite(before) & np.isfinite(after)
    apart = average((before - after)[there])
    finding = _secondary(found, "retest", "surprisal with and without it", (apart.mean, apart.interval))
    both = [
        Effect(name, (own := average(ranks[there])).mean, own.interval, key=name)
        for name, ranks in (("alone", before), ("with", after))
    ]
    test = Significance("Student's t over independent items", apart.p, float("nan"))
    return [replace(finding, effects=tuple(both), test=test, n_clusters=int(there.sum()))]


def _own(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> np.ndarray:
    """Rank correlation inside each independent item; NaN where nothing varies."""
    sums = cluster_sums(np.column_stack([x * y, x * x, y * y]), clusters)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2])


def _secondary(found: Saved, kind: str, of: str, told: tuple[float, tuple[float, float]]) -> Finding:
    value, interval = told
    return Finding(
        analysis="memory",
        question=QUESTION,
        scope=replace(found.tokens.where, group=f"{found.memory}: {of}"),
        estimate=value,
        unit=UNIT if kind == "given" else "rank correlation within items",
        quantity="partial rank correlation" if kind == "given" else "rank correlation",
        adjusted_for=(POSITION, TOGETHER) if kind == "given" else (),
        interval=interval,
        n=len(found.bits),
        n_clusters=int(found.tokens.clusters.max()) + 1,
        test=Significance("normal, from the interval over independent items", p_of(value, interval), float("nan")),
        effects=(Effect(kind, value, interval, key=kind, of=of),),
        text="",
    )


def _associated(columns: Float[np.ndarray, "n k"], clusters: Int[np.ndarray, " n"]) -> Association:
    """The first of some columns of centred ranks with all others."""
    return associate_centred(columns[:, :1], columns[:, 1:], clusters, resamples=RESAMPLES, rng=fresh())


def _mean_saved(found: Saved) -> Effect:
    mean = cluster_means(found.bits[:, None], found.tokens.clusters, resamples=RESAMPLES, rng=fresh())
    return Effect("bits saved per token", float(mean.mean[0]), (float(mean.low[0]), float(mean.high[0])), key=SAVED)


def _by_sparsity(found: Saved) -> Plot:
    """Mean bits saved, by eighths of the sparsity within the item."""
    tokens = found.tokens
    sizes = np.bincount(tokens.items)[tokens.items]
    octile = np.clip(((tokens.sparsity / sizes + 0.5) * OCTILES).astype(np.int64), 0, OCTILES - 1)
    marks: list[Mark] = []
    for number in range(OCTILES):
        rows = octile == number
        if rows.any():
            mean = cluster_means(found.bits[rows, None], tokens.clusters[rows], resamples=RESAMPLES, rng=fresh())
            point = float(mean.mean[0]), float(mean.low[0]), float(mean.high[0])
            marks.append(Mark(found.memory, f"eighth {number + 1}", (number + 0.5) / OCTILES, *point))
    return Plot(
        "curve",
        "sparsity within the item (1 = sparsest)",
        "bits saved per token",
        tuple(marks),
        0.0,
    )


def _sentence(finding: Finding) -> str:
    scope, effect = finding.scope, with_interval(finding.estimate, finding.interval)
    name, _, of = scope.group.partition(": ")
    behind = f"over {finding.n:,} tokens of {finding.n_clusters:,} independent items"
    kinds = {own.key: own for own in finding.effects}
    if not of:
        saved = kinds[SAVED]
        beside = next((control for control in finding.controls if control.name == TOGETHER), None)
        given = (
            f" Adjusting for {TOGETHER} instead leaves {with_interval(beside.estimate, beside.interval)}."
            if beside
            else ""
        )
        return (
            f"{claim_of(finding, CLAIMS['sparse'])} ({shown(name)}): {scope.metric} at {scope.place}, partial rank "
            f"correlation with bits saved {effect} adjusting for {' and '.join(finding.adjusted_for)}, {behind}.{given}"
            f" On average it saves {with_interval(saved.estimate, saved.interval)} bits per token."
        )
    if "alone" in kinds:
        alone, both = kinds["alone"], kinds["with"]
        return (
            f"{claim_of(finding, CLAIMS['retest'])} ({shown(name)}): rank correlation within items "
            f"{with_interval(alone.estimate, alone.interval)} with the surprisal of the model alone, "
            f"{with_interval(both.estimate, both.interval)} with that of model and memory; difference {effect}, "
            f"{behind}. The states are the same: a memory changes what is predicted and not the model."
        )
    kind = "given" if "given" in kinds else "of"
    low, high, open_ = CLAIMS[kind]
    claims = (low.format(of=shown(of)), high.format(of=shown(of)), open_.format(of=shown(of)))
    said = (
        "partial rank correlation of sparsity with bits saved" if kind == "given" else "rank correlation within items"
    )
    return f"{claim_of(finding, claims)} ({shown(name)}): {said} {effect}, {behind}."
