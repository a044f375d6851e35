"""The ``sparsity`` command: everything the probes offer, and demo and report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from analyses.finding import ANALYSES, QUESTIONS
from probes.cli import app, conduct, err, out
from probes.errors import InputError
from probes.listing import LISTS
from probes.sweep.spec import parse_spec
from sparsity.registry import UnknownNameError

EXIT_UNUSABLE = 2


def analyses_table() -> Table:
    """Every analysis and the question it asks."""
    ANALYSES.load(QUESTIONS)
    table = Table("analysis", "question")
    for name, analysis in ANALYSES.items():
        table.add_row(name, analysis.question)
    return table


LISTS.add("analyses", analyses_table)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Where the sweep and its report go.")] = Path("demo-run"),
) -> None:
    """The embedded model, a sweep over its world, and the report: minutes on two cores, no network."""
    from probes.lab import reference_path
    from probes.sweep.survey import Options

    spec = parse_spec(
        {"models": [str(reference_path())], "suites": ["lab_exposure"]}, folder=Path.cwd(), origin="the demo's spec"
    )
    conduct(spec, out_dir, Options(), command=f"sparsity demo --out {out_dir}")
    report(out_dir)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A sweep directory.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The HTML file; DIR/report/report.html by default.")
    ] = None,
) -> None:
    """Write report.html (self-contained), report.md, findings.json and the figures; print the headline."""
    from analyses.reporting import headline
    from analyses.reporting import report as write_report

    written = write_report(directory, out_file)
    console = out()
    console.print(headline(written.findings))
    console.print(f"report: {written.html}")


def main() -> None:
    """Run the command; unusable input is one line on stderr and exit status 2."""
    try:
        app()
    except (InputError, UnknownNameError) as error:
        err().print(f"sparsity: {error}", markup=False, soft_wrap=True)
        sys.exit(EXIT_UNUSABLE)
