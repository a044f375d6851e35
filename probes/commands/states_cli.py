"""``sparsity measure-states``: sparsity of hidden states that another engine wrote, without running a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from probes.commands.console import err, out
from probes.errors import InputError

if TYPE_CHECKING:
    from probes.capture.reading import Reading
    from probes.vocabulary.axes import Axis


def measure_states(
    file: Annotated[
        Path, typer.Argument(help="A safetensors file (one text), or an index of such files (JSON Lines).")
    ],
    sites: Annotated[
        str, typer.Option(help="Sites of the tensor hidden_states, in its order: 'resid_post.2 resid_post.17'.")
    ] = "",
    layers: Annotated[
        int | None, typer.Option(min=1, help="Number of blocks of the model, if final_norm is among the sites.")
    ] = None,
    metrics: Annotated[str, typer.Option(help="Names of metrics, separated by spaces.")] = "default",
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Also write a sweep directory, which `sparsity report` reads.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the model that wrote them, for the tables.")] = "foreign",
    suite: Annotated[str, typer.Option(help="Name of the texts together, for the tables.")] = "states",
    axis: Annotated[str, typer.Option(help="Axis that the levels are of: steps, exposure, domain ...")] = "domain",
    harder: Annotated[
        str | None, typer.Option(help="For an axis of your own with an order: its harder end, higher or lower.")
    ] = None,
) -> None:
    """Print the sparsity of stored hidden states, site by site; the mean over texts where there are several."""
    from probes.capture.engine_states import depth_of, measure_file, read_file, read_index
    from probes.sweep.foreign import write_foreign
    from probes.vocabulary.sites import Site
    from sparsity import parse_metrics

    try:
        specs = parse_metrics(metrics.split())
    except ValueError as error:
        raise InputError(f"--metrics {metrics!r}: {error}") from None
    asked = _axis(axis, harder)
    named = [name for name in sites.replace(",", " ").split() if name]
    n_layers = layers or depth_of(named)
    places = [Site.parse(name, n_layers=n_layers) for name in named]
    entries = read_index(file)
    readings: list[Reading] = []
    widths: dict[str, int] = {}
    n_tokens: list[int] = []
    for item, entry in enumerate(entries):
        states = read_file(entry.file, places, layers)
        first = readings[0:1] and {reading.site for reading in readings if reading.item[0] == 0}
        if first and first != set(states):
            raise InputError(f"{entry.file} has other sites than {entries[0].file}; index texts of one kind together")
        readings += measure_file(states, specs, item)
        widths |= {site.name: own.shape[1] for site, own in states.items()}
        n_tokens.append(len(next(iter(states.values()))))
    names = [str(spec) for spec in specs]
    out().print(_table(readings, names, f"{file.name}: {len(entries)} texts, {sum(n_tokens)} tokens"))
    if out_dir is not None:
        write_foreign(
            *(out_dir, entries, readings, specs),
            model=model,
            suite=suite,
            axis=asked,
            widths=widths,
            n_tokens=n_tokens,
        )
        err().print(f"{out_dir}: a sweep of {len(entries)} texts; sparsity report {out_dir}", soft_wrap=True)


def _table(readings: list[Reading], names: list[str], title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    table.add_column("position")
    for name in names:
        table.add_column(name.replace("_", "\n"), justify="right", min_width=6, overflow="fold")
    for site, position in dict.fromkeys((str(reading.site), reading.position) for reading in readings):
        own = [r.values[0] for r in readings if (str(r.site), r.position) == (site, position)]
        values = np.array(own, dtype=np.float64)
        known = ~np.isnan(values)
        means = np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        table.add_row(site, position, *(f"{value:.4f}" for value in means))
    return table


def _axis(name: str, harder: str | None) -> Axis:
    from probes.vocabulary.axes import AXES, Axis

    if harder not in (None, "higher", "lower"):
        raise InputError(f"--harder should be higher or lower and is {harder!r}")
    known = AXES.get(name)
    if known is not None and harder is None:
        return known
    if harder is None:
        return Axis(name=name, unit="", kind="nominal", harder=None)
    return Axis(name=name, unit="", kind="difficulty", harder="higher" if harder == "higher" else "lower")
