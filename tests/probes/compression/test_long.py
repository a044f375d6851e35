"""The full counts, in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.compression.again import archive_again, fresh_process
from probes.compression.archive import Input, codec_of, pack
from probes.compression.container import Opened
from tests.probes.compression.conftest import SENTENCE
from tests.probes.compression.test_codec import OVERHEAD_BITS, OVERHEAD_SHARE, TEXTS, written

N_STRINGS = 500
REAL_MODELS = "SPARSITY_REAL_MODELS"  # a folder that ../shared/tools/real_models.sh filled
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


def wikitext(assets: Path, n_bytes: int) -> bytes:
    lines = (assets / "text" / "wikitext.jsonl").read_text(encoding="utf-8").splitlines()
    return " ".join(json.loads(line)["text"] for line in lines).encode()[:n_bytes]


def read_again(model: Path, data: bytes, batch: int) -> tuple[float, float]:
    """Rate and ideal rate of a text that another process has read again."""
    codec, sink = codec_of(str(model)), BytesIO()
    packed = pack([Input("a", len(data), lambda: BytesIO(data))], sink, codec, batch=batch)
    streams = sum(map(len, Opened(BytesIO(sink.getvalue()), "a").streams()))
    bits = packed.ideal_bits  # the coder's floor makes what the model holds for impossible shorter than this
    assert 8 * streams <= bits * (1 + OVERHEAD_SHARE) + OVERHEAD_BITS * packed.n_streams
    with fresh_process() as process:
        assert archive_again(process, codec.model, sink.getvalue(), len(data)) == data
    return streams / len(data), bits / 8 / len(data)


@pytest.mark.long
def test_wikitext_under_a_small_model(assets: Path, proof: Callable[[str], None]) -> None:
    data = wikitext(assets, 100_000)
    rate, ideal = read_again(assets / "models" / "stories260K", data, 49)
    proof(
        f"Compression: a fresh process read {len(data)} bytes of WikiText under stories260K; rate {rate:.4f}, "
        f"ideal {ideal:.4f}"
    )


@pytest.mark.long
def test_wikitext_under_a_real_model(assets: Path, proof: Callable[[str], None]) -> None:
    model = Path(os.environ.get(REAL_MODELS, "")) / "smollm2-135m"
    if REAL_MODELS not in os.environ or not model.is_dir():
        pytest.skip(f"needs {REAL_MODELS}, a folder filled by ../shared/tools/real_models.sh")
    data = wikitext(assets, 20_000)
    rate, ideal = read_again(model, data, 10)
    proof(
        f"Compression: a fresh process read {len(data)} bytes of WikiText under SmolLM2-135M; rate {rate:.4f}, "
        f"ideal {ideal:.4f}"
    )
