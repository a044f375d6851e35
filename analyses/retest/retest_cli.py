"""The command ``sparsity retest``, and the list of claims."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from probes.commands.console import duration, err, out, telling
from probes.errors import InputError

DEFAULT: Final = "lab-graded"


def claims_table() -> Table:
    """Claims of the compression view: what decides each, and what it costs for a shipped and for a real model."""
    from analyses.findings.registry import ANALYSES
    from analyses.retest.claims import CLAIMS
    from analyses.retest.trials import TRIALS, model_of

    small, large = model_of(DEFAULT, ""), model_of("a model of 135 million weights", "")
    table = Table("claim", "what is said", "source", "question", "lab-graded", "135 M weights")
    for claim in CLAIMS:
        asked = [name if name in ANALYSES else f"{name} (not installed)" for name in claim.questions]
        prices: list[str] = []
        for model in (small, large):
            own = [trial for name in claim.trials if not (trial := TRIALS[name]).refused(model)]
            prices.append(duration(sum(trial.price(model) for trial in own)) if own else "cannot be asked")
        table.add_row(claim.name, claim.sentence, claim.source, ", ".join(asked), *prices)
    return table


def retest(
    models: Annotated[
        list[str] | None, typer.Argument(help="Folders or hub names of models; lab-graded is shipped.")
    ] = None,
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder of all tables and the page; the same call goes on in it.")
    ] = Path("retest"),
    budget: Annotated[float, typer.Option(min=0, help="Minutes; what does not fit is listed as not run.")] = 10.0,
    claims: Annotated[
        list[str] | None, typer.Option("--claim", help="Only this claim (`sparsity list claims`). May be repeated.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items per level of every sweep, instead of what each trial takes.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="English texts, one a line or record; by default Python's help.")
    ] = None,
) -> None:
    """Test which claims of the compression view hold on your models, and write one page of verdicts.

    Small trials run first. After an interruption the same command goes on; what is there already is not run again.
    """
    from analyses.retest.claims import named
    from analyses.retest.conduct import conduct

    asked = named(claims or ())
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir} is a file: name a folder")
    names = list(dict.fromkeys(models or [DEFAULT]))
    words = ["sparsity", "retest", *names, "--out", str(out_dir), "--budget", f"{budget:g}"]
    words += [word for claim in claims or () for word in ("--claim", claim)]
    words += ["--texts", str(texts)] if texts is not None else []
    words += ["--limit", str(limit)] if limit is not None else []

    def say(text: str) -> None:
        err().print(text, markup=False, soft_wrap=True)

    with telling(err()) as progress:
        page = conduct(
            names,
            asked,
            out_dir,
            minutes=budget,
            texts=texts,
            limit=limit,
            command=shlex.join(words),
            say=say,
            progress=progress,
        )
    table = Table("claim", *page.models, title="verdicts")
    for name, verdicts in page.verdicts.items():
        table.add_row(name, *verdicts)
    out().print(table)
    for note in page.notes:
        out().print(note, soft_wrap=True)
    out().print(f"page: {page.path}", soft_wrap=True)
