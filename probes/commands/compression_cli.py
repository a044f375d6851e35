"""Commands ``sparsity compression`` and ``sparsity scaling``: rates of models as compressors, in tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from probes.commands.compress_cli import PREQUENTIAL, Device, Dtype, checked
from probes.commands.console import out, shown_progress
from probes.sweep.interface import Progress

if TYPE_CHECKING:
    import pandas as pd

RATES = "rates.csv"
POSITIONS = "positions.csv"
SCALING = "scaling.csv"


def compression(
    out_dir: Annotated[Path, typer.Option("--out", help="The folder to make: rates.csv and positions.csv.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A causal language model; may be repeated.")
    ] = None,
    prequential: Annotated[list[str] | None, typer.Option(help=f"{PREQUENTIAL} May be repeated.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="A .txt .md .py .png .jpg .wav or .flac file; may be repeated. Else a sample."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="text, code, image, audio or random; may be repeated. Of what no file is, a sample."
        ),
    ] = None,
    chunk: Annotated[
        list[int] | None,
        typer.Option("--chunk", help="Bytes of a chunk, 2048 by default; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Chunks of 2,048 bytes per kind of data.")] = 16,
    mode: Annotated[str, typer.Option(help="lockstep or exact, as sparsity compress has them.")] = "lockstep",
    batch: Annotated[int, typer.Option(min=1, help="Chunks that a model reads side by side.")] = 16,
    device: Device = "cpu",
    dtype: Dtype = None,
) -> None:
    """Rates of language models and classical compressors on five kinds of data; a fresh process reads every stream.

    After an interruption the same command goes on: rows that are there are not made again.
    """
    from probes.compression.again import fresh_process
    from probes.compression.archive import codec_of
    from probes.compression.fingerprint import hash_weights, mode_of
    from probes.compression.prequential import Plan
    from probes.compression.table import CHUNK, COLUMNS, POSITION_COLUMNS, Rows, rates, samples
    from probes.models.loading import load_model
    from probes.records.resumed import claim, read_rows, write_rows

    wanted, lengths = mode_of(mode), chunk or [CHUNK]
    found = samples(checked(data or []), limit=limit, kinds=kind)
    plans = [Plan(size=size) for size in prequential or []]
    codecs = [codec_of(load_model(name, device=device, dtype=dtype), wanted) for name in model or []]
    task = {
        "models": {codec.model.name: hash_weights(codec.model) for codec in codecs},
        "prequential": [plan.size for plan in plans],
        "data": {sample.modality: hashlib.sha256(b"".join(sample.chunks)).hexdigest() for sample in found},
        "files": [str(path) for path in data or []],
        "kinds": kind or [],
        "limit": limit,
        "chunks": lengths,
        "mode": mode,
        "batch": batch,
    }
    claim(out_dir, task)

    def keep(made: Rows) -> None:
        write_rows(out_dir / POSITIONS, made.positions, POSITION_COLUMNS)  # first, so that no row is without them
        write_rows(out_dir / RATES, made.rows, COLUMNS)

    with fresh_process() as process, shown_progress() as show:

        def tell(row: str, done: int, total: int) -> None:
            show(Progress(done, total, row, unit="bytes"))

        told = rates(
            [*codecs, *plans],
            found,
            mode=wanted,
            batch=batch,
            chunks=lengths,
            process=process,
            tell=tell,
            known=Rows(read_rows(out_dir / RATES, COLUMNS), read_rows(out_dir / POSITIONS, POSITION_COLUMNS)),
            keep=keep,
        )
    for column, title in (
        ("rate", "compressed bytes per byte, headers of every chunk counted"),
        ("rate_header_once", "with one header for all chunks"),
        ("adjusted_rate", "with the weights or the dictionary that both sides must have"),
    ):
        out().print(_rates_table(told.table, column, title))
    out().print(f"every stream was read again by a fresh process; {out_dir / RATES}", soft_wrap=True)


def _rates_table(rates: pd.DataFrame, column: str, title: str) -> Table:
    """A row per compressor and chunk, a column per kind of data."""
    kinds = list(dict.fromkeys(rates["modality"]))
    table = Table("compressor", "chunk", *kinds, title=title, box=SIMPLE_HEAD)
    for (name, chunk), group in rates.groupby(["compressor", "chunk"], sort=False):
        values = dict(zip(group["modality"], group[column], strict=True))
        cells = (f"{values[kind]:.3f}" if kind in values else "" for kind in kinds)
        table.add_row(str(name), str(chunk) if chunk else "whole", *cells)
    return table


def scaling(
    text: Annotated[list[Path], typer.Argument(help="Text files, UTF-8, read in the order given.")],
    out_dir: Annotated[Path, typer.Option("--out", help=f"The folder to make: {SCALING}, models and texts.")],
    size: Annotated[
        list[str] | None, typer.Option(help="Weights of a model: 0.01M, 0.03M, 0.1M, 0.3M ...; may be repeated.")
    ] = None,
    data_bytes: Annotated[
        list[int] | None, typer.Option("--bytes", min=1, help="Bytes of the text, from its beginning; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of every training, of 16 windows of 256.")] = 1200,
    chunks: Annotated[int, typer.Option(min=2, help="Chunks of 255 bytes that are coded and read again.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and of the order of windows.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train byte-level models of several sizes on texts of several sizes: rates with the weights counted.

    After an interruption the same command goes on.
    """
    import torch

    from probes.compression.again import fresh_process
    from probes.compression.scaling import COLUMNS, Scaling, classical_rows, model_row, trainings
    from probes.records.resumed import claim, read_rows, write_rows

    torch.set_num_threads(threads)
    plain = Scaling()
    plan = Scaling(
        sizes=tuple(size or plain.sizes),
        n_bytes=tuple(data_bytes or plain.n_bytes),
        steps=steps,
        n_chunks=chunks,
        seed=seed,
    )
    read = b"".join(path.read_bytes() for path in checked(text))[: max(plan.n_bytes)]
    task = {
        "files": [str(path) for path in text],
        "text": hashlib.sha256(read).hexdigest(),
        "steps": steps,
        "chunks": chunks,
        "seed": seed,
    }
    claim(out_dir, task)
    models, path = out_dir / "models", out_dir / SCALING
    models.mkdir(exist_ok=True)
    rows = read_rows(path, COLUMNS)

    def add(row: Mapping[str, object]) -> None:
        rows.append(row)
        write_rows(path, rows, COLUMNS)

    made = {(row["compressor"], row["n_bytes"]) for row in rows}
    with fresh_process() as process, shown_progress() as show:

        def told(name: str) -> Callable[[int, int, float], None]:
            return lambda step, total, _: show(Progress(step, total, f"training {name}", unit="steps"))

        for trained in trainings(read, plan, models, told):
            key = (trained.size, len(trained.data))
            if key not in made:
                add(model_row(trained, plan, process))
            if not any(row["kind"] == "classical" and row["n_bytes"] == len(trained.data) for row in rows):
                for row in classical_rows(trained.data, process):
                    add(row)
    out().print(_scaling_table(rows))
    out().print(f"every stream was read again by a fresh process; {path}", soft_wrap=True)


def _scaling_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per model and compressor, both rates for every size of data."""
    sizes = sorted({int(row["n_bytes"]) for row in rows})
    heads = (head for n_bytes in sizes for head in (f"rate, {n_bytes:,} bytes", "adjusted"))
    table = Table("compressor", "weights", *heads, title="compressed bytes per byte", box=SIMPLE_HEAD)
    for name in dict.fromkeys(row["compressor"] for row in rows):
        own = {int(row["n_bytes"]): row for row in rows if row["compressor"] == name}
        n_weights = max(int(row["n_weights"]) for row in own.values())
        cells = (
            f"{own[n_bytes][column]:.3f}" if n_bytes in own else ""
            for n_bytes in sizes
            for column in ("rate", "adjusted_rate")
        )
        table.add_row(name, f"{n_weights:,}" if n_weights else "", *cells)
    return table
