"""Findings in a notebook: a table of what was asked, the number, its interval and the verdict; escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

MOST_ROWS: Final = 60
COLUMNS: Final = ("question", "of", "estimate [95 %]", "items", "p", "verdict")
COLOURS: Final = {"supported": "#1c6b45", "contradicted": "#a33a1e"}


class Row(NamedTuple):
    """One finding as a table shows it, every cell in words."""

    question: str
    of: str
    estimate: str
    items: str
    p: str
    verdict: str
    primary: bool

    @property
    def html(self) -> str:
        """The row as HTML, bold where the finding was stated in advance."""
        weight = "600" if self.primary else "400"
        colour = COLOURS.get(self.verdict, "inherit")
        cells = (self.question, self.of, self.estimate, self.items, self.p)
        written = "".join(f"<td style='text-align:left;font-weight:{weight}'>{escape(cell)}</td>" for cell in cells)
        return f"<tr>{written}<td style='text-align:left;color:{colour}'>{escape(self.verdict)}</td></tr>"


def table(rows: Sequence[Row]) -> str:
    """Findings as an HTML table, the pre-stated ones first and bold; at most :data:`MOST_ROWS` rows."""
    ordered = sorted(rows, key=lambda row: not row.primary)
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in COLUMNS)
    body = "".join(row.html for row in ordered[:MOST_ROWS])
    more = len(ordered) - MOST_ROWS
    foot = f"<p>{more:,} more findings</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def card(sentence: str, row: Row) -> str:
    """One finding: its sentence above its row."""
    return f"<p>{escape(sentence)}</p>{table([row])}"
