"""Learning: are examples that the best training policy favours sparser or denser, and more or less familiar?

``sparsity learning-law weights`` writes the weight of every training sentence under a policy that minimises the area
under the loss curve (arXiv:2402.17759). A sweep reads the table as a suite on the axis ``policy_weight`` and holds it
against the states of any model: one after training, or checkpoints during it. Primary: rank correlation of the weight
with Hoyer at the final norm, positive = favoured examples are sparser. Beside it: the weight with everything that the
sweep measured of familiarity. Where every seed of the learner was swept on the sentences that it was trained on
(``sparsity learning-law weights`` writes checkpoints and a spec for each), the seeds are averaged, and the interval is
over them; the question `dynamics` says the same at each checkpoint.

Limits. Half of those sentences are spoiled on purpose and get little weight, so that an association with weight is in
part one with spoiling; the policy was found for a small model of the laboratory, not for any other that is probed. The
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
from analyses.findings.record import LENGTH, Control, Effect, Finding, Mark, Plot, Significance, decide, p_of, secondary
from analyses.findings.registry import analysis
from analyses.findings.sentences import claim_of
from analyses.findings.verdicts import settle
from analyses.statistics.association import associate_centred, centred_within
from analyses.statistics.design import recode
from analyses.statistics.groups import Average, average
from analyses.statistics.trend import RESAMPLES

QUESTION: Final = "Are training examples that the best policy favours sparser, and are they more familiar?"
AXIS: Final = "policy_weight"
ENTROPY: Final = "mean_next_token_entropy"
UNIT: Final = "rank correlation with the weight, positive = favoured examples are sparser"
FAMILIAR: Final = "rank correlation with the weight, positive = favoured examples are less familiar"
FEWEST_SEEDS: Final = 3
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
    told = [replace(finding, text=_sentence(finding)) for finding in settle(findings)]
    return [*_over_seeds(told), *told]


def _over_seeds(findings: list[Finding]) -> list[Finding]:
    """Averages over learners that were each asked about sentences of their own; none of fewer than three."""
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.scope.group, finding.scope.place), []).append(finding)
    found: list[Finding] = []
    for own in by_kind.values():
        models, suites = {one.scope.model for one in own}, {one.scope.suite for one in own}
        if FEWEST_SEEDS <= len(own) == len(models) == len(suites):
            found.append(_average(own))
    return found


def _average(own: list[Finding]) -> Finding:
    """Average of the estimates of seeds, with Student's interval over them."""
    first, n = own[0], len(own)
    found = average(np.array([one.estimate for one in own]))
    beside = [
        Control(name, "pre_treatment" if name == LENGTH else "mediator", each.mean, each.interval, float("nan"))
        for name in (one.name for one in first.controls)
        if (each := _average_given(own, name)) is not None
    ]
    of = first.scope.group
    claims = [claim.format(of=shown(of)) for claim in CLAIMS["of" if of else ""]]
    verdict = decide(found.mean, found.interval, found.p)
    marks = tuple(Mark("", one.scope.suite, float("nan"), one.estimate, *one.interval) for one in own)
    given = "".join(f" Adjusting for {shown(c.name)} leaves {with_interval(c.estimate, c.interval)}." for c in beside)
    return replace(
        first,
        scope=replace(first.scope, model="", suite=f"sentences of {n} seeds"),
        estimate=found.mean,
        interval=found.interval,
        n=n,
        n_clusters=n,
        generalises_over="seeds",
        test=Significance("Student's t over seeds", found.p, found.p),
        controls=tuple(beside),
        effects=(),
        verdict=verdict if first.primary else secondary(verdict),
        text=(
            f"{claims[('supported', 'contradicted', 'undecided').index(verdict)]}: {shown(of) or first.scope.metric}, "
            f"mean Spearman {with_interval(found.mean, found.interval)} with the weight over {n} seeds of the learner."
            f"{given}"
        ),
        plot=None if of else Plot("forest", UNIT, "", marks, 0.0),
    )


def _average_given(own: list[Finding], name: str) -> Average | None:
    """The average with a covariate held fixed; None where a seed has no such estimate."""
    values = [one.estimate for finding in own for one in finding.controls if one.name == name]
    return average(np.array(values)) if len(values) == len(own) else None


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
