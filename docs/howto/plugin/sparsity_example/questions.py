"""A question: a function from a sweep to findings, each with its interval."""

from __future__ import annotations

from analyses import Finding, analysis
from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.panel import fresh, primary_column, scope_of
from analyses.statistics.groups import cluster_means
from probes.vocabulary.axes import AXIS_KINDS

QUESTION = "How sparse are the states of a suite on average?"


@analysis(QUESTION, title="Average sparsity")
def average(run: Run) -> list[Finding]:
    """Answer for every model and suite at the pre-stated place."""
    return [finding for panel in read_panels(run, AXIS_KINDS) for finding in _findings(panel)]


def _findings(panel: Panel) -> list[Finding]:
    column = primary_column(panel)
    if column is None:
        return []
    found = cluster_means(panel.values[:, [column]], panel.clusters, resamples=2000, rng=fresh())
    mean, low, high, n = float(found.mean[0]), float(found.low[0]), float(found.high[0]), int(found.n[0])
    return [
        Finding(
            analysis="average",
            question=QUESTION,
            scope=scope_of(panel, column),
            primary=True,
            estimate=mean,
            interval=(low, high),
            quantity="mean",
            unit=panel.columns[column].metric,
            n=n,
            n_clusters=found.n_clusters,
            verdict="described",
            text=f"{panel.columns[column].metric} is {mean:.3f} on average [{low:.3f}, {high:.3f}] over {n} items.",
        )
    ]
