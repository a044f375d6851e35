"""The command ``sparsity curriculum``: ways to choose solved examples, compared on the same questions."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.commands.console import err, leave_interrupted, out, shown_progress, stop_on_signal
from probes.commands.sweep_cli import EXIT_FAILURES, changes
from probes.sweep.interface import Options

if TYPE_CHECKING:
    from probes.suites.example import Item


def curriculum(
    spec: Annotated[Path, typer.Argument(help="Spec of the comparison (YAML).")],
    out_dir: Annotated[Path, typer.Option("--out", help="Directory; an existing one is continued.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many questions only.")] = None,
    show: Annotated[
        str | None, typer.Option("--show", help="Print the prompt of this item instead of running anything.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the models: cpu, cuda, cuda:1 ...")] = "cpu",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Items per batch; by default by length.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a key of the spec: key=value, the value in YAML. May be repeated."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try items again that are recorded as failed.")
    ] = False,
) -> None:
    """Compare ways to choose solved examples (by sparsity, loss, similarity, chance, ...) by the answers they bring.

    The pool is scored first, then every arm's prompts are asked. After an interruption the same command goes on.
    """
    from probes.curriculum.experiment import run_curriculum, shown_prompt
    from probes.curriculum.spec import load_curriculum

    loaded = load_curriculum(spec, changes(settings or ()))
    if show is not None:
        _print(shown_prompt(out_dir, show))
        return
    options = Options(device=device, batch_size=batch_size, retry_failed=retry_failed)
    result = None
    with shown_progress() as on_progress, stop_on_signal() as stop, contextlib.suppress(KeyboardInterrupt):
        result = run_curriculum(loaded, out_dir, options, limit=limit, on_progress=on_progress, should_stop=stop.asked)
    command = shlex.join(["sparsity", *sys.argv[1:]])
    if result is None or result.interrupted:  # a second signal ends at once: what was committed stands
        leave_interrupted(command, stop)
    failed = result.sweeps[-1].n_failed
    err().print(
        f"{out_dir}: {result.n_questions} questions, {result.n_items} items scored, {len(result.arms)} arms "
        f"({', '.join(result.arms)}); {sum(one.n_measured for one in result.sweeps)} prompts read now, {failed} "
        f"failed; next: sparsity report {out_dir}",
        soft_wrap=True,
    )
    if failed:
        raise typer.Exit(EXIT_FAILURES)


def _print(item: Item) -> None:
    """A prompt as it is asked, and what is known of it."""
    example, console = item.example, out()
    console.print(item.example_id, soft_wrap=True)
    for name, value in example.attrs:
        console.print(f"{name}: {value}", soft_wrap=True)
    if example.fault:
        console.print(f"cannot be asked: {example.fault}", soft_wrap=True)
    console.print("-" * 20)
    turns: Sequence[tuple[str, str]] = (*example.before, ("user", example.text)) if example.before else ()
    if turns:
        for role, content in turns:
            console.print(f"[{role}] {content}", soft_wrap=True)
    else:
        console.print(example.text, soft_wrap=True)
    console.print("-" * 20)
    answers = example.choices or ((example.target,) if example.target is not None else ())
    for number, answer in enumerate(answers):
        right = example.right == number or not example.choices
        console.print(f"{'*' if right else ' '} {answer}", soft_wrap=True)
