"""Death at any moment: kill -9 a sweep again and again, resume it, and every table equals the undisturbed one."""

from __future__ import annotations

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


def count_kills(make_spec: MakeSpec, folder: Path, rng: np.random.Generator, wanted: int) -> int:
    """Kill sweeps of several batch sizes until ``wanted`` died with a commit behind them; each must end up whole."""
    spec = make_spec(n=20)
    batch_sizes = (1, 3, 20)
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
    assert count_kills(make_spec, tmp_path, np.random.default_rng(0), wanted=4) >= 4


@pytest.mark.long
@pytest.mark.usefixtures("eager_commits")
def test_fifty_kills_lose_no_row(make_spec: MakeSpec, tmp_path: Path, proof: Callable[[str], None]) -> None:
    kills = count_kills(make_spec, tmp_path, np.random.default_rng(1), wanted=50)
    proof(f"{kills} sweeps killed with SIGKILL at random moments after a commit, all tables equal to undisturbed runs")
