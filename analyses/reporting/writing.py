"""The report of one or several sweeps: ask every question that their suites pose, arrange, write the files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analyses.data.runs import Run, once
from analyses.findings.record import Finding, Scope
from analyses.findings.registry import ANALYSES, analyse
from analyses.reporting.exports import SCHEMA, to_csv, to_json, to_latex
from analyses.reporting.inventory import Inventory, take_inventory
from analyses.reporting.losses import warnings
from analyses.reporting.opening import open_all, sweep_again
from analyses.reporting.page import INVISIBLE, page_environment
from analyses.reporting.pictures import Format, Progress, Studio, quiet
from analyses.reporting.sections.answers import answers, signs_picture
from analyses.reporting.sections.arrangement import answer_picture, arrange, contents
from analyses.reporting.sections.caveats import caveats
from analyses.reporting.sections.headline import leads, sentences
from analyses.reporting.sections.models import compare
from analyses.reporting.sections.outliers import take_outliers
from analyses.reporting.sections.tokens import token_views
from analyses.reporting.selection import select
from analyses.statistics.trend import RESAMPLES
from probes.errors import InputError
from sparsity import METRICS, MetricSpec, UnknownNameError

Directories = str | Path | Sequence[str | Path]


class Report(NamedTuple):
    """Paths of what was written.

    Attributes:
        html: the page.
        findings: all of them, single cells included.
        notes: what a reader must know of the files: what was left out, characters that no font has.
    """

    html: Path
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def report(
    path: Directories,
    out: str | Path | None = None,
    *,
    figures: Sequence[Format] = (),
    progress: Progress = quiet,
) -> Report:
    """Write the report of a sweep directory, or of several side by side, and of folders of `sparsity learning-law`.

    Beside the page lie ``report.md``, ``findings.json`` (what a person reads; its fields are described in
    ``findings.schema.json``), ``findings.csv`` (every finding, a row each), ``findings.tex`` and ``figures/``. A sweep
    that cannot answer a question (one level, a measure undefined throughout, tables of another version) still gets its
    report, which says what is missing and why.

    Args:
        path: the directory, or several; a model that two sweeps measured is named by its sweep too.
        out: the HTML file; by default ``report/report.html`` in the (first) sweep directory.
        figures: formats of figure files beside SVG: ``pdf`` (text as text, fonttype 42), ``png`` (200 dpi).
        progress: told in a few words what is done next.

    Returns:
        Path of the HTML file and the findings.

    Raises:
        InputError: if a path is no sweep directory, or two sweeps know different items by one name.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    if not paths:
        raise InputError("no sweep directory to report on; give at least one")
    page = Path(out) if out is not None else paths[0] / "report" / "report.html"
    opened = open_all(paths)
    words = ["sparsity", "report", *map(str, paths), *(["--out", str(out)] if out is not None else [])]
    return write_report(
        opened.run, page, directories=[str(one) for one in paths], command=shlex.join(words), notes=opened.notes,
        again=opened.again, figures=figures, progress=progress,
    )  # fmt: skip


def write_report(
    run: Run,
    page: Path,
    *,
    directories: Sequence[str],
    command: str,
    notes: Sequence[str] = (),
    again: Sequence[str] | None = None,
    figures: Sequence[Format] = (),
    progress: Progress = quiet,
) -> Report:
    """Write the report of tables that are already open.

    Args:
        run: the tables.
        page: the HTML file; everything else goes beside it.
        directories: where the tables lie, for the page's title and its commands.
        command: what gives this report again.
        notes: what had to be left out while opening.
        again: commands that make the tables again; by default those that sweep every directory again.
        figures: formats of figure files beside SVG.
        progress: told in a few words what is done next.
    """
    studio = Studio(page.parent / "figures", figures)
    run = once(run)
    findings = ask(run, command, progress)
    inventory = take_inventory(run)
    stated = leads(findings)
    sections, silences = arrange(findings, run, studio, progress)
    picture = signs_picture(stated, findings, studio) or answer_picture(sections, stated)
    comparisons, outliers, items = compare(findings, studio), take_outliers(run, studio), token_views(run, studio)
    told = [*notes, *([studio.missing_font()] if studio.boxes else [])]
    content = {
        "name": ", ".join(Path(directory).resolve().name for directory in directories),
        "command": command,
        "headline": sentences(findings),
        "answers": answers(stated, findings),
        "answer_picture": picture,
        "outliers": outliers,
        "warnings": warnings(inventory.losses),
        "comparisons": comparisons,
        "sections": sections,
        "silences": silences,
        "contents": contents(sections),
        "items": items,
        "inventory": inventory,
        "notes": told,
        "caveats": caveats(findings, inventory),
        "metrics": metric_records(inventory),
        "n_findings": len(findings),
        "again": list(map(sweep_again, directories) if again is None else again),
        "opened": repr(directories[0]) if len(directories) == 1 and inventory.runs else "",
        "resamples": RESAMPLES,
    }
    studio.close()
    environment = page_environment()
    for template, file in (("report.html.j2", page), ("report.md.j2", page.parent / "report.md")):
        text = environment.get_template(template).render(content)
        file.write_text(INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text), encoding="utf-8")
    write_tables(findings, page.parent)
    return Report(page, tuple(findings), tuple(told))


def ask(run: Run, command: str, progress: Progress = quiet) -> list[Finding]:
    """Every registered question; one that the tables cannot be read for is answered by the reason."""
    findings: list[Finding] = []
    for number, name in enumerate(ANALYSES, 1):
        progress(f"question {number} of {len(ANALYSES)}: {name}")
        try:
            findings += analyse(run, name, reproduce=command)
        except InputError as error:
            question = ANALYSES[name].question
            findings.append(Finding(analysis=name, question=question, scope=Scope(), text=f"Not answered: {error}."))
    return findings


def write_tables(findings: Sequence[Finding], folder: Path) -> None:
    """``findings.json`` with its schema, ``findings.csv`` and ``findings.tex``."""
    selection = select(findings)
    (folder / "findings.json").write_text(to_json(selection.told), encoding="utf-8")
    (folder / SCHEMA.name).write_text(SCHEMA.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "findings.csv").write_text(to_csv(selection), encoding="utf-8", newline="")
    (folder / "findings.tex").write_text(to_latex(findings), encoding="utf-8")


def metric_records(inventory: Inventory) -> list[tuple[str, Any]]:
    """The records of the measures in a sweep, for the methods; one that this version does not know is left out."""
    found: list[tuple[str, Any]] = []
    for text in inventory.metrics:
        try:
            found.append((text, METRICS[MetricSpec.parse(text).name]))
        except (UnknownNameError, ValueError):
            continue
    return found
