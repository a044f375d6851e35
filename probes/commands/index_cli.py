"""Commands about a training corpus: ``sparsity index build`` and ``sparsity index query``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

index = typer.Typer(
    no_args_is_help=True, help="Index a corpus, and look up how often it contains the pieces of a text."
)

SHORTEST = {"bytes": 12, "tokens": 4}  # some two English words; shorter is familiar to a corpus of any size


@index.command("build")
def build(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to create for the index.")],
    corpus: Annotated[
        list[Path] | None,
        typer.Argument(help="Text files (one document each), or JSON, CSV or Parquet files (one document per item)."),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(help="Instead of files: a data set of the Hugging Face hub, or a directory of data files."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of the hub data set.")] = None,
    split: Annotated[str, typer.Option(help="Split of the hub data set.")] = "train",
    revision: Annotated[str | None, typer.Option(help="Commit of the hub data set.")] = None,
    field: Annotated[str, typer.Option(help="Field that holds the text.")] = "text",
    name: Annotated[str, typer.Option(help="Name of the corpus in tables.")] = "corpus",
    tokenizer: Annotated[
        str | None, typer.Option(help="Index tokens of this model's tokenizer; without it bytes.")
    ] = None,
) -> None:
    """Build an index of a corpus, by bytes or by the tokens of a model."""
    from probes.corpus import Tokens, build_index, read_corpus, read_dataset
    from probes.errors import InputError
    from probes.models.loading import load_model
    from probes.suites.sources.hub import HubSource

    if bool(corpus) == bool(hub):
        raise InputError("a corpus is files or --hub NAME: give one of them")
    faults: list[str] = []
    texts = (
        read_dataset(
            HubSource(hub=hub, config=config, hub_split=split, revision=revision, streaming=True),
            field=field,
            on_fault=faults.append,
        )
        if hub
        else read_corpus(corpus or (), field=field, on_fault=faults.append)
    )
    own = None if tokenizer is None else load_model(tokenizer).tokenizer
    alphabet = None if own is None else Tokens(own)
    built = build_index(texts, alphabet=alphabet, name=name, out=out_dir)
    left_out = f", {len(faults)} items left out, the first because {faults[0]}" if faults else ""
    Console(highlight=False).print(
        f"{out_dir}: {built.n_documents} documents, {built.n_symbols} symbols{left_out}", soft_wrap=True, markup=False
    )


@index.command("query")
def query(
    folder: Annotated[Path, typer.Argument(help="Folder of an index.")],
    text: Annotated[str, typer.Argument(help="The text to look up.")],
    shortest: Annotated[
        int | None,
        typer.Option(
            min=1, help="Shortest span that is reported, in bytes or tokens; by default 12 bytes or 4 tokens."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Model whose tokens were indexed, for an index of tokens.")
    ] = None,
) -> None:
    """Print the spans of a text that occur in the corpus, with their number of occurrences and documents."""
    from probes.corpus import Bytes, highlight, open_index
    from probes.corpus.engines import Engine
    from probes.corpus.matching import match_ahead
    from probes.errors import InputError
    from probes.models.loading import load_model

    opened = open_index(folder, tokenizer=None if tokenizer is None else load_model(tokenizer).tokenizer)
    if isinstance(opened, Engine):
        raise InputError(
            f"{folder} is a corpus of another program; query needs a folder that `sparsity index build` made"
        )
    ids = opened.ids(text)
    if not len(ids):
        raise InputError("there is no text to look up")
    unit = "bytes" if opened.identity == Bytes().identity else "tokens"
    least = shortest or min(SHORTEST[unit], len(ids))
    console = Console(highlight=False)
    spans = highlight(opened, text, shortest=least)
    shown = Text()
    for span in spans:
        shown.append(text[span.start : span.end], style="bold green" if span.n_occurrences else "dim")
    console.print(shown)
    for span in spans:
        if span.n_occurrences:
            line = f"{span.n_occurrences:>8} times in {span.n_documents} documents: {text[span.start : span.end]!r}"
            console.print(line, markup=False, soft_wrap=True)
    familiar = sum(span.n_symbols for span in spans if span.n_occurrences)
    console.print(
        f"{familiar} of {len(ids)} {unit} stand in spans of {least} {unit} or more that the corpus holds (--shortest); "
        f"its longest match is {int(match_ahead(opened, ids).max())} {unit}",
        soft_wrap=True,
    )
