"""Death at any moment: kill -9 a sweep again and again, resume it, and every table equals the undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from probes.sweep.spec import SweepSpec
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_run import assert_same


def start(spec: SweepSpec, out: Path, options: Options) -> int:
    """Run a sweep in a child process that shares what is imported already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # one thread is all that this child uses
        child = os.fork()
    if child == 0:
        status = 1
        try:
            run_sweep(spec, out, options)
            status = 0
        finally:
            os._exit(status)
    return child


def n_commits(out: Path) -> int:
    return len(list((out / "commits").glob("*.json")))


def kill_somewhere(child: int, out: Path, at_commit: int, delay: float) -> bool:
    """Kill the child ``delay`` seconds after its commit; whether it was still alive then."""
    while n_commits(out) < at_commit:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.0005)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def count_kills(make_spec: MakeSpec, folder: Path, rng: np.random.Generator, wanted: int, n_items: int = 20) -> int:
    """Kill sweeps of several batch sizes until ``wanted`` died with a commit behind them; each must end up whole."""
    spec = make_spec(n=n_items)
    batch_sizes = (1, 3, n_items)
    for size in batch_sizes:
        run_sweep(spec, folder / f"whole-{size}", Options(batch_size=size))
    total = n_commits(folder / "whole-1")
    kills = trial = 0
    while kills < wanted:
        size = batch_sizes[trial % len(batch_sizes)]
        out = folder / f"killed-{trial}"
        trial += 1
        options = Options(batch_size=size)
        for _ in range(int(rng.integers(1, 3))):
            at_commit = n_commits(out) + 1 + int(rng.integers(0, max(1, total // size // 2)))
            kills += kill_somewhere(start(spec, out, options), out, at_commit, float(rng.uniform(0, 0.02)))
        run_sweep(spec, out, options)
        assert_same(folder / f"whole-{size}", out)
    return kills


@pytest.mark.usefixtures("eager_commits")
def test_a_few_kills_lose_no_row(make_spec: MakeSpec, tmp_path: Path) -> None:
    assert count_kills(make_spec, tmp_path, np.random.default_rng(0), wanted=2, n_items=6) >= 2


@pytest.mark.usefixtures("eager_commits")
def test_death_between_the_parts_and_their_commit_is_as_if_neither_were(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, options = make_spec(), Options(batch_size=2)
    run_sweep(spec, tmp_path / "whole", options)
    renames: list[Path] = []
    own = Path.replace

    def dying(path: Path, target: Path) -> Path:
        renames.extend([target] if target.parent.name == "commits" else [])
        if len(renames) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(path, target)

    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        _, status = os.waitpid(start(spec, out, options), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert n_commits(out) == 4
    assert json.loads((out / "commits" / "000003.json").read_text())["done"]
    assert (out / "measurements" / "000005.parquet").exists()  # written whole, and believed by nobody
    run_sweep(spec, out, options)
    assert_same(tmp_path / "whole", out)


@pytest.mark.long
@pytest.mark.usefixtures("eager_commits")
def test_workers_end_with_a_driver_that_is_killed(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Callable[[str], None]
) -> None:
    mark = f"SWEEP={tmp_path}"
    monkeypatch.setenv(*mark.split("="))

    def workers() -> int:
        return sum(mark.encode() in environment(process) for process in Path("/proc").glob("[0-9]*"))

    child = start(make_spec(n=200, max_tokens=20), tmp_path / "out", Options(batch_size=1, workers=2))
    while n_commits(tmp_path / "out") < 6:
        time.sleep(0.01)
    assert workers() >= 2
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    patience = time.monotonic() + 30
    while workers():
        assert time.monotonic() < patience
        time.sleep(0.1)
    proof("a driver with two worker processes killed with SIGKILL: its workers end too")


def environment(process: Path) -> bytes:
    """What a process was begun with; nothing if it has ended or belongs to somebody else."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.long
@pytest.mark.usefixtures("eager_commits")
def test_fifty_kills_lose_no_row(make_spec: MakeSpec, tmp_path: Path, proof: Callable[[str], None]) -> None:
    kills = count_kills(make_spec, tmp_path, np.random.default_rng(1), wanted=50)
    proof(f"{kills} sweeps killed with SIGKILL at random moments after a commit, all tables equal to undisturbed runs")
