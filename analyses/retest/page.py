"""The page of verdicts: the table first, then a section a claim; the same as JSON and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from analyses import figures
from analyses.findings.record import Finding
from analyses.reporting.exports import escape_latex
from analyses.reporting.page import INVISIBLE, page_environment
from analyses.reporting.pictures import Picture, Studio
from analyses.reporting.sections.arrangement import anchor
from analyses.retest.claims import Claim
from analyses.retest.judgements import OUTCOMES, Judgement, forest

PAGE, TABLE, LATEX = "retest.html", "retest.json", "retest.tex"
REPORT: Final = "report/report.html"
LONGEST_SENTENCE: Final = 160


class Section(NamedTuple):
    """One claim on the page.

    Attributes:
        claim: which.
        rows: its judgement of every model.
        picture: its answers; None where there is none.
    """

    claim: Claim
    rows: list[Judgement]
    picture: Picture | None


def write_page(judgements: Sequence[Judgement], out: Path, *, command: str, notes: Sequence[str]) -> Path:
    """Write ``retest.html``, ``retest.json``, ``retest.tex`` and the figures.

    Args:
        judgements: a row for every claim and model.
        out: the folder.
        command: what gives the page again.
        notes: what a reader must know first: time, what is still to be run.
    """
    studio = Studio(out / "figures")
    by_claim: dict[str, list[Judgement]] = {}
    for row in judgements:
        by_claim.setdefault(row.claim.name, []).append(row)
    sections = [_section(rows, studio) for rows in by_claim.values()]
    studio.close()
    has_report = (out / REPORT).exists()
    content = {
        "models": list(dict.fromkeys(row.model for row in judgements)),
        "sections": sections,
        "counts": [(verdict, sum(row.verdict == verdict for row in judgements)) for verdict in OUTCOMES],
        "n": len(judgements),
        "command": command,
        "notes": list(notes),
        "link": partial(_link, has_report=has_report),
        "report": REPORT if has_report else "",
    }
    text = page_environment().get_template("retest.html.j2").render(content)
    (out / PAGE).write_text(INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text), encoding="utf-8")
    lines = (json.dumps(row.to_json(), allow_nan=False) for row in judgements)
    (out / TABLE).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    (out / LATEX).write_text(to_latex(judgements), encoding="utf-8")
    return out / PAGE


def to_latex(judgements: Sequence[Judgement]) -> str:
    """The verdict table with booktabs: a row a claim and model."""
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{p{.4\linewidth}llll}",
        r"\toprule",
        r"claim & model & verdict & estimate [95\,\%] & items \\",
        r"\midrule",
    ]
    for row in judgements:
        items = f"{sum(finding.n for finding in row.findings):,}" if row.findings else ""
        cells = (row.claim.sentence, row.model, row.verdict, row.numbers, items)
        lines.append(" & ".join(escape_latex(cell, LONGEST_SENTENCE) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _section(rows: list[Judgement], studio: Studio) -> Section:
    claim, plot = rows[0].claim, forest(rows)
    if plot is None:
        return Section(claim, rows, None)
    caption = f"{claim.sentence[:-1]}: every pre-stated answer, with 95 % intervals. {plot.x[:1].upper()}{plot.x[1:]}."
    picture = studio.draw(f"claim-{claim.name}", partial(figures.forest, plot), label=caption, caption=caption)
    return Section(claim, rows, picture)


def _link(finding: Finding, *, has_report: bool) -> str:
    """The link to the section of the report that carries an answer; empty where there is no report."""
    return f"{REPORT}#{anchor(finding)}" if has_report else ""
