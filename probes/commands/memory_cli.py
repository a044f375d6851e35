"""Commands about memories beside a language model: ``sparsity memory train`` and ``sparsity memory evaluate``."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.commands.console import out, shown_progress
from probes.errors import InputError
from probes.sweep.interface import Progress

if TYPE_CHECKING:
    from probes.memory.distillation import Tell
    from probes.memory.lessons import Plan

memory = typer.Typer(
    no_args_is_help=True, help="Memories beside a language model: a datastore (kNN-LM), and a small model for it."
)

Out = Annotated[Path, typer.Option("--out", help="Folder to make.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of the processor; as many as it has by default.")]
Size = Annotated[str, typer.Option(help="Weights of the small model: 0.3M, 1M, 3M, 10M or 30M, vocabulary aside.")]
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
    """What is done, and how far it is, as the bar or the lines of every command."""
    with shown_progress() as show:
        yield lambda what, unit, done, total: show(Progress(done, total, what, unit))
