"""The full counts, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.compression.archive import codec_of
from tests.probes.compression.conftest import SENTENCE
from tests.probes.compression.test_codec import TEXTS, written

N_STRINGS = 500
FIXED = (b"", b"\x00", bytes(range(256)), bytes(2048), b"\xff\xfe\xc3", "naïve 😀 ﷽".encode(), SENTENCE.encode() * 40)


def elsewhere(*arguments: object, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.probes.compression.fresh", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def strings() -> list[bytes]:
    """The fixed ones, noise of every length, and what hypothesis thinks of."""
    found = dict.fromkeys((*FIXED, *(np.random.default_rng(n).bytes(n) for n in range(1, 60))))

    @settings(max_examples=3 * N_STRINGS, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(st.binary(max_size=80), TEXTS))
    def collect(data: bytes) -> None:
        found[data] = None

    collect()
    assert len(found) >= N_STRINGS
    return list(found)[:N_STRINGS]


@pytest.mark.long
@pytest.mark.parametrize("mode", ["lockstep", "exact"])
def test_a_fresh_process_reads_every_string(
    mode: str, token_model: Path, tmp_path: Path, proof: Callable[[str], None]
) -> None:
    codec = codec_of(str(token_model), "exact" if mode == "exact" else "lockstep")
    data = strings()
    for number, own in enumerate(data):
        (tmp_path / f"{number:03}.spz").write_bytes(written(codec, own))
    elsewhere("read", token_model, tmp_path, mode, OMP_NUM_THREADS="1")
    back = [(tmp_path / f"{number:03}.back").read_bytes() for number in range(len(data))]
    assert back == data
    proof(f"Compression, {mode}: a fresh process read {len(data)} of {len(data)} strings as they were written")


@pytest.mark.long
def test_exact_logits_are_equal_on_every_path(byte_model: Path, proof: Callable[[str], None]) -> None:
    lines = [
        (capability, line)
        for capability in ("default", "avx2")
        for line in elsewhere("logits", byte_model, ATEN_CPU_CAPABILITY=capability).splitlines()
    ]
    assert len(lines) == 24
    assert len({line.split()[-1] for _, line in lines}) == 1, lines
    proof(
        f"Compression: exact logits are equal to the last bit on {len(lines)} paths: batch 1, 16, 64; token by token "
        "and at once; 1 and 2 threads; ATEN_CPU_CAPABILITY default and avx2"
    )
