"""The edge of the command line: whatever goes wrong is one line and an exit status, on any terminal."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.table import Table

from analyses.cli import main
from probes.cli import at_the_edge
from probes.commands.console import out
from probes.commands.sweep_cli import conduct, shard_of
from probes.errors import InputError
from probes.lab import reference_path
from probes.records import open_run
from probes.sweep import run
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec

SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "SLURM_NTASKS": "8"}


def raising(error: Exception) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("nothing\nthere"), 2, "sparsity: nothing there\n"),
        (PermissionError(13, "Permission denied", "/root/x"), 2, "sparsity: /root/x: Permission denied\n"),
        (ZeroDivisionError("division by zero"), 70, "sparsity: this is a fault of sparsity, not of your input; please"),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    error: Exception, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for debug in ("", "1"):
        monkeypatch.setenv("SPARSITY_DEBUG", debug)
        with pytest.raises(SystemExit) as ended:
            at_the_edge(raising(error))
        assert ended.value.code == status
        lines = capsys.readouterr().err.splitlines(keepends=True)
        assert lines[-1].startswith(said)
        assert (len(lines) > 1) == bool(debug)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compress", "x"], "sparsity: Missing option '--out'; see sparsity compress --help\n"),
        (["measure"], "sparsity: Missing argument 'model'; see sparsity measure --help\n"),
        (["memory", "tarin"], "sparsity: No such command 'tarin'"),
        (["sweep", "x", "--out", "y", "--limt", "3"], "sparsity: No such option: --limt"),
        (["measure", "x", "--seed", "x"], "sparsity: Invalid value for '--seed'"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparsity", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines(keepends=True)
    assert line.startswith(said)
    assert line.endswith("--help\n")


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_terminal_of_any_encoding_shows_every_label(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", shown)

    def command() -> None:
        table = Table("label", "\N{GREEK SMALL LETTER DELTA}")
        table.add_row("\N{TELUGU LETTER KA}\N{CJK UNIFIED IDEOGRAPH-6570}", "\udcff")
        out().print(table)

    at_the_edge(command)
    shown.flush()
    assert b"\\u0c15" in shown.buffer.getvalue()  # the Telugu letter, which neither encoding has


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        (SRUN, (3, 8)),
        ({name: value for name, value in SRUN.items() if "STEP" not in name}, None),  # a batch script
        (SRUN | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}, None),  # the shell of salloc
        (SRUN | {"SLURM_STEP_ID": "4294967291"}, None),  # a batch script that says which step it is
        (SRUN | {"SLURM_PTY_PORT": "34889"}, None),  # a shell of srun --pty
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, None),  # one task of a larger job
        ({}, None),
    ],
)
def test_only_a_task_of_srun_takes_a_share(environment: dict[str, str], shard: tuple[int, int] | None) -> None:
    assert shard_of(None, environment) == shard


@pytest.mark.usefixtures("eager_commits")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_sweep_after_its_batch_with_what_to_run_again(
    number: signal.Signals,
    status: int,
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = run.Pending.add

    def add(pending: run.Pending, rows: object) -> None:
        own(pending, rows)  # pyright: ignore[reportArgumentType]
        signal.raise_signal(number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(run.Pending, "add", add)
        with pytest.raises(typer.Exit) as ended:
            conduct(make_spec(), tmp_path / "run", Options(batch_size=2), command="sparsity sweep again")
    assert ended.value.exit_code == status
    assert capsys.readouterr().err.endswith("interrupted; to go on: sparsity sweep again\n")
    assert signal.getsignal(number) is before
    assert open_run(tmp_path / "run").measurements()["example_id"].nunique() == 2


def test_a_sweep_is_asked_for_by_a_spec_a_dict_or_a_path(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(n=2)
    asked = json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    monkeypatch.chdir(tmp_path)
    for given in (asked, "spec.yaml", tmp_path / "spec.yaml", spec):
        run_sweep(given, "run")
    assert open_run("run").measurements()["example_id"].nunique() == 2
    assert len(json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"]) == 1  # one spec, four ways


def test_a_laboratory_of_another_world_is_one_line(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(suites=[{"lab": str(reference_path()), "name": "facts"}])
    with pytest.raises(InputError, match="no model of this sweep was trained in it"):
        run_sweep(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()
