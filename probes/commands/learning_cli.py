"""The command about the learning law: ``sparsity learning-law``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from probes.commands.console import out, shown_progress
from probes.errors import InputError
from probes.sweep.interface import Progress

if TYPE_CHECKING:
    import pandas as pd

THEOREM = 8192  # bytes of Python's help that are coded
SENTENCE = 64  # symbols
ACTIONS = ("run", "weights", "theorem")
COEFFICIENTS = ("floor", "scale", "exponent", "acceleration")
COLUMNS = {
    "desired_area": ("area,\ndesired", ".4f"),
    "area": ("area,\nheld out", ".4f"),
    "acceleration": ("accele-\nration", ".2f"),
    "work": ("work", ".0f"),
    "after_all_work": ("accelera-\ntion after\nall work", ".3f"),
    "similarity": ("SIM,\npaper's", ".2f"),
    "exact_similarity": ("SIM,\nexact", ".2f"),
    "zero_of_harmful": ("zero of\nharmful", ".2f"),
    "typical_residual": ("KKT\nresidual", ".2f"),
}


def learning_law(
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for policies and tables; the same call goes on in it.")
    ],
    what: Annotated[
        str, typer.Argument(help="run; weights: the table of a finished run; theorem: area and code length.")
    ] = "run",
    scale: Annotated[str, typer.Option(help="small (minutes) or paper (the paper's sizes).")] = "small",
    learner: Annotated[list[str] | None, typer.Option(help="perceptron or language; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the search, instead of the scale's.")] = None,
    step: Annotated[float | None, typer.Option(min=1e-9, help="Step size of training, instead of the scale's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor; as many as it has by default.")] = None,
) -> None:
    """Search the weights of examples that minimise the area under the loss curve, with controls beside them.

    With `weights`, write the weight of every sentence of a finished run as JSON lines for a sweep, and checkpoints of
    the learner. With `theorem`, code text by a model that is trained meanwhile, decode it, and hold the length of the
    stream against the area under the loss curve.
    """
    if what not in ACTIONS:
        raise InputError(f"there is {', '.join(f'`{one}`' for one in ACTIONS)}, got {what!r}")

    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if what != "run":
        _weights(out_dir, scale) if what == "weights" else _theorem(out_dir)
        return

    from probes.learning_law import results
    from probes.learning_law.scales import TRIALS
    from probes.learning_law.tables import write_tables
    from probes.records.resumed import claim

    plans: dict[str, Any] = {}
    for name in learner or ["perceptron"]:
        if name not in TRIALS:
            raise InputError(f"no learner is called {name!r}; there are {', '.join(TRIALS)}")
        if scale not in TRIALS[name][0]:
            raise InputError(f"no scale is called {scale!r}; there are {', '.join(TRIALS[name][0])}")
        plan = TRIALS[name][0][scale]
        plans[name] = plan._replace(epochs=epochs or plan.epochs, rate=step or plan.rate)
    asked = {"step": "rate", "epochs": "epochs"}
    task = {key: {name: getattr(plan, own) for name, plan in plans.items()} for key, own in asked.items()}
    claim(out_dir, {"scale": scale, **task, "plans": {name: repr(plan) for name, plan in plans.items()}})
    with shown_progress() as show:
        for name, plan in plans.items():
            for seed in range(seeds):
                results.run_trial(
                    TRIALS[name][1](plan, seed),
                    out_dir / name / f"seed-{seed}",
                    f"{name}, seed {seed}",
                    lambda what, unit, done, total: show(Progress(done, total, what, unit)),
                )
    for name in plans:
        summary, laws = write_tables(out_dir / name)
        out().print(_shown(name, summary))
        out().print(_laws(laws))
        _say_idle(out_dir / name)
    out().print(
        "area: mean loss after each step. acceleration: steps over those until the final loss of equal weights, on "
        "held-out examples. work: gradients over those of equal weights. Intervals are in "
        f"{out_dir}/LEARNER/table.csv; curves and verdicts: sparsity report {out_dir}",
        soft_wrap=True,
    )


def _shown(name: str, summary: pd.DataFrame) -> Table:
    """Means over seeds."""
    shown = Table(
        "training", *(title for title, _ in COLUMNS.values()), title=f"{name}: means over seeds", box=SIMPLE_HEAD
    )
    for row in summary.to_dict("records"):
        values = [(row.get(column, math.nan), form) for column, (_, form) in COLUMNS.items()]
        name = f"{row['arm']}{' (diverged)' if row['diverged'] > -1 else ''}"
        shown.add_row(name, *("" if math.isnan(value) else f"{value:{form}}" for value, form in values))
    return shown


def _say_idle(folder: Path) -> None:
    """Name searches that found nothing better than equal weights."""
    from probes.learning_law.results import idle

    for name in idle(folder):
        out().print(f"{folder.name}, {name}: no epoch improved on equal weights; give more --epochs", soft_wrap=True)


def _laws(laws: pd.DataFrame) -> Table:
    """Scaling laws with intervals over seeds."""
    shown = Table(
        *("training", "L0", "B", "beta", "acceleration\nby the law", "explained"),
        title="L(t) = L0 + (B / t)^beta of held-out losses, one L0 for all; 95 % intervals over resampled seeds",
        box=SIMPLE_HEAD,
    )
    for row in laws.to_dict("records"):
        numbers = (f"{row[n]:.3f} [{row[f'{n}_low']:.3f}, {row[f'{n}_high']:.3f}]" for n in COEFFICIENTS)
        shown.add_row(str(row["arm"]), *numbers, f"{row['explained']:.3f}")
    return shown


def _weights(out_dir: Path, scale: str) -> None:
    """Write the table of weights and say how well it finds what was spoiled."""
    import numpy as np

    from probes.intervals import mean_interval
    from probes.learning_law.language import LANGUAGES, sentences_of, write_checkpoints
    from probes.learning_law.results import LARGE, load_search
    from probes.learning_law.weights import seeds_of, write_spec, write_weights

    folder, plan = out_dir / "language", LANGUAGES[scale]
    drawn = {seed: sentences_of(plan, seed) for seed in seeds_of(folder)}
    _say_idle(folder)
    path, found = write_weights(folder, [*drawn.items()])
    little, least = (np.array([getattr(one, name) for one in found]) for name in ("weight", "contribution"))
    for name, values in (
        ("AUROC of little weight under the policy for spoiled sentences", little),
        ("AUROC of little contribution with equal weights (no search)", least),
        ("the one less the other, seed by seed", little - least),
    ):
        mean, low, high, _ = mean_interval(values)
        seeded = f"{len(values)} seeds" if len(values) > 1 else "one seed"
        out().print(f"{name}: {mean:.3f} [{low:.3f}, {high:.3f}], {seeded}")
    for seed, read in drawn.items():
        own = folder / f"seed-{seed}"
        state = load_search(own / f"search-{LARGE}.safetensors")
        if state is not None:
            spec = write_spec(own, seed, write_checkpoints(plan, seed, read, state.weights, own))
            out().print(
                f"checkpoints of the learner on its own sentences: sparsity sweep {spec} --out ...", soft_wrap=True
            )
    name = f"{{file: {path}, name: weights, prompt: text, level: policy_weight, axis: policy_weight}}"
    out().print(f"{path}; as a suite of a sweep: {name}", soft_wrap=True)


def _theorem(out_dir: Path) -> None:
    """Train while coding, decode, and print the length of the stream beside the area under the loss curve."""
    from probes.compression.prequential import describe, recall
    from probes.learning_law.sentences import help_sentences

    data = "\n".join(help_sentences(SENTENCE)).encode()[:THEOREM]
    with shown_progress() as show:
        found = describe(data, progress=lambda done, total: show(Progress(done, total, "written", "bytes")))
        again = recall(found.archive, progress=lambda done, total: show(Progress(done, total, "read", "bytes")))
    if again != data:
        raise InputError("the stream was read as other bytes than were written: the two trainings differ here")
    area = float((found.losses * found.n_symbols).sum()) / math.log(2)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "theorem.spz").write_bytes(found.archive)
    out().print(
        f"{len(data)} bytes in {len(found.losses)} steps: the area under the loss curve is {area:.1f} bits, the stream "
        f"has {8 * len(found.stream)} bits ({8 * len(data)} before); decoded without weights to the same bytes",
        soft_wrap=True,
    )
