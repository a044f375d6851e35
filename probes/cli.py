"""Commands about models and inputs: sweep, measure, list, verify, lab. The ``sparsity`` command adds its own to these.

Results go to stdout, progress and faults to stderr. Exit status: 0 done; 1 finished, but some items failed; 2 unusable
input, one line and no traceback; 130 interrupted.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table as RichTable
from rich.text import Text

from probes.errors import InputError
from probes.index_cli import index
from probes.lab_cli import lab
from probes.listing import LISTS, axioms_table
from probes.sweep.interface import Options, Progress
from probes.sweep.spec import SweepSpec, load_spec
from sparsity import parse_metrics

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(lab, name="lab")
runs = typer.Typer(no_args_is_help=True, help="Sweep directories: what is in them, and whether it is whole.")
app.add_typer(runs, name="runs")
app.add_typer(index, name="index")

PLAIN_PROGRESS_SECONDS = 5.0
FILE_WIDTH = 140  # columns of a table that goes to a file or a pipe
EXIT_FAILURES = 1
EXIT_INTERRUPTED = 130


def out() -> Console:
    """Where results go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def err() -> Console:
    """Where progress and faults go."""
    return Console(stderr=True, highlight=False)


@app.command()
def sweep(
    spec: Annotated[Path, typer.Argument(help="The sweep, as YAML.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The sweep directory; an existing one is continued.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Items per (split, level) of every suite.")] = None,
    device: Annotated[str, typer.Option(help="Where models are put: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; as stored by default.")] = None,
    batch_size: Annotated[str, typer.Option(help="Items per batch, or auto.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that each load the model (one per GPU).")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything that suites draw.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A spec key instead: sites=[resid_post].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run recorded failures again.")] = False,
) -> None:
    """Run probing sweeps over models x suites x sites x metrics; run it again to go on where it stopped."""
    options = Options(device=device, batch_size=_batch_size(batch_size), retry_failed=retry_failed, workers=workers)
    changed = load_spec(spec, changes(settings or (), limit=limit, dtype=dtype, seed=seed))
    if dry_run:
        _print_plan(changed, out_dir, options)
        return
    conduct(changed, out_dir, options, command=f"sparsity sweep {spec} --out {out_dir}")


def changes(settings: Sequence[str], **named: object) -> dict[str, object]:
    """What the command line says instead of the spec: ``key=value`` settings (YAML values) and named options."""
    found: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set should be key=value and is {setting!r}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {key}: {value!r} is not a YAML value") from None
    return found


def conduct(spec: SweepSpec, directory: Path, options: Options, *, command: str) -> None:
    """Run a sweep with a progress bar and a clean Ctrl-C, and exit as the module docstring says."""
    from probes.sweep.run import run_sweep

    with _progress() as on_progress, _stop_on_interrupt() as should_stop:
        result = run_sweep(spec, directory, options, on_progress=on_progress, should_stop=should_stop)
    console = err()
    filtered = f", {result.n_filtered} left out as shorter than min_tokens" if result.n_filtered else ""
    summary = f"{directory}: {result.n_measured} items measured, {result.n_failed} failed{filtered}"
    console.print(summary, soft_wrap=True)
    if result.interrupted:
        console.print(f"interrupted; to go on: {command}", soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.n_failed:
        raise typer.Exit(EXIT_FAILURES)


@app.command()
def measure(
    model: Annotated[str, typer.Argument(help="A local path or hub name.")],
    text: Annotated[str | None, typer.Option(help="The prompt.")] = None,
    file: Annotated[Path | None, typer.Option(help="A UTF-8 file that holds the prompt.")] = None,
    position: Annotated[str, typer.Option(help="last, mean, or a slice such as 5:10.")] = "last",
    metrics: Annotated[str, typer.Option(help="Metrics separated by spaces.")] = "default",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut the prompt to this many tokens.")] = None,
    generate: Annotated[int | None, typer.Option(min=1, help="Also write so many tokens and measure each.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --generate: draw tokens; else the likeliest.")] = None,
) -> None:
    """Sparsity of one prompt, layer by layer; with --generate also of what the model writes, token by token."""
    from probes.capture.collect import collect
    from probes.capture.models import load_model
    from sparsity import nulls

    prompt = _prompt(text, file)
    if position == "all":
        raise InputError("measure prints one row per layer; give --position last, mean or a slice")
    specs = parse_metrics(metrics.split())
    names = [str(spec) for spec in specs]
    loaded = load_model(model)
    frame = collect(
        loaded, [prompt], sites=["resid_post", "final_norm"], positions=position, metrics=names, max_tokens=max_tokens
    )
    table = RichTable(title=f"{loaded.name}, position {position}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", "\n"), justify="right", min_width=6, overflow="fold")
    rows: dict[str, list[str]] = {}
    for site, layer, value in zip(frame["site"], frame["layer"], frame["value"], strict=True):
        place = site if site == "final_norm" else f"{site}.{layer}"
        rows.setdefault(place, []).append(f"{value:.4f}")
    for place, values in rows.items():
        table.add_row(place, *values)
    chance = [nulls.gaussian(spec, loaded.d_model).mean for spec in specs]
    table.add_section()
    table.add_row(f"chance, d={loaded.d_model}", *("" if math.isnan(value) else f"{value:.4f}" for value in chance))
    tables = [table]
    if generate is not None:
        from probes.capture.generate import collect_generation

        written = collect_generation(
            loaded, [prompt], "final_norm", names, max_new_tokens=generate, sample=seed, max_tokens=max_tokens
        )
        new = written.measurements[written.measurements["position"] == "generated"]
        values = new["value"].to_numpy().reshape(-1, len(names))
        columns = (written.tokens[name] for name in ("token", "text", "surprisal", "next_token_entropy"))
        tables.append(_written_table(zip(*columns, values.tolist(), strict=True), names))
    for each in tables:
        out().print(each)


def _written_table(rows: Iterable[tuple[int, str, float, float, list[float]]], metrics: Sequence[str]) -> RichTable:
    """One row per token that the model wrote."""
    table = RichTable(title="written, final_norm after reading each token", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("token", justify="right")
    table.add_column("text", no_wrap=True)
    for name in ("surprisal\nbits", "entropy\nafter, nats", *(name.replace("_", "\n") for name in metrics)):
        table.add_column(name, justify="right", min_width=6, overflow="fold")
    for token, text, surprisal, entropy, values in rows:
        table.add_row(str(token), Text(repr(text)), f"{surprisal:.2f}", f"{entropy:.2f}", *(f"{v:.4f}" for v in values))
    return table


@app.command("verify")
def verify_(
    model: Annotated[str, typer.Argument(help="A local path or hub name.")],
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; as stored by default.")] = None,
    device: Annotated[str, typer.Option(help="Where the model is put.")] = "cpu",
) -> None:
    """Is what the hooks see true? Self-checks; exit status 1 when what they see is not to be trusted."""
    from probes.capture.models import load_model
    from probes.capture.verify import verify

    loaded = load_model(model, dtype=dtype, device=device)
    table = RichTable("check", "verdict", "states off by", "a metric off by", "tolerated", "detail", title=loaded.name)
    found = verify(loaded)
    for check in found:
        name, metric = max(check.metrics.items(), key=lambda entry: entry[1], default=("", math.nan))
        table.add_row(
            check.name,
            check.verdict,
            "" if math.isnan(check.states) else f"{check.states:.1e}",
            "" if math.isnan(metric) else f"{metric:.1e} ({name})",
            f"{check.tolerance.states:.0e}, {check.tolerance.metrics:.0e}",
            check.detail,
        )
    out().print(table)
    for kind, reason in loaded.lacks.items():
        out().print(f"no {kind}: {reason}", soft_wrap=True)
    if any(check.verdict == "fail" for check in found):
        raise typer.Exit(EXIT_FAILURES)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="metrics, suites, sites, familiarity or analyses.")],
    with_axioms: Annotated[bool, typer.Option("--axioms", help="With metrics: which axioms each satisfies.")] = False,
) -> None:
    """List what there is, by the names that specs use."""
    out().print(axioms_table() if with_axioms and what == "metrics" else LISTS[what]())


@runs.command("list")
def runs_list(directory: Annotated[Path, typer.Argument(help="A sweep directory.")]) -> None:
    """The runs of a sweep: one per model and suite."""
    from probes.records import open_run

    table = RichTable("run", "model", "suite", "dtype", "started", "status")
    rows = open_run(directory).runs()
    columns = (rows["run_id"], rows["model"], rows["suite"], rows["dtype"], rows["started"], rows["status"])
    for row in zip(*columns, strict=True):
        table.add_row(*map(str, row))
    out().print(table)


@runs.command("check")
def runs_check(directory: Annotated[Path, typer.Argument(help="A sweep directory.")]) -> None:
    """Find truncated, missing, foreign or doubled parts, and say what to do about each."""
    from probes.records import open_run
    from probes.records.check import check

    open_run(directory)
    faults = check(directory)
    for fault in faults:
        out().print(f"{fault.path}: {fault.what}; {fault.remedy}", soft_wrap=True)
    if faults:
        raise typer.Exit(EXIT_FAILURES)
    out().print(f"{directory}: every committed part is there and whole")


def _print_plan(spec: SweepSpec, directory: Path, options: Options) -> None:
    from probes.sweep.survey import survey

    table = RichTable("run", "model x suite", "items", "left", "batches", "tokens to read, about")
    for plan in survey(spec, directory, options).plans:
        table.add_row(
            plan.run.run_id,
            plan.run.label,
            str(len(plan.items)),
            str(plan.n_left()),
            str(len(plan.batches)),
            f"{plan.n_tokens():.0f}",
        )
    out().print(table)


def _prompt(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise InputError("give the prompt with either --text or --file")
    if file is None:
        return text or ""
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    if not content.strip():
        raise InputError(f"{file} is empty")
    return content


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--batch-size should be auto or a positive number and is {text!r}")
    return int(text)


def _columns() -> tuple[TextColumn, BarColumn, MofNCompleteColumn, TimeRemainingColumn]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


@contextmanager
def _progress() -> Generator[Callable[[Progress], None]]:
    console = err()
    if not console.is_terminal:
        spoken = time.monotonic()

        def say(progress: Progress) -> None:
            nonlocal spoken
            if progress.n_done == progress.n_items or time.monotonic() - spoken >= PLAIN_PROGRESS_SECONDS:
                spoken = time.monotonic()
                console.print(f"{progress.run}: {progress.n_done} of {progress.n_items} items")

        yield say
        return
    with Bar(*_columns(), console=console) as bar:
        task = bar.add_task("sweep", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, description=progress.run, completed=progress.n_done, total=progress.n_items)

        yield show


@contextmanager
def _stop_on_interrupt() -> Generator[Callable[[], bool]]:
    """The first Ctrl-C ends the sweep after its batch; the second ends it at once."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
