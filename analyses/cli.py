"""The ``sparsity`` command: everything the probes offer, and demo and report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from analyses.retest.retest_cli import claims_table, retest
from probes.cli import app, at_the_edge, typed
from probes.commands.console import err, out, telling
from probes.commands.listing import LISTS
from probes.commands.sweep_cli import conduct

EXIT_MOVED = 1
MOST_MOVED = 40  # rows of a table that a person reads


class FigureFormat(StrEnum):
    """Formats in which figures can be written beside SVG."""

    pdf = "pdf"
    png = "png"


def analyses_table() -> Table:
    """Every analysis and the question it asks."""
    from analyses.findings.registry import ANALYSES

    table = Table("analysis", "question")
    for name, analysis in ANALYSES.items():
        table.add_row(name, analysis.question)
    return table


LISTS.add("analyses", analyses_table)
LISTS.add("claims", claims_table)
app.command()(retest)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Directory for the sweep and its report.")] = Path("demo-run"),
) -> None:
    """Sweep a small embedded model and write the report: about a minute on two cores, without network."""
    from probes.lab import reference_path
    from probes.sweep.interface import Options
    from probes.sweep.spec import parse_spec

    spec = parse_spec(
        {"models": [str(reference_path())], "suites": ["lab_exposure"]}, folder=Path.cwd(), origin="the demo's spec"
    )
    conduct(spec, out_dir, Options(), command=f"sparsity demo --out {out_dir}")
    report([out_dir])


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(help="One sweep directory, or several to compare.")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="HTML file to write; by default report/report.html in the first directory."),
    ] = None,
    figures: Annotated[
        list[FigureFormat] | None,
        typer.Option("--figures", help="Also write figures in this format: pdf or png. May be repeated."),
    ] = None,
) -> None:
    """Write the report of a sweep and print its headline.

    Beside report.html (self-contained): report.md, the findings as JSON, CSV and LaTeX, and every figure.
    """
    from analyses.reporting import headline
    from analyses.reporting import report as write_report

    with telling(err()) as progress:
        written = write_report(
            directories, out_file, figures=[chosen.value for chosen in figures or []], progress=progress
        )
    for note in written.notes:
        err().print(note, markup=False, soft_wrap=True)
    console = out()
    console.print(headline(written.findings))
    console.print(f"report: {written.html}")


@app.command("diff")
def diff(
    first: Annotated[Path, typer.Argument(help="A sweep directory.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Compare two sweeps: what was made differently, and which numbers differ by more than rounding.

    Numbers are paired by item, site, position and metric; a difference is |b - a| over the larger of the two. Rounding
    alone makes it up to 1e-6 with the same batches on one machine. Between machines, batches or attention kernels the
    model's own forward pass differs: up to 1e-5 is allowed there. Measures of fourth powers may move four times as far.
    The last line says which bound was used and why.

    Exit status: 0 no number moved; 1 some moved; 2 unusable input.
    """
    from analyses.data.differences import compare
    from analyses.data.panels import place

    found = compare(first, second)
    facts = Table("provenance", str(first), str(second), title="made differently" if found.facts else "made alike")
    for fact in found.facts:
        facts.add_row(fact.name, str(fact.first), str(fact.second))
    out().print(facts)
    if found.moved:
        moved = Table(
            "suite", "place", "position", "metric", "items", "moved", "largest", "mean change", "95 % interval"
        )
        for one in found.moved[:MOST_MOVED]:
            moved.add_row(
                one.suite,
                place(one.site, one.layer),
                one.position,
                one.metric,
                str(one.n_items),
                str(one.n_moved),
                f"{one.largest:.1e}",
                f"{one.mean:+.2e}",
                f"[{one.low:+.2e}, {one.high:+.2e}]",
            )
        out().print(moved)
    out().print(
        f"{found.n_compared} numbers in both, {found.only_first} in the first alone, {found.only_second} in the other; "
        f"{len(found.moved)} measures moved by more than rounding may\n{found.bound}",
        soft_wrap=True,
    )
    if found.moved:
        raise typer.Exit(EXIT_MOVED)


def main() -> None:
    """Run the command; whatever goes wrong is one line on stderr and an exit status (`probes.cli`)."""
    at_the_edge(typed)
