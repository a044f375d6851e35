"""The command ``sparsity lab fine-tune``: a copy of a model, trained on texts of yours, to be measured beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probes.commands.console import out, shown_progress
from probes.sweep.interface import Progress


def fine_tune(
    model: Annotated[str, typer.Argument(help="A local path or hub name of a causal language model.")],
    texts: Annotated[
        list[Path],
        typer.Option("--texts", help="A text file (one document) or JSON, CSV or Parquet file; may be repeated."),
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps (AdamW).")] = 200,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows per step.")] = 8,
    context_length: Annotated[int, typer.Option(min=4, help="Tokens of a window.")] = 128,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="Reached after a tenth of the steps; falls to 0 at the end.")
    ] = 1e-4,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of windows, which is all the chance there is.")] = 0,
    field: Annotated[str, typer.Option(help="Field of an item that holds the text.")] = "text",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train a copy of a model on your own texts, to be swept beside the model: which states does tuning change?

    The model is not changed. After an interruption the same command goes on and ends with the same weights.
    """
    import torch

    from probes.corpus.corpora import read_corpus
    from probes.lab.recipe import Recipe
    from probes.memory.fine_tuning import fine_tune as make_copy
    from probes.memory.lessons import Plan

    torch.set_num_threads(threads)
    recipe = Recipe(
        seed=seed,
        batch_size=batch_size,
        context_length=context_length,
        learning_rate=learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    plan = Plan(alpha=0.0, n_steps=steps, recipe=recipe)
    read = [*read_corpus(texts, field=field)]
    with shown_progress() as show:
        made = make_copy(
            model, read, out_dir, plan, lambda done, total: show(Progress(done, total, str(out_dir), "steps"))
        )
    first, last = made.ends()
    out().print(
        f"{out_dir}: {len(read)} texts read {made.epochs:.2f} times; loss {first:.3f} nats per token in the first "
        f"tenth of the steps, {last:.3f} in the last",
        soft_wrap=True,
    )
    out().print(f"next, in a spec:  models: [{model}, {out_dir}]", markup=False, soft_wrap=True)
