"""Sweeps on a Ray cluster: nodes die and the tables are those of a sweep that nothing happened to."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.errors import InputError
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_run import assert_same

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")


def start(spec_file: Path, out: Path, kills: int) -> subprocess.Popen[str]:
    """A sweep on a cluster of its own, in a process of its own: Ray leaves threads and warnings behind."""
    command = [sys.executable, "-m", "tests.probes.sweep.ray_sweep", str(spec_file), str(out), str(kills)]
    patient = {**os.environ, "RAY_raylet_start_wait_time_s": "300"}  # a busy machine starts nodes slowly
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=patient)


def sweep_on_cluster(spec_file: Path, out: Path, kills: int) -> None:
    with start(spec_file, out, kills) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert f"{kills} nodes killed" in output


@needs_ray
def test_a_killed_node_loses_no_row(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(n=20)
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    sweep_on_cluster(tmp_path / "spec.yaml", tmp_path / "ray", kills=1)
    run_sweep(spec, tmp_path / "alone", Options(batch_size=1))
    assert_same(tmp_path / "alone", tmp_path / "ray")


def test_an_unreachable_cluster_is_one_line_and_touches_nothing(make_spec: MakeSpec, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"  # nobody listens there
    with pytest.raises(InputError, match=f"no Ray cluster answers at {address}"):
        run_sweep(make_spec(), tmp_path / "run", Options(executor="ray", address=address))
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@needs_ray
def test_two_nodes_and_the_driver_killed_lose_no_row(
    make_spec: MakeSpec, tmp_path: Path, proof: Callable[[str], None]
) -> None:
    spec = make_spec(n=24)
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    run_sweep(spec, tmp_path / "alone", Options(batch_size=1))
    sweep_on_cluster(tmp_path / "spec.yaml", tmp_path / "ray", kills=2)
    assert_same(tmp_path / "alone", tmp_path / "ray")
    out = tmp_path / "driver"
    with start(tmp_path / "spec.yaml", out, 0) as driver:
        while len(list((out / "commits").glob("*.json"))) < 6 and driver.poll() is None:
            time.sleep(0.01)
        driver.kill()
        assert driver.wait() < 0
    sweep_on_cluster(tmp_path / "spec.yaml", out, kills=0)
    assert_same(tmp_path / "alone", out)
    proof("a Ray cluster of 3 nodes: two killed mid-run, then the driver killed and started again; all tables equal")
