"""What can go wrong, everywhere it can: a disk that fills at any write, any part damaged, any item that raises."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analyses.cli import main
from probes.capture.collection import read_batch
from probes.errors import InputError
from probes.records import open_run
from probes.records.integrity import check
from probes.records.store import Writer, committed
from probes.sweep import measurement
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_run import assert_same

Proof = Callable[[str], None]


class FullDisk(list[int]):
    """Takes so many writes and no more."""

    def __init__(self, n_writes: int) -> None:
        super().__init__(range(n_writes))

    def __call__(self, _: int) -> None:
        if not self:
            raise OSError(28, "No space left on device")
        self.pop()


@pytest.mark.long
@pytest.mark.usefixtures("eager_commits")
def test_a_disk_that_fills_at_any_write_loses_no_row(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    spec, options = make_spec(n=5), Options(batch_size=2)
    run_sweep(spec, tmp_path / "whole", options)
    for n_writes in range(1000):
        out = tmp_path / f"full-{n_writes}"
        try:
            with monkeypatch.context() as patch:
                patch.setattr("probes.records.store.os.fsync", FullDisk(n_writes))
                run_sweep(spec, out, options)
        except InputError as error:
            assert "No space left on device" in str(error)  # noqa: PT017  which write it was is the loop's business
        else:
            break
        run_sweep(spec, out, options)
        assert_same(tmp_path / "whole", out)
        shutil.rmtree(out)
    assert n_writes > 20
    proof(f"a disk that fills at each of the {n_writes} writes of a sweep in turn; after going on all tables equal")


@pytest.mark.long
@pytest.mark.usefixtures("eager_commits")
def test_any_part_damaged_by_hand_is_found_and_mended(make_spec: MakeSpec, tmp_path: Path, proof: Proof) -> None:
    spec, options = make_spec(n=5), Options(batch_size=2)
    run_sweep(spec, tmp_path / "whole", options)
    parts = [commit.folder / part.file for commit in committed(tmp_path / "whole") for part in commit.parts]
    for path in parts:
        out = tmp_path / "damaged"
        shutil.copytree(tmp_path / "whole", out)
        part = out / path.relative_to(tmp_path / "whole")
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        (fault,) = check(out)
        assert out / fault.path == part
        (out / fault.remedy.split()[1]).unlink()
        run_sweep(spec, out, options)
        assert_same(tmp_path / "whole", out)
        shutil.rmtree(out)
    proof(f"each of the {len(parts)} parts of a sweep truncated by hand: found by name, and its remedy restores all")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:out of memory")
def test_any_item_that_raises_fails_alone(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    rng = np.random.default_rng(0)
    trials = 20
    for trial in range(trials):
        bad = set(map(int, rng.choice(np.arange(9, 22), int(rng.integers(1, 4)), replace=False)))  # by length
        most = int(rng.integers(1, 8))

        def breaking(model, prompts, bad=bad, most=most, **asked):
            if len(prompts) > most:
                raise torch.OutOfMemoryError("out of memory")
            if bad & {prompt.end for prompt in prompts}:
                raise ValueError("cannot")
            return read_batch(model, prompts, **asked)

        out = tmp_path / f"bad-{trial}"
        with monkeypatch.context() as patch:
            patch.setattr(measurement, "read_batch", breaking)
            result = run_sweep(make_spec(n=12), out, Options(batch_size=int(rng.integers(1, 13))))
        lengths = open_run(out).inputs().set_index("example_id")["n_tokens"]
        assert not set(lengths) & bad
        assert result.n_failed == 12 - len(lengths)
        run_sweep(make_spec(n=12), out, Options(retry_failed=True))
        assert open_run(out).inputs()["example_id"].nunique() == 12
    proof(
        f"{trials} sweeps with raising items and too little memory: batches halve, only those items fail, retries heal"
    )


def test_a_second_writer_exits_2_and_names_the_holder(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(make_spec().to_yaml())
    command = ["sparsity", "sweep", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", command)
    with Writer.open(tmp_path / "run"), pytest.raises(SystemExit) as second:
        main()
    assert second.value.code == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"sparsity: {tmp_path / 'run'} is being written by process ")
    assert "Traceback" not in said
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "commits"]
