"""Training that is killed without warning, again and again, ends in the same weights."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from probes.lab import Recipe
from probes.lab.training import train

RECIPE = Recipe(
    multiples=(0, 1, 2, 4),
    unit=24,
    n_tails=4,
    d_model=32,
    n_layers=2,
    n_heads=2,
    d_mlp=64,
    batch_size=16,
    learning_rate=1e-2,
    lessons=4,
    practice=20,
    preamble=6,
)
SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import probes.lab.history as checkpoints
import probes.lab.training as training
from tests.probes.lab.test_kills import RECIPE
checkpoints.SECONDS_BETWEEN_STATES = 0.0
training.train(RECIPE, Path(sys.argv[1]), n_checkpoints=4, on_step=lambda step, *_: print(step, flush=True))
"""


@pytest.mark.long
def test_a_training_killed_at_random_steps_ends_in_the_same_weights(tmp_path, proof):
    whole = train(RECIPE, tmp_path / "whole", n_checkpoints=4)
    rng = np.random.default_rng(0)
    out, kills = tmp_path / "model", 0
    while not out.exists():
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        left = int(rng.integers(1, 40)) if kills < 6 else 10_000
        for _ in process.stdout:
            left -= 1
            if left == 0:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
        process.stdout.close()
        process.wait()
    files = sorted(path.relative_to(whole.path) for path in whole.path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    for name in files:
        assert (whole.path / name).read_bytes() == (out / name).read_bytes(), name
    assert kills == 6
    proof(
        f"a laboratory training of {whole.record.step} steps killed {kills} times with SIGKILL ends in the same "
        f"{len(files)} files, byte for byte"
    )
