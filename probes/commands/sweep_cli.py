"""Commands about sweeps: ``sparsity sweep``, and ``sparsity runs`` for what lies in a sweep directory."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from probes.commands.console import duration, err, leave_interrupted, out, shown_progress, stop_on_signal
from probes.errors import InputError
from probes.sweep.interface import Options, Progress

if TYPE_CHECKING:
    from probes.sweep.calibration import Cost
    from probes.sweep.planning.run_plan import Survey
    from probes.sweep.spec import SweepSpec

runs = typer.Typer(no_args_is_help=True, help="List, check or compact what lies in a sweep directory.")

UNFINISHED = "measured, controls unfinished"
EXIT_FAILURES = 1
FIRST_SPECIAL_STEP = 0xFFFFFFF0  # Slurm numbers batch scripts, interactive shells and the like from here on


def sweep(
    spec: Annotated[Path, typer.Argument(help="Sweep spec (YAML); `sparsity init` writes a first one.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Sweep directory; an existing one is continued.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Items per level (and split) of every suite.")] = None,
    device: Annotated[str, typer.Option(help="Device of the models: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="Load weights as float32, bfloat16 or float16; by default as they are stored.")
    ] = None,
    batch_size: Annotated[str, typer.Option(help="Items per batch; auto chooses by length.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Worker processes, each loading the model; by default 1, on a Ray cluster all.",
        ),
    ] = None,
    executor: Annotated[str, typer.Option(help="Where workers run: local, or ray for a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster's head; by default RAY_ADDRESS.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Measure share i of N (i/N) into OUT/shard-i; under srun each task does so by itself."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random in suites.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a key of the spec: key=value, the value in YAML. May be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan with its expected time and disk space; measure and write nothing."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try items again that are recorded as failed.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Append progress to this file.")] = None,
    sinks: Annotated[
        list[str] | None, typer.Option("--sink", help="Send progress to wandb, mlflow or tensorboard. May be repeated.")
    ] = None,
) -> None:
    """Measure every model of a spec on every suite. After an interruption the same command goes on where it stopped."""
    options = Options(
        device=device,
        batch_size=_batch_size(batch_size),
        retry_failed=retry_failed,
        workers=workers,
        executor=_executor(executor),
        address=address,
        shard=shard_of(shard, os.environ),
    )
    from probes.sweep.spec import load_spec

    changed = load_spec(spec, changes(settings or (), limit=limit, dtype=dtype, seed=seed))
    if dry_run:
        _print_plan(changed, out_dir, options)
        return
    command = shlex.join(["sparsity", *sys.argv[1:]])
    conduct(changed, out_dir, options, command=command, log=log, sinks=tuple(sinks or ()))


def changes(settings: Sequence[str], **named: object) -> dict[str, object]:
    """Read what the command line says instead of the spec: ``key=value`` settings (YAML values) and named options."""
    import yaml

    from probes.sweep.specification import yaml12

    found: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set should be key=value and is {setting!r}")
        try:
            found[key] = yaml12.load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {key}: {value!r} is not a YAML value") from None
    return found


def shard_of(text: str | None, environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the share of the items that this process takes: as asked, or as srun numbers its tasks; None takes all.

    Slurm sets ``SLURM_PROCID`` and ``SLURM_NTASKS`` for a batch script and a shell too, of which there is one however
    many tasks were asked for. Only ``srun`` starts one process per task: it alone sets ``SLURM_STEP_ID`` to the number
    of an ordinary step, and a shell that it opens has ``SLURM_PTY_PORT``.

    >>> step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2"}
    >>> shard_of("0/4", {}), shard_of(None, step), shard_of(None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"})
    ((0, 4), (2, 3), None)
    """
    if text is None:
        step, count, task = (environment.get(f"SLURM_{name}", "") for name in ("STEP_ID", "STEP_NUM_TASKS", "PROCID"))
        ordinary = step.isdecimal() and int(step) < FIRST_SPECIAL_STEP and "SLURM_PTY_PORT" not in environment
        if not ordinary or count in ("", "1") or not task:
            return None
        text = f"{task}/{count}"
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"--shard should be i/N with i from 0 to N-1 and is {text!r}")
    return int(index), int(count)


def _say_share(shard: tuple[int, int] | None, directory: Path, environment: Mapping[str, str]) -> None:
    """Say that this process measures a share only, or that it measures all though Slurm was asked for several tasks."""
    n_tasks = environment.get("SLURM_NTASKS", "1")
    if shard is not None:
        index, count = shard
        said = (
            f"shard {index} of {count}: one share of the items, into {directory}/shard-{index}; the others' are theirs"
        )
    elif n_tasks not in ("", "1"):
        said = f"this is no task of srun, so it takes all items; `srun sparsity sweep ...` shares them among {n_tasks}"
    else:
        return
    err().print(said, soft_wrap=True)


def conduct(
    spec: SweepSpec,
    directory: Path,
    options: Options,
    *,
    command: str,
    log: Path | None = None,
    sinks: tuple[str, ...] = (),
) -> None:
    """Run a sweep with a progress bar and a clean end on a signal, and exit as ``probes.cli`` documents.

    Args:
        spec: what to measure.
        directory: the sweep directory.
        options: how to run it.
        command: what to run again after an interruption.
        log: a file for progress.
        sinks: services for progress, by name.
    """
    from probes.sweep.run import run_sweep
    from probes.sweep.sinks import Audience

    audience = Audience(spec, directory, sinks, log)
    _say_share(options.shard, directory, os.environ)
    result = None
    with shown_progress() as on_progress, stop_on_signal() as stop:

        def tell(progress: Progress) -> None:
            on_progress(progress)
            audience.hear(progress)

        try:
            result = run_sweep(
                spec, directory, options, on_survey=_announce(spec), on_progress=tell, should_stop=stop.asked
            )
        except KeyboardInterrupt:  # asked twice: what was committed stands
            pass
        finally:
            audience.dismiss(result)
    if result is None:
        leave_interrupted(command, stop)
    console = err()
    filtered = f", {result.n_filtered} left out (repetitions, or shorter than min_tokens)" if result.n_filtered else ""
    if result.n_measured:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds._asdict().items())
        console.print(stages, soft_wrap=True)
    if result.n_truncated:
        console.print(f"{result.n_truncated} items were cut to max_tokens (inputs.truncated)", soft_wrap=True)
    if result.n_control and spec.special_tokens == "control":
        console.print(
            f"{result.n_control} items spell out special tokens, which the model reads as control tokens "
            "(inputs.n_control); special_tokens: text makes them text",
            soft_wrap=True,
        )
    if result.n_undefined:
        console.print(
            f"{result.n_undefined} of {result.n_values} values are undefined (NaN) and kept out of every mean: a state "
            "was not finite (float16 overflows in some models, bfloat16 does not), or no token was left to average",
            soft_wrap=True,
        )
    summary = f"{directory}: {result.n_measured} items measured, {result.n_failed} failed{filtered}"
    console.print(summary, soft_wrap=True)
    if result.interrupted:
        leave_interrupted(command, stop)
    if result.n_failed:
        raise typer.Exit(EXIT_FAILURES)


@runs.command("list")
def runs_list(directory: Annotated[Path, typer.Argument(help="A sweep directory.")]) -> None:
    """List the runs of a sweep: one per model and suite, with its status."""
    from probes.records import open_run

    table = Table("run", "model", "suite", "dtype", "started", "status")
    records = open_run(directory)
    rows = records.runs()
    columns = (rows["run_id"], rows["model"], rows["suite"], rows["dtype"], rows["started"], rows["status"])
    for row in zip(*columns, strict=True):
        *cells, status = map(str, row)
        table.add_row(*cells, UNFINISHED if status == "measured" else status)
    out().print(table)
    if records.shards is not None:
        out().print(f"{directory}: {records.shards}", soft_wrap=True)


@runs.command("check")
def runs_check(directory: Annotated[Path, typer.Argument(help="A sweep directory.")]) -> None:
    """Find files that are truncated, missing, doubled or not the sweep's own, and print what to do about each."""
    from probes.records import open_run
    from probes.records.integrity import check

    open_run(directory)
    faults = check(directory)
    for fault in faults:
        out().print(f"{fault.path}: {fault.what}; {fault.remedy}", soft_wrap=True)
    if faults:
        raise typer.Exit(EXIT_FAILURES)
    out().print(f"{directory}: every committed part is there and whole")


@runs.command("compact")
def runs_compact(
    directory: Annotated[Path, typer.Argument(help="A sweep directory that no process is writing.")],
) -> None:
    """Merge the many files of each table into a few sorted ones, and shards into the directory; no row changes."""
    from probes.records import open_run
    from probes.records.compaction import compact

    open_run(directory)
    before, after = compact(directory)
    out().print(f"{directory}: {before} parts are now {after}")


def _print_plan(spec: SweepSpec, directory: Path, options: Options) -> None:
    from probes.sweep.calibration import calibrate
    from probes.sweep.planning.surveys import as_begun, survey

    plans, model = survey(as_begun(spec, directory), directory, options)
    table = Table("run", "model x suite", "items", "left", "batches", "tokens to read", "time", "controls", "disk")
    costs = list(calibrate(spec, plans, model, options))
    for plan, cost in zip(plans, costs, strict=True):
        table.add_row(
            plan.run.run_id,
            plan.run.label,
            str(len(plan.items)),
            str(plan.n_left()),
            str(len(plan.batches)),
            f"{plan.n_tokens():.0f}" if plan.batches else "0",
            duration(cost.seconds),
            duration(cost.allowed),
            f"{cost.n_bytes / 1e6:.1f} MB",
        )
    out().print(table)
    seconds, controls, n_bytes = (
        sum(getattr(cost, name) for cost in costs) for name in ("seconds", "allowed", "n_bytes")
    )
    n_workers = options.workers or 1
    shared = f" ({duration(seconds / n_workers)} in {n_workers} workers)" if n_workers > 1 else ""
    out().print(
        f"about {duration(seconds)} to measure in one process{shared} and {duration(controls)} for controls, "
        f"roughly {duration(sum(cost.report for cost in costs))} for a report, {n_bytes / 1e6:.1f} MB on disk; "
        f"{extrapolated(costs)}",
        soft_wrap=True,
    )
    dear = [(plan, cost) for plan, cost in zip(plans, costs, strict=True) if cost.allowed < cost.controls]
    for plan, cost in dear:
        out().print(
            f"{plan.run.label}: all {len(plan.control_cells)} control cells would take about "
            f"{duration(cost.controls)}; controls_budget: {spec.controls_budget:g} leaves some out",
            soft_wrap=True,
        )


def extrapolated(costs: Sequence[Cost]) -> str:
    """Describe the basis of the numbers of a dry run."""
    items = sum(cost.n_tried for cost in costs)
    return (
        f"time and disk are extrapolated from {items} items that were measured and thrown away, controls from one cell "
        "per width on random vectors; the time of the report is a rule of thumb, by the number of values"
    )


def _announce(spec: SweepSpec) -> Callable[[Survey], None]:
    """Say before a sweep begins what comes after the measuring."""

    def say(survey: Survey) -> None:
        cells = [len(plan.control_cells) for plan in survey.plans if plan.control_cells and plan.batches]
        if cells:
            allowed = "without a limit of time"
            if spec.controls_budget != "unlimited":
                allowed = f"in at most {spec.controls_budget:g} x the time of measuring it, or a minute"
            err().print(
                f"{len(survey.plans)} runs to measure, then controls: {max(cells)} cells a run, {allowed} "
                "(controls_budget; what they would cost: --dry-run)",
                soft_wrap=True,
            )

    return say


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--batch-size should be auto or a positive number and is {text!r}")
    return int(text)


def _executor(text: str) -> Literal["local", "ray"]:
    for known in ("local", "ray"):
        if text == known:
            return known
    raise InputError(f"--executor should be local or ray and is {text!r}")
