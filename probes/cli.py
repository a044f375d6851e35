"""Commands about models and inputs: sweep, measure, list, verify, lab and more. The package analyses adds its own.

Results go to stdout, progress and faults to stderr. Exit status: 0 done; 1 finished, but some items failed; 2 unusable
input, one line and no traceback; 70 a fault of this toolkit, one line (``SPARSITY_DEBUG=1`` shows where); 128 and the
number of the signal that ended it: 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import io
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from probes.commands.compress_cli import compress, decompress
from probes.commands.compression_cli import compression, scaling
from probes.commands.console import err, out
from probes.commands.curriculum_cli import curriculum
from probes.commands.density_cli import density
from probes.commands.fine_tune_cli import fine_tune
from probes.commands.index_cli import index
from probes.commands.lab_cli import lab
from probes.commands.learning_cli import learning_law
from probes.commands.listing import LISTS, axioms_table
from probes.commands.memory_cli import memory
from probes.commands.spec_cli import freeze, init, schema
from probes.commands.states_cli import measure_states
from probes.commands.sweep_cli import EXIT_FAILURES, runs, sweep
from probes.errors import InputError
from sparsity import __version__
from sparsity.registry import PluginError, UnknownNameError

EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130
# typer shows the kinds of refusal below this one, and not itself.
UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
EXIT_FAULT = 70  # what sysexits.h calls an internal software error
DEBUG = "SPARSITY_DEBUG"

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
app.command()(init)
app.command()(sweep)
app.command()(schema)
app.command()(freeze)
app.command()(density)
app.command()(measure_states)
app.command()(compress)
app.command()(decompress)
app.command()(compression)
app.command()(scaling)
app.command()(curriculum)
app.command("learning-law")(learning_law)
lab.command("fine-tune")(fine_tune)
app.add_typer(runs, name="runs")
app.add_typer(lab, name="lab")
app.add_typer(index, name="index")
app.add_typer(memory, name="memory")


def _print_version(asked: bool) -> bool:
    if asked:
        out().print(f"sparsity {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def sparsity(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Measure how sparse a language model's hidden states are, and how that relates to difficulty and familiarity.

    Begin with `sparsity demo`, or with `sparsity init` for a sweep of your own.
    """


@app.command()
def measure(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a model; lab-reference is shipped.")],
    text: Annotated[str | None, typer.Option(help="The prompt itself.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the prompt from this UTF-8 file instead.")] = None,
    position: Annotated[str, typer.Option(help="Which tokens: last, mean, or a slice such as 5:10.")] = "last",
    metrics: Annotated[str, typer.Option(help="Names of metrics, separated by spaces.")] = "default",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut the prompt to this many tokens.")] = None,
    template: Annotated[
        str, typer.Option(help="none, or chat: put the prompt into the model's chat template.")
    ] = "none",
    generate: Annotated[
        int | None, typer.Option(min=1, help="Let the model write this many tokens and measure each.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="With --generate: sample tokens with this seed; without it the most likely token is taken."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="Load weights as float32, bfloat16 or float16; by default as they are stored.")
    ] = None,
) -> None:
    """Print the sparsity of one prompt, layer by layer, beside the value of a random Gaussian vector."""
    from probes.capture.collection import collect
    from probes.models.loading import load_model
    from sparsity import nulls, parse_metrics

    prompt = _prompt(text, file)
    if position == "all":
        raise InputError("measure prints one row per layer; give --position last, mean or a slice")
    if template not in ("none", "chat"):
        raise InputError(f"--template should be none or chat and is {template!r}")
    try:
        specs = parse_metrics(metrics.split())
    except ValueError as error:
        raise InputError(f"--metrics {metrics!r}: {error}") from None
    names = [str(spec) for spec in specs]
    loaded = load_model(model, device=device, dtype=dtype)
    read: dict[str, Any] = {"max_tokens": max_tokens, "template": template}
    frame = collect(loaded, [prompt], sites=["resid_post", "final_norm"], positions=position, metrics=names, **read)
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
    null = [nulls.gaussian(spec, loaded.d_model).mean for spec in specs]
    table.add_section()
    table.add_row(f"Gaussian, d={loaded.d_model}", *("" if math.isnan(value) else f"{value:.4f}" for value in null))
    tables = [table]
    if generate is not None:
        from probes.capture.generation.generating import collect_generation

        written = collect_generation(
            loaded, [prompt], "final_norm", names, max_new_tokens=generate, sample=seed, **read
        )
        new = written.measurements[written.measurements["position"] == "generated"]
        values = new["value"].to_numpy().reshape(-1, len(names))
        columns = (written.tokens[name] for name in ("token", "text", "surprisal", "next_token_entropy"))
        tables.append(_written_table(zip(*columns, values.tolist(), strict=True), names))
    for each in tables:
        out().print(each)


def _written_table(rows: Iterable[tuple[int, str, float, float, list[float]]], metrics: Sequence[str]) -> RichTable:
    """One row per token that the model wrote."""
    table = RichTable(
        title="tokens that the model wrote; states at final_norm after reading each",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("token", justify="right")
    table.add_column("text", no_wrap=True)
    for name in ("surprisal\nbits", "next-token\nentropy, nats", *(name.replace("_", "\n") for name in metrics)):
        table.add_column(name, justify="right", min_width=6, overflow="fold")
    for token, text, surprisal, entropy, values in rows:
        table.add_row(str(token), Text(repr(text)), f"{surprisal:.2f}", f"{entropy:.2f}", *(f"{v:.4f}" for v in values))
    return table


@app.command("verify")
def verify_(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a model.")],
    dtype: Annotated[
        str | None, typer.Option(help="Load weights as float32, bfloat16 or float16; by default as they are stored.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1 ...")] = "cpu",
) -> None:
    """Check that the states which are measured are the model's own; exit status 1 if a check fails."""
    from probes.capture.verification.verdict import verify
    from probes.models.loading import load_model

    loaded = load_model(model, dtype=dtype, device=device)
    table = RichTable("check", "verdict", "states differ", "metrics differ", "allowed", "most at", title=loaded.name)
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
    out().print("differences are relative; a check that is `described` is reported and decides nothing", soft_wrap=True)
    for kind, reason in loaded.lacks.items():
        out().print(f"site {kind} cannot be measured: {reason}", soft_wrap=True)
    if any(check.verdict == "fail" for check in found):
        raise typer.Exit(EXIT_FAILURES)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="metrics, suites, axes, sites, familiarity, analyses or claims.")],
    with_axioms: Annotated[
        bool, typer.Option("--axioms", help="With metrics: the axioms that each satisfies.")
    ] = False,
) -> None:
    """List what can be named in a spec: metrics, suites, axes, sites, familiarity measures, analyses; and claims."""
    out().print(axioms_table() if with_axioms and what == "metrics" else LISTS[what]())


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


def at_the_edge(command: Callable[[], None]) -> None:
    """Run the command so that whatever goes wrong is one line on stderr and an exit status.

    A terminal that cannot show a character is sent its escape instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            command()
    except (InputError, UnknownNameError, PluginError) as error:
        _end(str(error), EXIT_UNUSABLE)
    except typer.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except UsageError as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        _end(
            f"this needs the package {package}, which is not installed: pip install activation-sparsity", EXIT_UNUSABLE
        )
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _end(f"{name}{error.strerror or error}", EXIT_UNUSABLE)
    except Exception as error:  # noqa: BLE001  the last line of defence
        at = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
        remedy = f"please report it with the input and with what {DEBUG}=1 shows before this line"
        _end(f"this is a fault of sparsity, not of your input; {remedy}: {reason}", EXIT_FAULT)


def typed() -> None:
    """Run the command that was typed, and leave with its status; a refusal of what was typed is raised."""
    status = app(prog_name="sparsity", standalone_mode=False)
    sys.exit(status if isinstance(status, int) else 0)


def _refuse(error: Any) -> None:  # noqa: ANN401 -- a UsageError, whose type typer keeps to itself
    """Say what was typed wrongly and where it is explained; a group without a command has shown its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(EXIT_UNUSABLE)
    place = error.ctx.command_path if error.ctx else "sparsity"
    _end(f"{error.format_message().rstrip('.')}; see {place} --help", EXIT_UNUSABLE)


def _end(message: str, status: int) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    err().print(f"sparsity: {' '.join(message.split())}", markup=False, soft_wrap=True)
    sys.exit(status)


def _one_line(message: Warning | str, *_: object) -> None:
    err().print(f"sparsity: {' '.join(str(message).split())}", markup=False, soft_wrap=True)
