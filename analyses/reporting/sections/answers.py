"""The pre-stated answers of a report: a row each, and one picture of all of them through the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from analyses import figures
from analyses.figures.marks import significant
from analyses.findings.formatting import short_model, shown, with_interval
from analyses.findings.record import Finding, Verdict
from analyses.reporting.pictures import Picture, Studio
from analyses.reporting.sections.depth import by_depth, sides

MOST_ROWS: Final = 24  # of the picture
IN_PICTURE: Final = "each domain is a row of the picture"
MEANINGS: Final[dict[Verdict, str]] = {
    "supported": "the interval is above zero, also after adjusting for length and correcting over the suites",
    "contradicted": "the same below zero",
    "undecided": "after adjusting and correcting neither is established, which is not to say that there is no effect",
    "described": "too little for a test",
}
TOO_FEW: Final = "too few independent domains for one verdict over all of them"


class Answer(NamedTuple):
    """One pre-stated answer.

    Attributes:
        question: name of the question.
        about: suite, and model where there are several.
        estimate: with its interval; of domains, how many go which way.
        given_length: the same adjusted for length; a dash where length does not vary, words where it follows the axis.
        verdict: what may be said.
        layers: at which layers it is sparser, at which denser.
    """

    question: str
    about: str
    estimate: str
    given_length: str
    verdict: Verdict
    layers: str


def answers(leads: Sequence[Finding], findings: Sequence[Finding]) -> list[Answer]:
    """A row per answer, where there are several; one alone has its sentences."""
    return [_answer(lead, leads, findings) for lead in leads] if len(leads) > 1 else []


def meanings(rows: Sequence[Answer]) -> str:
    """The verdicts among some answers, in words."""
    there = {row.verdict for row in rows}
    return "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANINGS.items() if verdict in there) + "."


def signs_picture(leads: Sequence[Finding], findings: Sequence[Finding], studio: Studio) -> Picture | None:
    """Effects of several answers through the layers, a row each; None where there is one answer, or one layer."""
    rows: dict[str, list[Finding]] = {}
    for lead in leads:
        name = _about(lead, leads)
        for domain in contrasts(lead, findings) or [lead]:
            if not domain.levels:  # no measure of sparsity, so it is neither sparser nor denser
                continue
            depth = by_depth(domain, findings)
            label = f"{name}: {domain.scope.group}" if domain.scope.group else name
            rows[label] = [*(depth.layers if depth else []), domain]
    rows = dict(list(rows.items())[:MOST_ROWS])
    if len(rows) < 2 or all(len(own) < 2 for own in rows.values()):
        return None
    units = " or ".join(dict.fromkeys(lead.quantity or lead.unit for lead in leads))
    caption = (
        f"The pre-stated effect of each suite, or of each of its domains, by layer: {units}. Orange: sparser where "
        "harder, less familiar or shifted; purple: denser. A dot: significant after correction, and of the same sign "
        "after adjusting for length."
    )
    return studio.draw("answers", partial(figures.overview, rows), label=caption, caption=caption)


def contrasts(lead: Finding, findings: Sequence[Finding]) -> list[Finding]:
    """The findings about single domains at the site and in the measure of a finding that sums them up."""
    scope = lead.scope
    return [
        finding
        for finding in findings
        if finding.scope.group
        and finding.levels
        and finding.analysis == lead.analysis
        and (finding.scope.model, finding.scope.suite, finding.scope.place) == (scope.model, scope.suite, scope.place)
        and (finding.scope.metric, finding.scope.position) == (scope.metric, scope.position)
    ]


def counted(single: Sequence[Finding]) -> str:
    """Count the domains that are significantly sparser or denser than the reference."""
    sure = [finding.estimate > 0 for finding in single if significant(finding)]
    above, n = sum(sure), len(single)
    what = "domain" if n == 1 else "domains"
    return f"{above} of {n} {what} {'is' if 1 in (above, n) else 'are'} sparser, {len(sure) - above} denser"


def _answer(lead: Finding, leads: Sequence[Finding], findings: Sequence[Finding]) -> Answer:
    single = contrasts(lead, findings)
    if single:
        beside = [IN_PICTURE] if by_depth(single[0], findings) else []
        beside += [TOO_FEW] if lead.verdict == "described" else []
        words = "; ".join(beside)
        return Answer(lead.analysis.capitalize(), _about(lead, leads), counted(single), "", lead.verdict, words)
    depth = by_depth(lead, findings)
    return Answer(
        lead.analysis.capitalize(),
        _about(lead, leads),
        f"{with_interval(lead.estimate, lead.interval)}",
        _given_length(lead),
        lead.verdict,
        sides(depth) if depth else "",
    )


def _given_length(lead: Finding) -> str:
    """The estimate adjusted for length; in words where length follows the axis, a dash where it does not vary."""
    control = lead.length
    if control is None:
        return "\N{EN DASH}"
    known = math.isfinite(control.estimate) and math.isfinite(control.interval[0])
    return with_interval(control.estimate, control.interval) if known else "not separable from length"


def _about(lead: Finding, leads: Sequence[Finding]) -> str:
    several = len({one.scope.model for one in leads}) > 1
    words = [shown(lead.scope.suite), shown(short_model(lead.scope.model)) if several else ""]
    name = ", ".join(word for word in words if word)
    same = [one for one in leads if (one.scope.suite, one.scope.model) == (lead.scope.suite, lead.scope.model)]
    return name if len(same) == 1 else f"{name}, {lead.analysis}"
