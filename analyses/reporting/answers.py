"""The pre-stated answers of a report: a row each, and one picture of all of them through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from analyses import figures
from analyses.finding import Finding, Verdict
from analyses.reporting.depth import by_depth, sides
from analyses.reporting.pictures import Picture, Studio
from analyses.sentences import short_model, shown, with_interval

MOST_ROWS: Final = 24  # of the picture


class Answer(NamedTuple):
    """One pre-stated answer.

    Attributes:
        question: name of the question.
        about: suite, and model where there are several.
        estimate: with its interval.
        given_length: the same adjusted for length; a dash where length does not vary.
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


def signs_picture(leads: Sequence[Finding], findings: Sequence[Finding], studio: Studio) -> Picture | None:
    """Effects of several answers through the layers, a row each; None where there is one answer, or one layer."""
    rows: dict[str, list[Finding]] = {}
    for lead in leads[:MOST_ROWS]:
        depth = by_depth(lead, findings)
        rows[_about(lead, leads)] = [*(depth.layers if depth else []), lead]
    if len(rows) < 2 or all(len(own) < 2 for own in rows.values()):
        return None
    units = " or ".join(dict.fromkeys(lead.unit.partition(",")[0] for lead in leads))
    caption = (
        f"The pre-stated effect of each suite at every layer and at the pre-stated site: {units}. Orange: sparser "
        "where harder, less familiar or shifted; purple: denser. A dot: significant after correction."
    )
    return studio.draw("answers", partial(figures.overview, rows), label=caption, caption=caption)


def _answer(lead: Finding, leads: Sequence[Finding], findings: Sequence[Finding]) -> Answer:
    depth = by_depth(lead, findings)
    length = next((control for control in lead.controls if control.name == "n_tokens"), None)
    return Answer(
        lead.analysis.capitalize(),
        _about(lead, leads),
        f"{with_interval(lead.estimate, lead.interval)}",
        with_interval(length.estimate, length.interval) if length else "\N{EN DASH}",
        lead.verdict,
        sides(depth) if depth else "",
    )


def _about(lead: Finding, leads: Sequence[Finding]) -> str:
    several = len({one.scope.model for one in leads}) > 1
    words = [shown(lead.scope.suite), shown(short_model(lead.scope.model)) if several else ""]
    name = ", ".join(word for word in words if word)
    same = [one for one in leads if (one.scope.suite, one.scope.model) == (lead.scope.suite, lead.scope.model)]
    return name if len(same) == 1 else f"{name}, {lead.analysis}"
