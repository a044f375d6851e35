"""How findings look in a notebook: a table of what was asked, the number, its interval and the verdict; escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from analyses.findings.sentences import p_value, shown, with_interval

if TYPE_CHECKING:
    from analyses.findings.record import Finding

MOST_ROWS: Final = 60
COLUMNS: Final = ("question", "of", "estimate [95 %]", "items", "p", "verdict")
COLOURS: Final = {"supported": "#1c6b45", "contradicted": "#a33a1e"}


def table(findings: Sequence[Finding]) -> str:
    """Findings as an HTML table, the pre-stated ones first and bold; at most :data:`MOST_ROWS` rows."""
    ordered = sorted(findings, key=lambda finding: not finding.primary)
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in COLUMNS)
    body = "".join(_row(finding) for finding in ordered[:MOST_ROWS])
    more = len(ordered) - MOST_ROWS
    foot = f"<p>{more:,} more findings</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def card(finding: Finding) -> str:
    """One finding: its sentence above its row."""
    return f"<p>{escape(shown(finding.text, max(len(finding.text), 1)))}</p>{table([finding])}"


def _row(finding: Finding) -> str:
    scope = finding.scope
    of = " ".join(part for part in (scope.metric, scope.place and f"at {scope.place}", scope.group) if part)
    cells = [
        finding.analysis,
        shown(f"{of} ({scope.suite})" if scope.suite else of, 80),
        with_interval(finding.estimate, finding.interval) if finding.answered else finding.text,
        f"{finding.n:,}",
        p_value(finding.test.p_adjusted) if finding.test else "\N{EN DASH}",
    ]
    weight = "600" if finding.primary else "400"
    colour = COLOURS.get(finding.verdict, "inherit")
    written = "".join(f"<td style='text-align:left;font-weight:{weight}'>{escape(cell)}</td>" for cell in cells)
    return f"<tr>{written}<td style='text-align:left;color:{colour}'>{finding.verdict}</td></tr>"
