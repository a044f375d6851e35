r"""A compressor as a generator: what it would make short is what it expects.

A code of length :math:`\ell` is a probability of :math:`2^{-\ell}`, so a compressor that never heard of probabilities
predicts the next byte:

.. math:: p(b \mid x) = 2^{-\ell(x b)} / \sum_{b'} 2^{-\ell(x b')}

(arXiv:2309.10668, section 3.4). Lengths of classical compressors are whole bytes, so most bytes are equally likely and
a few are 256 times as likely; a language model's lengths are not, and it writes text.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float64

from probes.compression.classical import Classical
from probes.errors import InputError

N_BYTES: Final = 256


def next_byte(compressor: Classical, before: bytes) -> Float64[np.ndarray, " 256"]:
    """Probability of each byte after some others, by the length of what would then have to be written.

    >>> from probes.compression.classical import compressors
    >>> gzip = compressors()[0]
    >>> bool(next_byte(gzip, b"abcdefgh" * 4 + b"abcdefg")[ord("h")] == next_byte(gzip, b"abcdefgh" * 5).max())
    True
    """
    lengths = np.array([len(compressor.encode(before + bytes([byte]))) for byte in range(N_BYTES)], dtype=np.float64)
    weights = np.exp2(8 * (lengths.min() - lengths))
    return weights / weights.sum()


def generate(compressor: Classical, before: bytes, n_bytes: int, rng: np.random.Generator) -> bytes:
    """Bytes that a compressor would go on with, drawn one after the other.

    Args:
        compressor: one of :func:`probes.compression.classical.compressors`.
        before: what they follow.
        n_bytes: how many.
        rng: draws them.

    Raises:
        InputError: if fewer than no bytes are asked for.
    """
    if n_bytes < 0:
        raise InputError(f"a number of bytes to generate is 0 or more; got {n_bytes}")
    found = bytearray(before)
    for _ in range(n_bytes):
        found.append(int(rng.choice(N_BYTES, p=next_byte(compressor, bytes(found)))))
    return bytes(found[len(before) :])
