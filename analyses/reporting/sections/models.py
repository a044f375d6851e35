"""Models side by side: the same question, asked of each, in one table and one picture.

Values of two models are not put beside each other, because chance differs with their widths; estimates are, and so is
each model's excess over its own chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from analyses import figures
from analyses.findings.formatting import short_model
from analyses.findings.record import Finding
from analyses.reporting.pictures import Picture, Studio


class Comparison(NamedTuple):
    """One question on one suite.

    Attributes:
        title: heading on the page.
        question: what was asked.
        rows: the pre-stated finding of each model.
        picture: the estimates of the same measure through the layers.
    """

    title: str
    question: str
    rows: list[Finding]
    picture: Picture


def compare(findings: Sequence[Finding], studio: Studio) -> list[Comparison]:
    """Questions whose pre-stated measure was answered for several models, in the order of the findings."""
    leads: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        if finding.primary and finding.answered and finding.levels:
            leads.setdefault((finding.analysis, finding.scope.suite, finding.scope.metric), []).append(finding)
    several = {key: own for key, own in leads.items() if len({finding.scope.model for finding in own}) > 1}
    return [_comparison(number, own, findings, studio) for number, own in enumerate(several.values(), 1)]


def _comparison(number: int, leads: list[Finding], findings: Sequence[Finding], studio: Studio) -> Comparison:
    first = leads[0]
    families = {short_model(lead.scope.model): _through_layers(lead, findings) for lead in leads}
    text = "; ".join(f"{short_model(lead.scope.model)}: {lead.text}" for lead in leads)
    picture = studio.draw(
        f"models-{number}",
        partial(figures.across_models, families),
        label=text,
        caption=f"{first.unit.capitalize()}; {first.scope.metric}, 95 % intervals, one line per model.",
    )
    return Comparison(f"{first.analysis.capitalize()}: {first.scope.suite}", first.question, leads, picture)


def _through_layers(lead: Finding, findings: Sequence[Finding]) -> list[Finding]:
    """The lead and the same measure at the residual stream of every layer."""
    scope = lead.scope
    return [
        finding
        for finding in findings
        if finding is lead
        or (
            finding.answered
            and finding.levels
            and not finding.scope.group
            and finding.analysis == lead.analysis
            and (finding.scope.model, finding.scope.suite) == (scope.model, scope.suite)
            and (finding.scope.metric, finding.scope.position) == (scope.metric, scope.position)
            and finding.scope.basis == scope.basis
            and finding.scope.site in {"resid_post", "final_norm"}
        )
    ]
