"""Commands about sweep specs: write a first one, print their JSON Schema, freeze a suite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from probes.commands.console import out
from probes.errors import InputError


def init(
    spec: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sweep.yaml"),
    full: Annotated[bool, typer.Option("--full", help="Write every key at its default, with an explanation.")] = False,
) -> None:
    """Write a first sweep spec, which runs offline as it is; change it into your own."""
    from probes.commands.spec_file import FIRST_SPEC, full_spec

    try:
        with spec.open("x", encoding="utf-8") as file:
            file.write(full_spec() if full else FIRST_SPEC)
    except FileExistsError:
        raise InputError(f"{spec} is there already; name another file, or remove it first") from None
    except OSError as error:
        raise InputError(f"cannot write {spec}: {error.strerror}") from None
    out().print(
        f"wrote {spec}; next: sparsity sweep {spec} --out runs/first, then: sparsity report runs/first",
        soft_wrap=True,
    )


def schema() -> None:
    """Print the JSON Schema of sweep specs, with which an editor completes and checks keys."""
    from probes.commands.spec_file import spec_schema

    sys.stdout.write(json.dumps(spec_schema(), indent=2) + "\n")


def freeze(
    spec: Annotated[Path, typer.Argument(help="A sweep spec.")],
    suite: Annotated[str, typer.Argument(help="The name of one of its suites.")],
    out_file: Annotated[Path, typer.Option("--out", help="JSONL file to write.")],
) -> None:
    """Write the items of one suite to a JSONL file, so that exactly these items can be asked again.

    All items are written, whatever the limits of the spec. Suites that need a tokenizer or a model's answers use the
    first model of the spec.
    """
    from probes.suites.frozen import freeze as write_down
    from probes.suites.shifts.shift_suite import Shift
    from probes.sweep.inputs import open_model
    from probes.sweep.spec import load_spec
    from probes.sweep.suite_tools import tools_of

    loaded = load_spec(spec)
    names = [entry.name for entry in loaded.suites]
    if suite not in names:
        raise InputError(f"{spec} has no suite {suite!r}; it has {', '.join(names)}")
    entry = loaded.suites[names.index(suite)]
    if isinstance(entry, Shift) and entry.needs:
        found = entry.suite(tools_of(loaded, open_model(loaded.models[0], "cpu")))
    else:
        found = entry.suite()
    n_items = write_down(found, found.generator(loaded.seed), out_file)
    out().print(f"{n_items} items of {suite} in {out_file}", soft_wrap=True)
