"""What a compressor expects is what it would make short."""

import numpy as np
import pytest

from probes.compression.classical import Classical, compressors
from probes.compression.generator import generate, next_byte
from probes.errors import InputError


def test_probabilities_are_two_to_the_code_length() -> None:
    """A compressor whose lengths are known: a byte more unless the last one repeats the one before."""
    planted = Classical("planted", lambda data: bytes(3 if data[-1] == data[-2] else 4), lambda *_: b"", 0)
    found = next_byte(planted, b"ab")
    assert found[ord("b")] == pytest.approx(256 / (256 + 255))
    assert found.sum() == pytest.approx(1)
    assert found[ord("a")] == pytest.approx(1 / (256 + 255))


def test_a_pattern_is_gone_on_with() -> None:
    known = {one.name: one for one in compressors()}
    before = b"The cat sat on the mat. " * 6 + b"The cat "
    found = [generate(known["gzip"], before, 1, np.random.default_rng(seed)) for seed in range(12)]
    assert found.count(b"s") >= 3  # one in 256 by chance
    assert generate(known["gzip"], before, 0, np.random.default_rng(0)) == b""
    with pytest.raises(InputError, match="0 or more"):
        generate(known["gzip"], before, -1, np.random.default_rng(0))
