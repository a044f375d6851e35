"""Commands ``sparsity compress`` and ``sparsity decompress``: files through a language model and back."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from probes.commands.console import out, shown_progress
from probes.errors import InputError
from probes.sweep.interface import Progress

if TYPE_CHECKING:
    from probes.compression.archive import Packed

UNFINISHED = ".unfinished"
PREQUENTIAL = (
    "Size (0.3M, 1M ...) of a model that is trained while it codes, on both sides, so that no weights are needed."
)

Device = Annotated[str, typer.Option(help="Where the model is put: cpu, cuda, cuda:1 ...")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; as stored by default.")]


def compress(
    files: Annotated[list[Path], typer.Argument(help="Any files.")],
    out_file: Annotated[Path, typer.Option("--out", help="The archive to write.")],
    model: Annotated[str | None, typer.Option(help="A local path or hub name of a causal language model.")] = None,
    prequential: Annotated[str | None, typer.Option(help=PREQUENTIAL)] = None,
    mode: Annotated[
        str,
        typer.Option(help="lockstep: any model, read where it was written. exact: small Llamas, read anywhere."),
    ] = "lockstep",
    chunk: Annotated[
        int | None,
        typer.Option(min=1, help="Bytes that the model reads from an empty context on; 2048, or 256 in training."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Chunks that it reads side by side; 16, or 4 in training.")
    ] = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor; as many as it has by default.")] = None,
) -> None:
    """Write files as one archive that a model has made small; decompress gives the same bytes again."""
    inputs = checked(files)
    if out_file.exists():
        raise InputError(f"{out_file} is there already: name another file")
    if not out_file.parent.is_dir():
        raise InputError(f"there is no folder {out_file.parent} to write {out_file.name} to")

    if (model is None) == (prequential is None):
        raise InputError("name either a model that is there (--model) or the size of one to train (--prequential 0.3M)")

    import torch

    from probes.compression import prequential as training
    from probes.compression.archive import BATCH, CHUNK, Input, codec_of, pack
    from probes.compression.fingerprint import mode_of
    from probes.models.loading import load_model

    if threads is not None:
        torch.set_num_threads(threads)
    wanted = mode_of(mode)
    if model is None:
        if wanted == "exact" or device != "cpu" or dtype is not None:
            raise InputError(
                "a model in training codes in lockstep mode, on the processor, in float32: leave out the options"
            )
        chunk, batch = chunk or training.CHUNK, batch or training.BATCH
        codec = training.codec_in_training(training.Plan(size=prequential or ""), chunk=chunk)
    else:
        chunk, batch = chunk or CHUNK, batch or BATCH
        local = Path(model).expanduser()
        name = str(local.resolve()) if local.exists() else model
        codec = codec_of(load_model(name, device=device, dtype=dtype), wanted)
    named = [Input(path.name, path.stat().st_size, _opener(path)) for path in inputs]
    unfinished = out_file.with_name(out_file.name + UNFINISHED)
    with _told("compress") as tell, _whole([unfinished]):
        with unfinished.open("xb") as sink:
            packed = pack(named, sink, codec, chunk=chunk, batch=batch, progress=tell)
        unfinished.replace(out_file)
    out().print(_summary(packed, out_file), soft_wrap=True)


def decompress(
    archive: Annotated[Path, typer.Argument(help="A file of sparsity compress.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The folder to write the files to.")],
    model: Annotated[str | None, typer.Option(help="The model that wrote it, if it is elsewhere now.")] = None,
    device: Device = "cpu",
) -> None:
    """Write the files of an archive, whole and checked, or none of them."""
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir} is a file: name a folder")
    checked([archive])
    with archive.open("rb") as source:
        from probes.compression.container import FileEntry, Opened

        opened = Opened(source, str(archive))
        taken = next((file.name for file in opened.header.files if (out_dir / file.name).exists()), None)
        if taken is not None:
            raise InputError(f"{out_dir / taken} is there already: name another folder")

        from probes.compression.archive import codec_of, unpack
        from probes.compression.prequential import codec_of_archive
        from probes.models.loading import load_model

        if opened.header.trained is not None:
            codec = codec_of_archive(opened)
        else:
            dtype = opened.header.fingerprint.get("dtype")
            codec = codec_of(load_model(model or opened.header.model, device=device, dtype=dtype), opened.header.mode)
        parts = {file.name: out_dir / (file.name + UNFINISHED) for file in opened.header.files}
        made = not out_dir.exists()
        out_dir.mkdir(parents=True, exist_ok=True)
        with _told("decompress") as tell, _whole(list(parts.values()), out_dir if made else None):
            with ExitStack() as sinks:

                def open_sink(file: FileEntry) -> BufferedIOBase:
                    return sinks.enter_context(parts[file.name].open("xb"))

                unpack(opened, codec, open_sink, progress=tell)
            for name, part in parts.items():
                part.replace(out_dir / name)
    n_bytes = sum(file.n_bytes for file in opened.header.files)
    out().print(f"{out_dir}: {len(parts)} files, {n_bytes} bytes, every sha256 as it was", soft_wrap=True)


def checked(files: Sequence[Path]) -> Sequence[Path]:
    """Files that can be read and told apart by their names."""
    for path in files:
        if path.is_dir():
            raise InputError(f"{path} is a folder: name the files in it")
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        try:
            path.open("rb").close()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
    names = [path.name for path in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"two files are called {twice}, and an archive keeps names without folders: write two archives"
        )
    return files


def _opener(path: Path) -> Callable[[], BufferedIOBase]:
    return lambda: path.open("rb")


@contextmanager
def _told(what: str) -> Generator[Callable[[int, int], None]]:
    """Bytes done and all, as the bar or the lines of every command."""
    with shown_progress() as show:
        yield lambda done, total: show(Progress(done, total, what, unit="bytes"))


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def _whole(parts: Sequence[Path], folder: Path | None = None) -> Generator[None]:
    """Leave nothing half-written, whatever happens; SIGTERM, as schedulers send it, is a stop with status 143."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    except BaseException:
        for part in parts:
            part.unlink(missing_ok=True)
        if folder is not None and not any(folder.iterdir()):
            folder.rmdir()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _summary(packed: Packed, path: Path) -> str:
    """Summary of what was written, in one line of numbers."""
    per_byte = 8 * packed.n_stream_bytes / packed.n_bytes if packed.n_bytes else float("nan")
    streams = "1 stream" if packed.n_streams == 1 else f"{packed.n_streams} streams"
    return (
        f"{path}: {packed.n_bytes} bytes in {packed.n_container_bytes} ({packed.rate:.4f} of them), of which "
        f"{packed.n_stream_bytes} are {streams} ({per_byte:.4f} bits per byte; ideal "
        f"{packed.ideal_bits / 8:.1f} bytes) and the rest headers; probability kept for what the model gives none: "
        f"{packed.mass_kept:.2g}"
    )
