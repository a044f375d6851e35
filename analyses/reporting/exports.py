"""Findings for other programs: JSON for scripts, CSV for a spreadsheet, LaTeX for a paper.

``findings.json`` lists the findings that a person reads, each with its data; ``findings.csv`` has a row for every
finding, the thousands of single cells included. ``findings.schema.json`` says what each field of the former means.

Names come from strangers. In LaTeX every character that means something is spelled out; in CSV a text that a
spreadsheet would take for a formula gets an apostrophe, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analyses.findings.formatting import p_value, short_model, shown, with_interval
from analyses.findings.record import LENGTH, Finding
from analyses.reporting.selection import Selection

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
LONGEST: Final = 60
LONGEST_UNIT: Final = 160
COLUMNS: Final = (
    "analysis", "model", "suite", "axis", "place", "basis", "position", "metric", "group", "primary", "estimate", "low",
    "high", "unit", "n", "n_clusters", "given_length", "given_length_low", "given_length_high", "p", "p_adjusted",
    "p_family", "gaussian_null", "excess", "verdict", "generalises_over", "text",
)  # fmt: skip
SCHEMA_VERSION: Final = 1
SCHEMA: Final = Path(__file__).parent / "templates" / "findings.schema.json"
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


def to_json(findings: Sequence[Finding]) -> str:
    """A list with one object per finding and line; numbers that are not there are null."""
    lines = (
        json.dumps({"schema_version": SCHEMA_VERSION, **finding.to_json()}, allow_nan=False, separators=(",", ":"))
        for finding in findings
    )
    return "[\n" + ",\n".join(lines) + "\n]\n"


def to_csv(selection: Selection) -> str:
    """One row per finding, numbers at full precision, empty where undefined; single cells have no sentence."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in selection.told:
        writer.writerow([_cell(value) for value in (*_row(finding), finding.text)])
    for finding in selection.cells:
        writer.writerow([_cell(value) for value in (*_row(finding), "")])
    return buffer.getvalue()


def to_latex(findings: Sequence[Finding]) -> str:
    """The pre-stated findings as booktabs tables: one for each kind of estimate, which stands above it with its unit.

    Letters outside ASCII stay as they are: compile with LuaLaTeX or XeLaTeX where names hold any.
    """
    by_unit: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.primary and finding.answered:
            by_unit.setdefault(finding.unit, []).append(finding)
    lines = [r"% \usepackage{booktabs}"]
    for unit, own in by_unit.items():
        lines += [
            "",
            f"% Estimate: {escape_latex(unit, LONGEST_UNIT)}",
            r"\begin{tabular}{llllrrrrl}",
            r"\toprule",
            rf"\multicolumn{{9}}{{l}}{{Estimate: {escape_latex(unit, LONGEST_UNIT)}}} \\",
            r"\midrule",
            r"question & model & suite & measure & estimate [95\,\%] & adjusted for length & items & $p$ & verdict \\",
            r"\midrule",
            *map(_line, own),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    return "\n".join([*lines, ""])


def escape_latex(text: str, most: int = LONGEST) -> str:
    r"""Any text as LaTeX text on one line.

    >>> escape_latex("50% of a_b\n{x}")
    '50\\% of a\\_b \\{x\\}'
    """
    return shown(text, most).translate(LATEX)


def _line(finding: Finding) -> str:
    scope = finding.scope
    adjusted = _given_length(finding)
    cells = [
        finding.analysis,
        short_model(scope.model),
        scope.suite,
        " at ".join(part for part in (scope.metric, scope.place) if part),
        with_interval(finding.estimate, finding.interval),
        with_interval(adjusted[0], adjusted[1:]),
        f"{finding.n:,}",
        p_value(finding.test.p_adjusted) if finding.test else "\N{EN DASH}",
        finding.verdict,
    ]
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _given_length(finding: Finding) -> tuple[float, float, float]:
    found = next((control for control in finding.controls if control.name == LENGTH), None)
    return (math.nan, math.nan, math.nan) if found is None else (found.estimate, *found.interval)


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
        *_given_length(finding),
        test.p if test else math.nan,
        test.p_adjusted if test else math.nan,
        test.p_family if test else math.nan,
        null.value if null else math.nan,
        null.excess if null else math.nan,
        finding.verdict,
        finding.generalises_over,
    ]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    if not isinstance(value, str):
        return str(value)
    line = shown(value, max(len(value), 1))
    return f"'{line}" if line.startswith(FORMULA) else line
