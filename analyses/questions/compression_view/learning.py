"""Learning: are examples that the best training policy favours sparser or denser, and more or less familiar?

``sparsity learning-law weights`` writes the weight of every training sentence under a policy that minimises the area
under the loss curve (arXiv:2402.17759). A sweep reads the table as a suite on the axis ``policy_weight`` and holds it
against the states of any model: one after training, or checkpoints during it. Primary: rank correlation of the weight
with Hoyer at the final norm, positive = favoured examples are sparser. Beside it: the weight with everything that the
sweep measured of familiarity.

Limits. Half of those sentences are spoiled on purpose and get little weight, so that an association with weight is in
part one with spoiling; the policy was found for a small model of the laboratory, not for the model that is probed. The
law itself (are contributions equal in the optimum?) is answered over seeds by ``sparsity learning-law``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float

from analyses.data.familiarity import promise, written
from analyses.data.panels import Panel, by_item, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import at, fresh, signs
from analyses.findings.formatting import shown, with_interval
from analyses.findings.panel import FEWEST_ITEMS, detectable, length_of, primary_column, scope_of
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Significance, p_of
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.statistics.association import associate_centred, centred_within
from analyses.statistics.design import recode
from analyses.statistics.trend import RESAMPLES

QUESTION: Final = "Are training examples that the best policy favours sparser, and are they more familiar?"
AXIS: Final = "policy_weight"
ENTROPY: Final = "mean_next_token_entropy"
UNIT: Final = "rank correlation with the weight, positive = favoured examples are sparser"
FAMILIAR: Final = "rank correlation with the weight, positive = favoured examples are less familiar"
TEST: Final = "normal, from the interval over independent items"
CLAIMS: Final = {
    "": (
        "Examples that the policy favours have sparser states",
        "Examples that the policy favours have denser states",
        "Undecided whether examples that the policy favours have sparser states",
    ),
    "of": (
        "Examples that the policy favours are less familiar by {of}",
        "Examples that the policy favours are more familiar by {of}",
        "Undecided whether examples that the policy favours are less familiar by {of}",
    ),
}


@analysis(QUESTION, order=6, title="Learning")
def learning(run: Run) -> list[Finding]:
    """Answer for every suite on the axis of policy weights."""
    findings: list[Finding] = []
    for panel in read_panels(run, ["familiarity"]):
        column = primary_column(panel)
        if panel.axis.name != AXIS or column is None:
            continue
        weight = panel.items["level"].to_numpy(np.float64)
        sparsity = panel.values[:, column] * signs(panel)[column]
        if np.isfinite(sparsity + weight).sum() < FEWEST_ITEMS or not np.ptp(weight[np.isfinite(weight)]):
            continue
        findings += [_against(panel, column, weight, sparsity), *_familiar(run, panel, column, weight)]
    return [replace(finding, text=_sentence(finding)) for finding in settle(findings)]


def _against(
    panel: Panel, column: int, weight: Float[np.ndarray, " items"], values: Float[np.ndarray, " items"], of: str = ""
) -> Finding:
    """Ranks of some values against ranks of the weight, with length and entropy held fixed beside it."""
    entropy, length = panel.outcome(ENTROPY), length_of(panel)
    beside = {LENGTH: None if length is None else length.values, ENTROPY: entropy}
    known = {name: own for name, own in beside.items() if own is not None}
    columns = np.column_stack([values, weight, *known.values()])
    rows = np.isfinite(columns).all(axis=1)
    ranks = centred_within(columns[rows], np.zeros(int(rows.sum()), np.int64))
    clusters = recode(panel.clusters[rows])
    found = associate_centred(ranks[:, :1], ranks[:, 1:], clusters, resamples=RESAMPLES, rng=fresh())
    value, interval = at(found.correlation(), 0)
    controls = [
        Control(name, "pre_treatment" if name == LENGTH else "mediator", *given, float(found.correlation(n).value[0]))
        for n, name in enumerate(known, 1)
        if ranks[:, 1 + n].any() and np.isfinite((given := at(found.partial(n), 0))[0])
    ]
    named = [("as measured", value, interval), *((f"given {one.name}", one.estimate, one.interval) for one in controls)]
    marks = [Mark(shown(of) or "sparsity", name, float("nan"), own, *bounds) for name, own, bounds in named]
    return Finding(
        analysis="learning",
        question=QUESTION,
        scope=scope_of(panel, column, of),
        primary=not of,
        estimate=value,
        unit=FAMILIAR if of else UNIT,
        quantity="rank correlation",
        interval=interval,
        n=int(rows.sum()),
        n_clusters=len(np.unique(clusters)),
        test=Significance(TEST, p_of(value, interval), float("nan")),
        controls=tuple(controls),
        effects=(detectable(interval),) if not of else (Effect("of", value, interval, key="of", of=of),),
        text="",
        plot=None if of else Plot("forest", UNIT, "", tuple(marks), 0.0),
    )


def _familiar(run: Run, panel: Panel, column: int, weight: Float[np.ndarray, " items"]) -> list[Finding]:
    """The weight against every measure of familiarity that the sweep holds, turned so that larger is less familiar."""
    table = run.familiarity()
    own = table[table["run_id"].isin(list(panel.run_ids))]
    findings: list[Finding] = []
    for (measure, corpus), rows in own.groupby(["measure", "corpus"], observed=True, sort=False, dropna=False):
        known = promise(str(measure))
        values = by_item(rows, panel.items.index)
        if known is None or np.isfinite(values).sum() < FEWEST_ITEMS or not np.ptp(values[np.isfinite(values)]):
            continue
        turn = -1.0 if known.familiar == "higher" else 1.0
        findings.append(_against(panel, column, weight, turn * values, written(str(measure), corpus)))
    return findings


def _sentence(finding: Finding) -> str:
    of = finding.scope.group
    claims = [claim.format(of=shown(of)) for claim in CLAIMS["of" if of else ""]]
    effect = with_interval(finding.estimate, finding.interval)
    what = shown(of) if of else f"{finding.scope.metric} at {finding.scope.place}"
    given = "".join(
        f" Adjusting for {shown(one.name)} leaves {with_interval(one.estimate, one.interval)}."
        for one in finding.controls
        if not of
    )
    return (
        f"{claim_of(finding, (claims[0], claims[1], claims[2]))}: {what}, Spearman {effect} with the weight, "
        f"n = {finding.n:,}.{given}"
    )
