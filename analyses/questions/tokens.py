"""Tokens: within a text, are states sparser where the token just read was less familiar?

A text that is unfamiliar as a whole differs from another in many ways; two tokens of one text share all of them. So the
sparsity of the state after each token is ranked against the familiarity of that token *within its item*, and items
(with those they are made from) are what is resampled. Two things are held fixed, because both were there before the
model ran: the place of the token in the text, and which token it is, by comparing its occurrences with each other.
Primary: Hoyer at the final norm against surprisal, sparser where less familiar, both held fixed.

Tokens of a text follow each other and are not exchangeable, so nothing is permuted: the test is Student's over the
items' own correlations. A surprisal is read off the model's own output, and no cause of it. Ranks are not linear in
what is held fixed: where place and token each moved both sides by a standard deviation, +.03 was left of no effect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.familiarity import promise, written
from analyses.data.panels import WHOLE, Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh
from analyses.findings.formatting import shown, with_interval
from analyses.findings.null import sparser
from analyses.findings.panel import PRIMARY_METRIC, PRIMARY_SITES, detectable
from analyses.findings.record import Control, Effect, Finding, Mark, Plot, Scope, Significance
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.statistics.association import associate_centred, centred_within, cluster_sums
from analyses.statistics.design import recode
from analyses.statistics.groups import average, cluster_means
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import AXIS_KINDS
from probes.vocabulary.names import RAW

QUESTION: Final = "Within a text, are states sparser where the token just read was less familiar?"
FIRST: Final = "surprisal"
POSITION: Final = "position"
IDENTITY: Final = "position and token identity"
UNIT: Final = "partial rank correlation within items, positive = sparser where less familiar"
TEST: Final = "Student's t over the items' own rank correlations"
MOST_TOKENS: Final = 200_000
FEWEST_TOKENS: Final = 4  # of an item: fewer have no order to speak of
OCTILES: Final = 8
ROUNDS: Final = 8  # of taking off item means and token means in turn; the rest is then below rounding of ranks
NOTHING: Final = (float("nan"), float("nan"))
Numbers = tuple[float, tuple[float, float]]


class Tokens(NamedTuple):
    """The tokens of a panel at one place, as ranks within their items.

    Attributes:
        metric: the measure of sparsity.
        where: the place.
        sparsity: ranks, larger meaning sparser.
        unfamiliar: ranks, larger meaning less familiar.
        place: ranks of the place in the text.
        identity: which token; -1 where it is not known.
        items: the item of each token.
        clusters: which items belong together, by token.
    """

    metric: str
    where: Scope
    sparsity: Float[np.ndarray, " n"]
    unfamiliar: Float[np.ndarray, " n"]
    place: Float[np.ndarray, " n"]
    identity: Int[np.ndarray, " n"]
    items: Int[np.ndarray, " n"]
    clusters: Int[np.ndarray, " n"]


@analysis(QUESTION, order=5, title="Single tokens", counted="tokens")
def tokens(run: Run) -> list[Finding]:
    """Answer for every suite whose sweep has sparsity and familiarity of single tokens."""
    told = run.familiarity_tokens()
    findings: list[Finding] = []
    if told.empty:
        return findings
    for panel in read_panels(run, AXIS_KINDS):
        rows = told[told["run_id"].astype(str).isin(panel.run_ids)]
        states = token_states(run, panel)
        if states is None or rows.empty:
            continue
        for key, own in rows.groupby(["measure", "corpus"], observed=True, sort=False, dropna=False):
            measure, corpus = cast("tuple[str, object]", key)
            known = promise(str(measure))
            if known is None:
                continue
            found = joined(panel, states, own, -1.0 if known.familiar == "higher" else 1.0)
            if found is not None:
                findings.append(_finding(found, written(str(measure), corpus), from_output=known.from_output))
    return [replace(finding, text=_sentence(finding)) for finding in settle(findings)]


def token_states(run: Run, panel: Panel) -> pd.DataFrame | None:
    """Sparsity of every token at the pre-stated place, with which token it is."""
    rows = run.token_measurements(suite=panel.suites)
    rows = rows[rows["run_id"].astype(str).isin(panel.run_ids)] if len(rows) else rows
    metric = PRIMARY_METRIC
    if rows.empty or metric not in rows:
        return None
    rows = rows[(rows["unit"] == WHOLE) & (rows["basis"].astype(str) == RAW)]
    sites = set(rows["site"].astype(str))
    site = next((name for name in PRIMARY_SITES if name in sites), None)
    if site is None:
        return None
    rows = rows[rows["site"].astype(str) == site]
    layer = int(rows["layer"].max())
    own = rows.loc[rows["layer"] == layer, ["run_id", "example_id", "token", metric]]
    own = own.astype({"run_id": str, "example_id": str})
    ids = run.inputs()
    if "token_ids" in ids:
        read = ids.loc[ids["run_id"].astype(str).isin(panel.run_ids), ["run_id", "example_id", "token_ids"]]
        read = read.astype({"run_id": str, "example_id": str}).dropna(subset="token_ids").explode("token_ids")
        read["token"] = read.groupby(["run_id", "example_id"]).cumcount()
        own = own.merge(read.rename(columns={"token_ids": "identity"}), how="left")
    else:
        own["identity"] = np.nan
    own.attrs["place"] = (site, layer, metric)
    return own


def joined(panel: Panel, states: pd.DataFrame, told: pd.DataFrame, turn: float) -> Tokens | None:
    """Tokens that have both numbers, as ranks within their items; None where fewer than two sources have any."""
    return ranked(panel, states, with_states(panel, states, told), turn)


def with_states(panel: Panel, states: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """Tokens that have both numbers, of items that have enough of them; ``row`` is the item's in the panel.

    Args:
        panel: the items.
        states: sparsity of tokens, from :func:`token_states`.
        told: ``run_id``, ``example_id``, ``token``, ``value`` and what else is to be kept.
    """
    metric = cast("tuple[str, int, str]", states.attrs["place"])[2]
    both = states.merge(told.astype({"run_id": str, "example_id": str}), on=["run_id", "example_id", "token"])
    both = both[np.isfinite(both[metric]) & np.isfinite(both["value"])]
    row = panel.items.index.get_indexer(pd.Index(both["example_id"]))
    both, row = both[row >= 0], row[row >= 0]
    counts = np.bincount(row, minlength=len(panel.items))
    keep = (counts[row] >= FEWEST_TOKENS) & (np.cumsum(counts)[row] <= MOST_TOKENS)
    return both[keep].assign(row=row[keep])


def ranked(panel: Panel, states: pd.DataFrame, both: pd.DataFrame, turn: float) -> Tokens | None:
    """Ranks within items of what :func:`with_states` kept; None where fewer than two sources have any.

    Args:
        panel: the items.
        states: where sparsity was measured.
        both: sparsity and ``value`` of the tokens.
        turn: 1 where a higher value means less familiar, else -1.
    """
    site, layer, metric = cast("tuple[str, int, str]", states.attrs["place"])
    row = both["row"].to_numpy(np.int64)
    if len(np.unique(panel.clusters[row])) < 2:
        return None
    items = recode(row)
    better = -1.0 if sparser(metric) == "lower" else 1.0
    columns = np.column_stack([better * both[metric].to_numpy(np.float64), turn * both["value"], both["token"]]).astype(
        np.float64
    )
    ranks = centred_within(columns, items)
    if (np.ptp(ranks[:, :2], axis=0) == 0).any():
        return None
    identity = pd.to_numeric(both["identity"]).fillna(-1).to_numpy(np.int64)
    scope = Scope(
        model=panel.model,
        suite=panel.suite,
        axis=panel.axis.name,
        site=site,
        layer=layer,
        position="all",
        metric=metric,
    )
    sparsity, unfamiliar, place = ranks.T
    return Tokens(metric, scope, sparsity, unfamiliar, place, identity, items, recode(panel.clusters[row]))


def without_means(columns: Float[np.ndarray, "n k"], *groupings: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Columns less the means of their groups in several groupings at once, by taking them off in turn."""
    left = columns.copy()
    for _ in range(ROUNDS):
        for codes in groupings:
            sizes = np.bincount(codes)[:, None]
            left -= (cluster_sums(left, codes) / sizes)[codes]
    return left


class Held(NamedTuple):
    """Ranks of sparsity, unfamiliarity and position after the effect of covariates is removed from them."""

    name: str
    columns: Float[np.ndarray, "n three"]
    clusters: Int[np.ndarray, " n"]


def held_fixed(found: Tokens) -> Held:
    """Occurrences of one token less their means, which compares them with each other; all where few come twice."""
    columns = np.column_stack([found.sparsity, found.unfamiliar, found.place])
    codes = recode(found.identity)
    known = (found.identity >= 0) & (np.bincount(codes)[codes] > 1)
    if known.mean() < 0.5:
        return Held(POSITION, columns, found.clusters)
    left = without_means(columns[known], recode(found.items[known]), recode(found.identity[known]))
    if (left[:, 2] ** 2).sum() < 1e-6 * (columns[known, 2] ** 2).sum():
        left[:, 2] = 0.0  # a token that has one place only has it held fixed
    return Held(IDENTITY, left, recode(found.clusters[known]))


def given_position(columns: Float[np.ndarray, "n three"], clusters: Int[np.ndarray, " n"]) -> Numbers:
    """Correlation of the first column with the second given the third, which may have nothing left."""
    found = associate_centred(columns[:, :1], columns[:, 1:], clusters, resamples=RESAMPLES, rng=fresh())
    return at(found.partial(1) if columns[:, 2].any() else found.correlation(), 0)


def _finding(found: Tokens, name: str, *, from_output: bool) -> Finding:
    columns, held = np.column_stack([found.sparsity, found.unfamiliar, found.place]), held_fixed(found)
    plain = associate_centred(columns[:, :1], columns[:, 1:], found.clusters, resamples=RESAMPLES, rng=fresh())
    measured = at(plain.correlation(), 0)
    value, interval = given_position(held.columns, held.clusters)
    goes = float(plain.correlation(1).value[0])
    controls = [Control(POSITION, "pre_treatment", *at(plain.partial(1), 0), goes)]
    if held.name == IDENTITY:
        controls.append(Control(IDENTITY, "pre_treatment", value, interval, float("nan")))
    if from_output:
        controls.append(Control(name, "mediator", float("nan"), NOTHING, measured[0]))
    return Finding(
        analysis="tokens",
        question=QUESTION,
        scope=replace(found.where, group=name),
        primary=name == FIRST,
        estimate=value,
        unit=f"{UNIT}, adjusting for {held.name}",
        quantity="partial rank correlation",
        adjusted_for=(held.name,),
        interval=interval,
        n=len(held.columns),
        n_clusters=int(held.clusters.max()) + 1,
        test=Significance(TEST, _p(held), float("nan")),
        controls=tuple(controls),
        effects=(Effect("as measured", *measured), detectable(interval)),
        text="",
        plot=_dose_response(found, name) if name == FIRST else None,
    )


def _p(held: Held) -> float:
    """Two-sided p-value of the mean over independent items of their own partial rank correlations given position."""
    sums = cluster_sums(held.columns[:, :, None] * held.columns[:, None, :], held.clusters)
    scale = np.sqrt(np.einsum("cii->ci", sums))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = sums / (scale[:, :, None] * scale[:, None, :])
        xz, yz = (np.where(scale[:, 2] > 0, r[:, side, 2], 0.0) for side in (0, 1))
        own = (r[:, 0, 1] - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    return average(own[np.isfinite(own)]).p


def _dose_response(found: Tokens, name: str) -> Plot:
    """Mean place of the sparsity within its item, by eighths of the familiarity within the item."""
    sizes = np.bincount(found.items)[found.items]
    share = found.unfamiliar / sizes + 0.5
    octile = np.minimum((share * OCTILES).astype(np.int64), OCTILES - 1)
    marks: list[Mark] = []
    for number in range(OCTILES):
        rows = octile == number
        if rows.any():
            centred = (found.sparsity / sizes)[rows, None]
            mean = cluster_means(centred, found.clusters[rows], resamples=RESAMPLES, rng=fresh())
            point = float(mean.mean[0]), float(mean.low[0]), float(mean.high[0])
            marks.append(Mark(name, f"eighth {number + 1}", (number + 0.5) / OCTILES, *point))
    return Plot(
        "curve", f"unfamiliarity by {name}, rank within the item", "sparsity, rank within the item minus one half",
        tuple(marks), 0.0,
    )  # fmt: skip


def _sentence(finding: Finding) -> str:
    claims = (
        "Within texts, sparser where the token just read is less familiar",
        "Within texts, denser where the token just read is less familiar",
        "Undecided whether, within texts, states are sparser where the token just read is less familiar",
    )
    scope, plain = finding.scope, finding.effects[0]
    held = " and ".join(finding.adjusted_for)
    output = "; it is read off the model's own output" if any(c.role == "mediator" for c in finding.controls) else ""
    adjusted = with_interval(finding.estimate, finding.interval)
    return (
        f"{claim_of(finding, claims)}, by {shown(scope.group)}: {scope.metric} at {scope.place}, rank correlation "
        f"within items {with_interval(plain.estimate, plain.interval)}, {adjusted} "
        f"adjusting for {held}, over {finding.n:,} tokens of {finding.n_clusters:,} independent items{output}."
    )
