"""Commands about the laboratory: ``sparsity lab train``, ``world``, ``text``, ``learner``, ``arms``, ``twins`` ..."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from probes.errors import InputError

if TYPE_CHECKING:
    from probes.lab.paired_table import Twin

lab = typer.Typer(no_args_is_help=True, help="Laboratory: small models whose training data are known exactly.")

FILE_WIDTH = 160  # columns of a table that goes to a file or a pipe
EXIT_INTERRUPTED = 130
SHOWN = 8

Out = Annotated[Path, typer.Option("--out", help="Directory to create.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; the shipped weights were made with 1.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Data and schedule: reference, graded, small or tiny.")]
Size = Annotated[
    str | None,
    typer.Option(help="Number of weights: 0.01M, 0.03M, 0.1M, 0.3M, 1M, 3M, 10M or 30M; by default the recipe's."),
]
Family = Annotated[
    str | None,
    typer.Option(help="Architecture: llama, gpt2, mixture, mamba, grouped or sliding; by default the recipe's."),
]


@lab.command("train")
def train(
    out_dir: Out,
    recipe: RecipeName = "reference",
    seed: Seed = 0,
    family: Family = None,
    size: Size = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, or equivariant (rotation-equivariant); by default the recipe's.")
    ] = None,
    checkpoints: Annotated[
        int, typer.Option(min=0, help="Number of checkpoints to keep, evenly spaced on a log scale of steps.")
    ] = 0,
    threads: Threads = 1,
) -> None:
    """Train a model on facts, each shown a known number of times.

    After an interruption the same command goes on and ends with the same weights.
    """
    import torch

    from probes.lab.recipe import changed, named
    from probes.lab.training import train as train_model

    torch.set_num_threads(threads)
    made = changed(replace(named(recipe), seed=seed), family=family, size=size, optimizer=optimizer)
    with _steps("training", out_dir) as show:
        record = train_model(made, out_dir, n_checkpoints=checkpoints, on_step=show).record
    table = Table("presentations", "facts", "known", "surprisal, nats", title=str(out_dir), box=SIMPLE_HEAD)
    for level, share in record.accuracy.items():
        n_facts = sum(fact.exposure == level for fact in record.world.facts)
        table.add_row(str(level), str(n_facts), f"{share:.3f}", f"{record.loss[level]:.3f}")
    _out().print(table)


@lab.command("text")
def text(
    corpus: Annotated[list[Path], typer.Argument(help="Text files, UTF-8.")],
    out_dir: Out,
    vocabulary: Annotated[int, typer.Option(help="Size of a BPE vocabulary learned from the text; 0 reads bytes.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 1000,
    context_length: Annotated[int, typer.Option(min=2, help="Tokens per training window.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows per step.")] = 16,
    checkpoints: Annotated[int, typer.Option(min=0, help="Models to keep from the way there.")] = 0,
    seed: Seed = 0,
    family: Family = None,
    size: Size = "0.3M",
    threads: Threads = 1,
) -> None:
    """Train a model on your own text, so that its whole training corpus is known.

    After an interruption the same command goes on and ends with the same weights.
    """
    import torch

    from probes.lab.recipe import Recipe, changed
    from probes.lab.text_training import train_on_text

    torch.set_num_threads(threads)
    plain = Recipe(seed=seed, batch_size=batch_size, context_length=context_length, learning_rate=1e-3)
    with _steps("training", out_dir) as show:
        made = train_on_text(
            corpus,
            out_dir,
            changed(plain, family=family, size=size),
            n_steps=steps,
            vocabulary=vocabulary or None,
            n_checkpoints=checkpoints,
            on_step=show,
        )
    _out().print(
        f"{out_dir}: {made.n_tokens} tokens of corpus read {made.epochs:.2f} times, "
        f"loss {made.losses[-1]:.3f} nats per token",
        soft_wrap=True,
    )


@lab.command("learner")
def learner(
    out_dir: Out,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 400,
    items: Annotated[int, typer.Option(min=20, help="Items of each world, to show and to ask.")] = 300,
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Train a learner within its prompt, and write two worlds of questions in which examples help or cannot.

    `sparsity curriculum OUT/planted.yaml` and `OUT/bare.yaml` compare ways to choose examples in them.
    """
    import torch

    from probes.lab.in_context import train_learner, write_worlds

    torch.set_num_threads(threads)
    with _steps("training", out_dir) as show:
        loss = train_learner(out_dir / "learner", seed=seed, steps=steps, on_step=show)
    specs = ", ".join(str(path) for path in write_worlds(out_dir, n=items, seed=seed))
    _out().print(f"{out_dir}: loss {loss:.3f} nats per answer at the end; specs {specs}", soft_wrap=True)


@lab.command("concepts")
def concepts(
    out_dir: Out,
    frequency: Annotated[
        str, typer.Option(help="coupled: typical members are frequent; decoupled: frequency says nothing of it.")
    ] = "decoupled",
    sentences: Annotated[int, typer.Option(min=1000, help="Sentences of the corpus.")] = 30_000,
    seed: Seed = 0,
) -> None:
    """Write a world of categories whose members resemble them by degrees: its text, its norms and its word counts.

    `sparsity lab text` trains a model on the text; the suite `concepts` reads norms and counts.
    """
    from probes.lab.concept_world import ARMS, build_concepts, write_concepts

    if frequency not in ARMS:
        raise InputError(f"--frequency should be one of {', '.join(ARMS)} and is {frequency!r}")
    world = build_concepts(coupled=frequency == ARMS[0], seed=seed)
    write_concepts(world, out_dir, n_sentences=sentences, seed=seed)
    _out().print(
        f"{out_dir}: {len(world.members)} members of {world.n_categories} categories, {sentences} sentences; "
        f"rank correlation of typicality with frequency {world.coupling:+.2f}",
        soft_wrap=True,
    )


@lab.command("arms")
def arms(
    out_dir: Annotated[Path, typer.Option("--out", help="Directory; the same command goes on in it.")],
    n_seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each arm.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of each.")] = 500,
    threads: Threads = 1,
) -> None:
    """Train models on worlds of concepts, frequency coupled to typicality or not, and ask each about its own members.

    `sparsity report` reads the sweeps of all trainings as one. Each takes about half a minute of one core.
    """
    import torch

    from probes.lab.concept_arms import spec_of, train_arm, trainings
    from probes.sweep.run import run_sweep

    torch.set_num_threads(threads)
    for own in trainings(out_dir, n_seeds=n_seeds):
        with _steps(own.name, own.model) as show:
            train_arm(own, steps=steps, on_step=show)
            run_sweep(spec_of(own), own.sweep)
    _out().print(f"next: sparsity report {out_dir}/sweeps/* --out {out_dir}/report.html", soft_wrap=True)


@lab.command("world")
def world(
    model: Annotated[
        Path | None, typer.Argument(help="Folder of a laboratory model; by default the shipped one.")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write all facts to this file, one line of JSON each.")
    ] = None,
) -> None:
    """Show facts a laboratory model was trained on: how often each was shown, and whether it is known."""
    from probes.lab import read_record, reference_path

    record = read_record(model or reference_path())
    rows = [
        {**asdict(fact), "prompt": fact.prompt, "presented": presented, "last_seen": seen, "known": known, "nll": nll}
        for fact, presented, seen, known, nll in zip(
            record.world.facts, record.presented, record.last_seen, record.known, record.surprisals, strict=True
        )
    ]
    if out_file is not None:
        try:
            with out_file.open("x", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(row)}\n" for row in rows)
        except FileExistsError:
            raise InputError(f"{out_file} is there already: name another file") from None
        except OSError as error:
            raise InputError(f"cannot write {out_file}: {error.strerror}") from None
        _out().print(f"{len(rows)} facts in {out_file}", soft_wrap=True)
        return
    table = Table("fact", "presented", "last seen", "known", "surprisal, nats", box=SIMPLE_HEAD)
    for row in rows[:SHOWN]:
        seen = "never" if row["last_seen"] is None else f"step {row['last_seen']}"
        table.add_row(
            f"{row['prompt']} {row['tail']}.",
            str(row["presented"]),
            seen,
            "yes" if row["known"] else "no",
            f"{row['nll']:.3f}",
        )
    _out().print(table)
    _out().print(f"{SHOWN} of {len(rows)} facts; {record.step} steps of training; --out writes all", soft_wrap=True)


@lab.command("twins")
def twins(
    out_dir: Out,
    n_seeds: Annotated[int, typer.Option("--seeds", min=2, help="Number of seeds per condition.")] = 8,
    conditions: Annotated[str, typer.Option(help="Kinds of training, separated by commas.")] = (
        "adamw,equivariant,shuffled,early_late,untrained"
    ),
    recipe: RecipeName = "tiny",
    threads: Threads = 1,
) -> None:
    """Train paired models that differ in one thing, to find what an effect of exposure is due to.

    Conditions: AdamW, a rotation-equivariant optimiser, shuffled answers (nothing to know), exposure crossed with
    recency (early_late), untrained; other architectures of as many weights: gpt2, mixture, mamba,
    and other attention: grouped, sliding. Each model takes
    about a minute of one core.
    """
    import torch

    from probes.lab.paired_runs import train_twins
    from probes.lab.paired_table import TABLE
    from probes.lab.recipe import named

    torch.set_num_threads(threads)
    wanted = tuple(conditions.split(","))
    console = Console(stderr=True, highlight=False)
    try:
        found = train_twins(
            out_dir,
            n_seeds=n_seeds,
            conditions=wanted,
            recipe=named(recipe),
            on_model=lambda name, seed: console.print(f"{name}, seed {seed}"),
        )
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _out().print(twins_table(found))
    _out().print(f"every model: {out_dir / TABLE}", soft_wrap=True)


@lab.command("grade")
def grade(
    model: Annotated[
        str | None, typer.Argument(help="Folder of a laboratory model; by default the shipped one.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Items per level.")] = 100,
    threads: Threads = 1,
) -> None:
    """Print a model's accuracy on every laboratory suite and level, beside the accuracy of simple shortcuts."""
    import torch

    from probes.lab import graded_path
    from probes.suites.laboratory.grading import grade_model

    torch.set_num_threads(threads)
    table = Table("suite", "level", "split", "items", "correct", "recency", "copy", "frequency", box=SIMPLE_HEAD)
    suite = ""
    for row in grade_model(Path(model) if model else graded_path(), limit=limit):
        if suite not in ("", row.suite):
            table.add_section()
        suite = row.suite
        shares = (row.correct, *row.shortcuts)
        table.add_row(row.suite, row.level, row.split, str(row.n_items), *(f"{share:.2f}" for share in shares))
    _out().print(table)


def twins_table(found: Sequence[Twin]) -> Table:
    """Means over seeds with 95 % Student intervals, one row per measure and one column per kind of model."""
    from probes.lab.paired_table import CONDITIONS, FAMILIES, MEASURED, summarise

    names = [name for name in (*CONDITIONS, *FAMILIES) if any(twin.condition == name for twin in found)]
    table = Table(
        "exposure with Hoyer at final_norm", *names, title="mean over seeds [95 % t interval]", box=SIMPLE_HEAD
    )
    for measure in MEASURED:
        cells: list[str] = []
        for name in names:
            estimate = summarise(found, name, measure)
            digits = 0 if measure == "n_mastered" else 3
            low, high = (f"{bound:.{digits}f}" for bound in (estimate.low, estimate.high))
            cells.append("" if math.isnan(estimate.mean) else f"{estimate.mean:.{digits}f} [{low}, {high}]")
        table.add_row(measure.replace("_", " "), *cells)
    return table


def _out() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


@contextmanager
def _steps(what: str, out_dir: Path) -> Generator[Callable[[int, int, float], None]]:
    """A progress bar over optimizer steps on stderr, and a clean end on Ctrl-C."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        try:
            yield lambda step, total, loss: bar.update(
                task, completed=step, total=total, description=f"{what}, loss {loss:.3f}"
            )
        except KeyboardInterrupt:
            console.print(f"interrupted; the same command goes on from {out_dir}.unfinished", soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
