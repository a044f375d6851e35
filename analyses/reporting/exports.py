"""Findings as tables for other programs: CSV for a spreadsheet, LaTeX for a paper.

Names come from strangers. In LaTeX every character that means something is spelled out; in CSV a text that a
spreadsheet would take for a formula gets an apostrophe, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Final

from analyses.finding import Finding
from analyses.sentences import p_value, short_model, shown, signed

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
LONGEST: Final = 60
COLUMNS: Final = (
    "analysis", "model", "suite", "axis", "place", "basis", "position", "metric", "group", "primary", "estimate", "low",
    "high", "unit", "n", "n_clusters", "p", "p_adjusted", "p_family", "chance", "excess", "verdict", "generalises_over",
    "text",
)  # fmt: skip
LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        "\N{MINUS SIGN}": "$-$",
    }
)


def to_csv(findings: Sequence[Finding]) -> str:
    """One row per finding, numbers at full precision, empty where undefined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in findings:
        writer.writerow([_cell(value) for value in _row(finding)])
    return buffer.getvalue()


def to_latex(findings: Sequence[Finding]) -> str:
    """The pre-stated findings as a booktabs table, intervals and chance beside each estimate.

    Letters outside ASCII stay as they are: compile with LuaLaTeX or XeLaTeX where names hold any.
    """
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lllrrrrl}",
        r"\toprule",
        r"question & model, suite & measure at place & estimate [95\,\%] & items & $p$ & over chance & verdict \\",
        r"\midrule",
    ]
    lines += [_line(finding) for finding in findings if finding.primary and finding.answered]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape_latex(text: str) -> str:
    r"""Any text as LaTeX text on one line.

    >>> escape_latex("50% of a_b\n{x}")
    '50\\% of a\\_b \\{x\\}'
    """
    return shown(text, LONGEST).translate(LATEX)


def _line(finding: Finding) -> str:
    scope = finding.scope
    low, high = (signed(end) for end in finding.interval)
    cells = [
        finding.analysis,
        ", ".join(part for part in (short_model(scope.model), scope.suite) if part),
        " at ".join(part for part in (scope.metric, scope.place) if part),
        f"{signed(finding.estimate)} [{low}, {high}]",
        f"{finding.n:,}",
        p_value(finding.test.p_adjusted) if finding.test else "\N{EN DASH}",
        signed(finding.null.excess) if finding.null else "\N{EN DASH}",
        finding.verdict,
    ]
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _row(finding: Finding) -> list[object]:
    scope, null, test = finding.scope, finding.null, finding.test
    return [
        finding.analysis,
        short_model(scope.model),
        scope.suite,
        scope.axis,
        scope.place,
        scope.basis,
        scope.position,
        scope.metric,
        scope.group,
        int(finding.primary),
        finding.estimate,
        *finding.interval,
        finding.unit,
        finding.n,
        finding.n_clusters,
        test.p if test else math.nan,
        test.p_adjusted if test else math.nan,
        test.p_family if test else math.nan,
        null.value if null else math.nan,
        null.excess if null else math.nan,
        finding.verdict,
        finding.generalises_over,
        finding.text,
    ]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    if not isinstance(value, str):
        return str(value)
    line = shown(value, max(len(value), 1))
    return f"'{line}" if line.startswith(FORMULA) else line
