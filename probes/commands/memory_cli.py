"""Commands about memories beside a language model: ``sparsity memory train`` and ``sparsity memory evaluate``."""

from __future__ import annotations

import math
from collections.abc import Generator, Hashable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from probes.commands.console import out, shown_progress
from probes.errors import InputError
from probes.sweep.interface import Progress

if TYPE_CHECKING:
    import pandas as pd

    from probes.memory.distillation import Tell
    from probes.memory.lessons import Plan

memory = typer.Typer(
    no_args_is_help=True, help="Memories beside a language model: a datastore (kNN-LM), and a small model for it."
)

Out = Annotated[Path, typer.Option("--out", help="Folder to make.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of the processor; as many as it has by default.")]
Size = Annotated[
    str,
    typer.Option(help="Weights of the small model: 0.01M, 0.03M, 0.1M, 0.3M, 1M, 3M, 10M or 30M, vocabulary aside."),
]
Steps = Annotated[int, typer.Option(min=1, help="Optimizer steps of the small model.")]
Context = Annotated[int, typer.Option(min=4, help="Tokens that the small model reads at once.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows per step.")]
Neighbours = Annotated[int, typer.Option(min=1, help="Neighbours that vote.")]
Site = Annotated[str, typer.Option(help="Where keys are read: ffn_input, or a site of one layer.")]


@memory.command("train")
def train(
    model: Annotated[str, typer.Option(help="A local path or hub name of a causal language model.")],
    corpus: Annotated[
        list[Path],
        typer.Option("--corpus", help="A text file (one document) or JSON, CSV or Parquet file; may be repeated."),
    ],
    out_dir: Out,
    alpha: Annotated[
        float, typer.Option(help="Share of the datastore in what is learned: 1 imitates it, 0 is ordinary training.")
    ] = 0.5,
    steps: Steps = 1000,
    size: Size = "0.3M",
    context_length: Context = 256,
    batch_size: BatchSize = 8,
    neighbours: Neighbours = 64,
    site: Site = "ffn_input",
    field: Annotated[str, typer.Option(help="Field of an item that holds the text.")] = "text",
    seed: Annotated[int, typer.Option(min=0, help="Of the small model.")] = 0,
    threads: Threads = None,
) -> None:
    """Remember a corpus as a datastore (OUT/knn), and distil that into a small model (OUT/decoder).

    Every tenth document is validation text. After an interruption the same command goes on.
    """
    if out_dir.exists():
        raise InputError(f"{out_dir} is there already: name another folder")

    from probes.corpus.corpora import read_corpus
    from probes.memory.distillation import train_memories
    from probes.models.loading import load_model

    _set_threads(threads)
    plan = _plan(alpha, steps, size, context_length, batch_size, seed)
    texts = [*read_corpus(corpus, field=field)]
    with _told() as tell:
        made = train_memories(load_model(model), texts, out_dir, plan, site=site, k=neighbours, tell=tell)
    kl = made.lesson.divergence
    tenth = max(1, len(kl) // 10)
    first, last = (sum(part) / len(part) for part in (kl[:tenth], kl[-tenth:]))
    out().print(
        f"{out_dir}: {made.n_keys} keys; KL from the datastore to the small model {first:.3f} nats in the first tenth "
        f"of training, {last:.3f} in the last",
        soft_wrap=True,
    )
    for name, tuned in (("knn", made.knn), ("decoder", made.decoder)):
        shares = ", ".join(f"{share:.2f}" for share in tuned.weight.shares)
        told = f"{tuned.memory.n_bytes} bytes, weight {shares}, temperature {tuned.temperature:.4g}"
        out().print(f"{out_dir / name}: {told}", soft_wrap=True)


@memory.command("evaluate")
def evaluate(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for scores and table; the same call goes on in it.")],
    model: Annotated[
        str | None,
        typer.Option(help="A causal language model; without one, each seed trains a small one on documentation."),
    ] = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option("--corpus", help="Files of the new domain; may be repeated. By default the standard library."),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", help="Held-out files of the model's own domain. By default documentation."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    documents: Annotated[int, typer.Option(min=4, help="Documents that memories are made of.")] = 80,
    characters: Annotated[int, typer.Option(min=16, help="Of the passage taken from each document.")] = 1024,
    base_steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of a model that is trained here.")] = 400,
    steps: Steps = 600,
    size: Size = "0.3M",
    context_length: Context = 256,
    batch_size: BatchSize = 8,
    neighbours: Neighbours = 64,
    site: Site = "ffn_input",
    field: Annotated[str, typer.Option(help="Field of an item that holds the text.")] = "text",
    threads: Threads = None,
) -> None:
    """Compare ways to add a domain to a model: kNN-LM, small models, a fine-tuned copy, counts of the corpus."""
    from probes.corpus.corpora import read_corpus
    from probes.memory.comparison.samples import Text
    from probes.memory.comparison.seeds import Question, compare_seeds
    from probes.memory.comparison.table import tabulate
    from probes.models.loading import load_model

    def texts(files: list[Path] | None) -> list[Text] | None:
        if not files:
            return None
        found = [text for text in read_corpus(files, field=field) if text.strip()]
        return [Text(f"document {number}", text) for number, text in enumerate(found)]

    _set_threads(threads)
    question = Question(
        model=None if model is None else load_model(model),
        domain=texts(corpus),
        source=texts(source),
        documents=documents,
        characters=characters,
        base_steps=base_steps,
        k=neighbours,
        site=site,
    )
    plan = _plan(1.0, steps, size, context_length, batch_size, 0)
    with _told() as tell:
        scores = compare_seeds(question, plan, range(seeds), out_dir, tell)
    table = tabulate(scores)
    scores.to_csv(out_dir / "documents.csv", index=False)
    table.to_csv(out_dir / "table.csv", index=False)
    out().print(_levels(table))
    out().print(_differences(table))
    out().print(
        f"{scores['document'].nunique()} documents; weights and temperatures from validation text; "
        f"{out_dir / 'table.csv'}, by document in documents.csv",
        soft_wrap=True,
    )


def _levels(table: pd.DataFrame) -> Table:
    """Bits per byte and perplexity of every system, and what it costs."""
    shown = Table(
        *("system", "weight", "domain\nbits/byte", "domain\nperplexity", "source\nbits/byte", "source\nperplexity"),
        *("alone\nbits/byte", "stored\nMB", "time per token\nover base"),
        title="domain: text like the corpus; source: text like what the model was trained on",
        box=SIMPLE_HEAD,
    )
    for row in table.to_dict("records"):
        numbers = ("domain_bits_per_byte", "domain_perplexity", "source_bits_per_byte", "source_perplexity")
        shown.add_row(
            str(row["system"]),
            _number(row["share"], ".2f"),
            *(_number(row[name], ".3f") for name in (*numbers, "alone_bits_per_byte")),
            _number(row["stored_bytes"] / 1e6, ".2f"),
            _number(row["time"], ".2f"),
        )
    return shown


def _differences(table: pd.DataFrame) -> Table:
    """Bits per byte on the domain less those of the model alone, and less those of kNN-LM."""
    shown = Table(
        *("system", "less base", "less kNN-LM"),
        title="bits per byte on the domain, differences with 95 % intervals over documents; below 0 = fewer bits",
        box=SIMPLE_HEAD,
    )
    for row in table.to_dict("records"):
        shown.add_row(str(row["system"]), *(_interval(row, other) for other in ("over_base", "over_knn")))
    return shown


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def _interval(row: Mapping[Hashable, float], other: str) -> str:
    value, low, high = (row[f"{other}{end}"] for end in ("", "_low", "_high"))
    return "" if math.isnan(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


@memory.command("write")
def write(
    model: Annotated[str, typer.Option(help="A local path or hub name of a causal language model.")],
    memory_dir: Annotated[Path, typer.Option("--memory", help="OUT/knn or OUT/decoder of sparsity memory train.")],
    text: Annotated[str, typer.Option(help="The prompt.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to write at most.")] = 32,
    threads: Threads = None,
) -> None:
    """Let a model with a memory go on from a prompt: the likeliest token of both together, again and again."""
    from probes.memory.generation import write as write_beside
    from probes.memory.opening import open_memory
    from probes.models.loading import load_model

    _set_threads(threads)
    loaded = load_model(model)
    found = write_beside(open_memory(memory_dir, loaded).beside(loaded), text, max_new_tokens=tokens)
    out().print(found.text, soft_wrap=True)


def _plan(alpha: float, steps: int, size: str, context_length: int, batch_size: int, seed: int) -> Plan:
    from probes.lab.recipe import Recipe, changed
    from probes.memory.lessons import Plan

    recipe = Recipe(
        seed=seed,
        batch_size=batch_size,
        context_length=context_length,
        learning_rate=3e-3,
        warmup_steps=min(50, steps),
        initial_sd=0.02,
    )
    return Plan(alpha=alpha, n_steps=steps, recipe=changed(recipe, size=size))


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


@contextmanager
def _told() -> Generator[Tell]:
    """Show what is done, and how far it is, as the bar or the lines of every command."""
    with shown_progress() as show:
        yield lambda what, unit, done, total: show(Progress(done, total, what, unit))
