"""Outcome: does sparsity say which answers will be wrong, beyond what the output says already?

An association of sparsity with errors is cheap: both go with entropy. What counts is the gain in predicting errors on
held-out items over a model that knows entropy, margin and length, with whole clusters held out (primary: Hoyer at the
pre-stated place, in bits per item). The loss of the target is another name of the outcome, so it stands beside and is
not part of what has to be beaten. Items whose level was set by the outcome itself would be predicted by it twice: the
ruler must come from elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import fresh, judge, signs
from analyses.findings.formatting import shown, with_interval
from analyses.findings.panel import primary_column, scope_of, unanswered
from analyses.findings.record import Effect, Finding, Mark, Plot
from analyses.findings.registry import analysis
from analyses.statistics.prediction import FEWEST_OF_A_KIND, held_out_gain
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Does sparsity predict errors after adjusting for entropy, margin and length?"
BEATEN: Final = ("next_token_entropy", "mean_next_token_entropy", "margin", "mean_margin")
NOTHING: Final = (float("nan"), float("nan"))


@analysis(QUESTION, order=12, title="Prediction of errors")
def outcome(run: Run) -> list[Finding]:
    """Answer for every suite whose sweep recorded `correct`."""
    return [finding for panel in read_panels(run, AXIS_KINDS) for finding in _panel_findings(panel)]


def _panel_findings(panel: Panel) -> list[Finding]:
    correct, column = panel.outcome("correct"), primary_column(panel)
    if correct is None or column is None:
        return []
    sets = _baselines(panel)
    findings: list[Finding] = []
    beaten: list[str] = []
    for name, values in sets.items():
        known = np.isfinite(np.column_stack([correct, panel.values[:, column], values])).all(axis=1)
        measure = (panel.values * signs(panel))[known, column]
        found = held_out_gain(correct[known] < 0.5, values[known], measure, panel.clusters[known], rng=fresh())
        if found is None:
            few = f"fewer than {FEWEST_OF_A_KIND} answers are right or fewer than that are wrong"
            return [unanswered(panel, "outcome", QUESTION, few)]
        beaten.append(name)
        where = panel.columns[column]
        interval = (found.low, found.high)
        verdict = judge(interval)
        claims = {
            "supported": "adds to",
            "contradicted": "only adds noise to",
            "undecided": "is not shown to add to",
            "described": "stands beside",
        }
        findings.append(
            Finding(
                analysis="outcome",
                question=QUESTION,
                scope=scope_of(panel, column, "" if not findings else f"adjusted for {name}"),
                primary=not findings,
                estimate=found.bits,
                unit=f"gain of held-out log loss over {name}, bits per item",
                interval=interval,
                n=found.n,
                n_clusters=found.n_clusters,
                effects=(
                    Effect(f"AUC of {name}", found.auc_without, NOTHING),
                    Effect("AUC with the measure", found.auc_with, NOTHING),
                ),
                verdict=verdict,
                text=(
                    f"{where.metric} at {where.place} {claims[verdict]} what is told of errors by {shown(name, 80)} on "
                    f"{shown(panel.suite)}: {with_interval(found.bits, interval)} bits per held-out item, AUC "
                    f"{found.auc_without:.2f} without and {found.auc_with:.2f} with it, over {found.n:,} items."
                ),
            )
        )
    if not findings:
        return []
    marks = tuple(
        Mark("gain over", name, float("nan"), f.estimate, *f.interval) for name, f in zip(beaten, findings, strict=True)
    )
    plot = Plot("forest", "gain of held-out log loss (bits per item)", "", marks, 0.0)
    return [replace(findings[0], plot=plot), *findings[1:]]


def _baselines(panel: Panel) -> dict[str, np.ndarray]:
    """Covariates that sparsity has to beat: all but the loss first, then length alone, then all with the loss."""
    length = panel.items["n_tokens"].to_numpy(np.float64)
    found = {"length": length} if np.ptp(length[np.isfinite(length)]) > 0 else {}
    for name in BEATEN:
        values = panel.outcome(name)
        if values is not None and np.isfinite(values).mean() > 0.5:
            found[name] = values
    if not found:
        return {"the base rate": np.zeros((len(length), 1))}
    sets = {" and ".join(found): np.column_stack(list(found.values()))}
    if len(found) > 1 and "length" in found:
        sets["length"] = length[:, None]
    loss = panel.outcome("nll")
    if loss is not None and np.isfinite(loss).mean() > 0.5:
        sets[" and ".join([*found, "nll"])] = np.column_stack([*found.values(), loss])
    return sets
