"""``sparsity density``: share of an MLP's neurons that a model can do without, and what that costs in perplexity."""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from probes.commands.console import out, shown_progress
from probes.errors import InputError
from probes.sweep.interface import Progress
from probes.vocabulary.prompt import Prompt

ERRORS = "0.05 0.1 0.2 0.3 0.4"


def density(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a model; lab-reference is shipped.")],
    texts: Annotated[
        Path,
        typer.Option(help="Text file (passages between empty lines), or JSON Lines, CSV, Parquet (a text per item)."),
    ],
    field: Annotated[str, typer.Option(help="Field that holds the text of an item.")] = "text",
    errors: Annotated[
        str, typer.Option(help="Relative errors of each MLP's output at which its smallest neurons are cut.")
    ] = ERRORS,
    loss: Annotated[float, typer.Option(min=0.0, help="Growth of perplexity that is allowed, as a share.")] = 0.01,
    limit: Annotated[int, typer.Option(min=1, help="Most passages.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=2, help="Cut passages to this many tokens.")] = 128,
    out_file: Annotated[Path | None, typer.Option("--out", help="Also write the curve to this JSON file.")] = None,
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="Load weights as float32, bfloat16 or float16; by default as they are stored.")
    ] = None,
) -> None:
    """Print perplexity against the share of neurons cut from every MLP, and the share at which it costs too much."""
    from probes.capture.prompts import encode
    from probes.interventions.tails import critical_sparsity, density_curve, mlp_sites
    from probes.models.loading import load_model
    from probes.models.templates import PromptError

    grid = _grid(errors)
    passages = _passages(texts, field, limit)
    loaded = load_model(model, device=device, dtype=dtype)
    n_layers = len(mlp_sites(loaded))
    prompts: list[Prompt] = []
    for passage in passages:
        try:
            prompts.append(encode(loaded, passage, max_tokens=max_tokens))
        except PromptError as error:
            raise InputError(f"{texts}: a passage cannot be read: {error}") from None
    with shown_progress() as tell:
        curve = density_curve(
            loaded, prompts, grid, lambda done, of: tell(Progress(done, of, loaded.name, unit="steps"))
        )
    n_tokens = sum(len(prompt.content) for prompt in prompts)
    table = Table(
        title=f"{loaded.name}: {n_layers} MLPs, {len(prompts)} passages, {n_tokens} tokens predicted", box=SIMPLE_HEAD
    )
    for name in ("error of each MLP, at most", "neurons cut", "perplexity", "growth"):
        table.add_column(name, justify="right")
    for cut in curve:
        growth = cut.perplexity / curve[0].perplexity - 1
        table.add_row(f"{cut.error:g}", f"{cut.sparsity:.3f}", f"{cut.perplexity:.3f}", f"{growth:+.2%}")
    out().print(table)
    found = critical_sparsity(curve, loss)
    out().print(_said(found, loss, curve[-1].sparsity), soft_wrap=True)
    if out_file is not None:
        points = [{**cut._asdict(), "perplexity": cut.perplexity} for cut in curve]
        critical = None if math.isnan(found) else found
        told = {"model": loaded.name, "fingerprint": loaded.fingerprint, "texts": str(texts), "tokens": n_tokens}
        out_file.write_text(
            json.dumps({**told, "loss": loss, "critical_sparsity": critical, "curve": points}, indent=1)
        )


def _said(found: float, loss: float, most: float) -> str:
    if math.isnan(found):
        return f"perplexity never grows by {loss:.0%} up to {most:.3f} of the neurons; give larger --errors"
    return (
        f"critical sparsity at {loss:.0%} growth of perplexity: {found:.3f} of the neurons (between two errors: linear)"
    )


def _grid(text: str) -> list[float]:
    try:
        found = sorted({float(word) for word in text.replace(",", " ").split()})
    except ValueError:
        raise InputError(f"--errors should be numbers between 0 and 1 and is {text!r}") from None
    if not found or not all(0 < error < 1 for error in found):
        raise InputError(f"--errors should be numbers between 0 and 1 and is {text!r}")
    return found


def _passages(path: Path, field: str, limit: int) -> list[str]:
    """The first passages of a file: its items, or what stands between empty lines of a text."""
    from probes.corpus import read_corpus
    from probes.suites.sources.formats import format_of

    documents = read_corpus([path], field=field)
    if format_of(path) == "text":
        documents = (passage for document in documents for passage in document.split("\n\n"))
    found = list(islice((one.strip() for one in documents if len(one.split()) > 1), limit))
    if not found:
        raise InputError(f"{path} has no passage of two words or more")
    return found
