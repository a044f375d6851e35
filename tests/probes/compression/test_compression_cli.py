"""The two commands: files in a folder again, one line for what cannot be used, nothing half-written."""

import re
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

from probes.cli import app, at_the_edge
from probes.compression.table import Sample
from tests.probes.compression.conftest import SENTENCE, opened

PROGRESS = re.compile(r"(de)?compress: |.* on text, |training |Loading weights|$")

Run = Callable[..., int]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command's exit status; what it cannot use is one line."""

    def go(*arguments: object) -> int:
        with pytest.raises(SystemExit) as left:
            at_the_edge(lambda: app([str(argument) for argument in arguments]))
        status = int(left.value.code or 0)
        said = capsys.readouterr()
        if status:
            assert status == 2
            lines = [line for line in said.err.splitlines() if not PROGRESS.match(line)]
            assert len(lines) == 1, said.err
        return status

    return go


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "text.txt", tmp_path / "empty", tmp_path / "noise.bin"]
    for path, data in zip(found, (SENTENCE.encode(), b"", bytes(range(0, 256, 7))), strict=True):
        path.write_bytes(data)
    return found


@pytest.fixture(scope="module")
def broken_model(byte_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose logits are not numbers."""
    module, tokenizer = opened(byte_model)
    module.get_output_embeddings().weight.data.fill_(float("nan"))
    folder = tmp_path_factory.mktemp("codec") / "nan"
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_files_come_back(run: Run, tmp_path: Path, files: list[Path], byte_model: Path) -> None:
    archive, back = tmp_path / "a.spz", tmp_path / "back"
    assert run("compress", *files, "--model", byte_model, "--out", archive, "--chunk", 50) == 0
    assert run("decompress", archive, "--out", back) == 0
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {p.name: p.read_bytes() for p in files}
    assert run("decompress", archive, "--out", back) == 2  # nothing is written over
    assert run("compress", files[0], "--model", byte_model, "--out", archive) == 2


def test_an_archive_of_a_model_in_training_needs_no_model(run: Run, tmp_path: Path, files: list[Path]) -> None:
    archive, back = tmp_path / "a.spz", tmp_path / "back"
    assert run("compress", *files, "--prequential", "0.3M", "--out", archive, "--chunk", 16) == 0
    assert run("decompress", archive, "--out", back) == 0
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {p.name: p.read_bytes() for p in files}


def test_the_table_is_read_again_by_a_fresh_process_and_gone_on_with(
    run: Run, tmp_path: Path, byte_model: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rates"
    for wrong in (("--kind", "smell"), ("--prequential", "2M"), ("--data", tmp_path), ("--model", tiny_model)):
        assert run("compression", *wrong, "--out", out) == 2
        assert not out.exists()
    short = [Sample("text", [SENTENCE.encode()], [])]
    monkeypatch.setattr("probes.compression.table.samples", lambda *_, **__: short)
    asked = ("compression", "--model", byte_model, "--prequential", "0.01M", "--out", out)
    assert run(*asked) == 0
    table = pd.read_csv(out / "rates.csv").set_index("compressor")
    assert table.loc["prequential 0.01M", "adjusted_rate"] == table.loc["prequential 0.01M", "rate"]
    assert table.loc[str(byte_model), "n_known_bytes"] == (byte_model / "model.safetensors").stat().st_size
    before = (out / "rates.csv").read_bytes()
    assert len(before.splitlines()) > 4
    (out / "rates.csv").write_bytes(b"".join(before.splitlines(keepends=True)[:3]))  # as an interruption leaves it
    assert run(*asked) == 0
    assert (out / "rates.csv").read_bytes() == before
    assert run(*asked, "--chunk", 64) == 2
    assert run("compression", "--out", tmp_path) == 2  # a folder of something else


def test_what_cannot_be_used_is_one_line_and_leaves_nothing(
    run: Run,
    tmp_path: Path,
    files: list[Path],
    byte_model: Path,
    token_model: Path,
    tiny_model: Path,
    broken_model: Path,
) -> None:
    out = tmp_path / "out"
    model = ("--model", byte_model)
    for arguments in (
        ("compress", tmp_path, *model),
        ("compress", tmp_path / "absent", *model),
        ("compress", files[0], files[0], *model),
        ("compress", files[0], "--model", tiny_model),
        ("compress", files[0], "--model", tmp_path / "no-model"),
        ("compress", files[0], *model, "--mode", "quick"),
        ("compress", files[0], "--model", broken_model),
        ("compress", files[0]),
        ("compress", files[0], *model, "--prequential", "0.3M"),
        ("compress", files[0], "--prequential", "2M"),
        ("compress", files[0], "--prequential", "0.3M", "--mode", "exact"),
        ("decompress", files[0]),
        ("decompress", files[1]),
        ("decompress", tmp_path),
    ):
        assert run(*arguments, "--out", out) == 2, arguments
        assert not list(tmp_path.glob("out*")), arguments
    archive, cut = tmp_path / "a.spz", tmp_path / "cut.spz"
    assert run("compress", files[0], *model, "--out", archive, "--mode", "exact") == 0
    cut.write_bytes(archive.read_bytes()[:-30])
    assert run("decompress", cut, "--out", out) == 2
    assert run("decompress", archive, "--out", out, "--model", token_model) == 2
    assert not out.exists()


def test_sizes_of_models_and_data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates of two sizes, with the weights as they are stored; the second call trains the size that is new."""
    # The test of the table has a fresh process read; here this one does.
    monkeypatch.setattr("probes.compression.again.fresh_process", nullcontext)
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(SENTENCE * 60)
    asked = ("scaling", text, "--bytes", 1500, "--bytes", 3000, "--steps", 2, "--chunks", 3, "--out", out)
    assert run(*asked, "--size", "0.01M") == 0
    first = (out / "models" / "0.01M-3000" / "model.safetensors").stat()
    assert run(*asked, "--size", "0.01M", "--size", "0.03M") == 0
    assert (out / "models" / "0.01M-3000" / "model.safetensors").stat().st_mtime_ns == first.st_mtime_ns
    table = pd.read_csv(out / "scaling.csv")
    models = table[table["kind"] == "model"]
    assert sorted(zip(models["compressor"], models["n_bytes"], strict=True)) == [
        (size, n_bytes) for size in ("0.01M", "0.03M") for n_bytes in (1500, 3000)
    ]
    small = models[(models["compressor"] == "0.01M") & (models["n_bytes"] == 3000)].iloc[0]
    assert small["n_known_bytes"] == first.st_size
    assert small["adjusted_rate"] == pytest.approx(small["rate"] + first.st_size / 3000)
    assert small["rate_low"] < small["rate"] < small["rate_high"]
    assert {"gzip", "PPMd"} <= set(table[table["kind"] == "classical"]["compressor"])
    for wrong in (("--steps", 3), ("--bytes", 9999), ("--bytes", 5), ("--size", "7B")):
        assert run(*asked, *wrong) == 2


def test_a_stop_by_a_scheduler_leaves_nothing(
    tmp_path: Path, files: list[Path], byte_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while the archive is being written; the handler of before is there again."""
    before = signal.getsignal(signal.SIGTERM)

    def stopped(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("probes.compression.archive.pack", stopped)
    with pytest.raises(SystemExit) as left:
        app(["compress", str(files[0]), "--model", str(byte_model), "--out", str(tmp_path / "a.spz")])
    assert left.value.code == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "noise.bin", "text.txt"]
    assert signal.getsignal(signal.SIGTERM) == before
