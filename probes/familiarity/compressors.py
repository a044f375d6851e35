"""Classical compressors as coders: how long a text is for a program that has read nothing, or only a dictionary.

Raw streams are counted, without container headers and checksums, so that a short text pays for its content and not for
its envelope (an empty text costs 8 to 16 bits in deflate and LZMA; bz2 has no raw form and pays about 14 bytes). The
window of LZMA is 64 KB: the default of its highest preset reserves hundreds of megabytes for texts of a page.

A dictionary is text that the compressor has seen before: the fair classical neighbour of a trained model.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from probes.corpus.alphabet import encoded
from probes.errors import InputError
from probes.extras import extra
from probes.familiarity.predictor import Coder

Codec = Literal["zlib", "lzma", "bz2", "zstd"]
LZMA_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 16}]
ZSTD_LEVEL: Final = 19
ZLIB_WINDOW: Final = 1 << 15  # the most that deflate can look back, so the most a dictionary can hold


@dataclass(frozen=True, slots=True)
class Compressor(Coder):
    """A classical compressor.

    Attributes:
        codec: which one.
        dictionary: bytes it has seen before, for ``zlib`` and ``zstd``; ``b""`` for none.

    >>> Compressor("zlib").bits("a" * 1000) < Compressor("zlib").bits("abcdefghij" * 100)
    True
    """

    codec: Codec
    dictionary: bytes = b""

    def __post_init__(self) -> None:
        """Refuse a codec that does not exist or cannot take a dictionary."""
        if self.codec not in CODECS:
            raise InputError(f"no compressor is called {self.codec!r}; known: {', '.join(CODECS)}")
        if self.dictionary and self.codec not in ("zlib", "zstd"):
            raise InputError(f"{self.codec} takes no dictionary; use zlib or zstd")

    @property
    def name(self) -> str:
        """The codec, and whether it has a dictionary."""
        return f"{self.codec} with dictionary" if self.dictionary else self.codec

    def bits(self, text: str) -> float:
        """Length of the compressed text."""
        return 8.0 * len(CODECS[self.codec](encoded(text), self.dictionary))


def train_dictionary(codec: Codec, texts: Sequence[str], *, size: int) -> Compressor:
    """A compressor that has seen some texts.

    Args:
        codec: ``zlib`` keeps the end of the texts (at most 32 KB), ``zstd`` picks what repeats in them.
        texts: what it is to have seen.
        size: bytes of the dictionary at most.

    Raises:
        InputError: if the codec takes no dictionary or the texts are too few to train one.
    """
    samples = [encoded(text) for text in texts]
    if codec == "zlib":
        return Compressor(codec, b"".join(samples)[-min(size, ZLIB_WINDOW) :])
    if codec != "zstd":
        raise InputError(f"{codec} takes no dictionary; use zlib or zstd")
    zstandard = extra("zstandard")
    try:
        return Compressor(codec, bytes(zstandard.train_dictionary(size, samples).as_bytes()))
    except zstandard.ZstdError as error:
        raise InputError(f"{len(samples)} texts are not enough to train a zstd dictionary: {error}") from None


def _deflate(data: bytes, dictionary: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15, zdict=dictionary) if dictionary else zlib.compressobj(9, wbits=-15)
    return stream.compress(data) + stream.flush()


def _lzma(data: bytes, _dictionary: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=LZMA_FILTERS)


def _bz2(data: bytes, _dictionary: bytes) -> bytes:
    return bz2.compress(data)


def _zstd(data: bytes, dictionary: bytes) -> bytes:
    zstandard = extra("zstandard")
    known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    settings = {"write_checksum": False, "write_content_size": False, "write_dict_id": False}
    return bytes(zstandard.ZstdCompressor(level=ZSTD_LEVEL, dict_data=known, **settings).compress(data))


CODECS: Final[dict[Codec, Callable[[bytes, bytes], bytes]]] = {
    "zlib": _deflate,
    "lzma": _lzma,
    "bz2": _bz2,
    "zstd": _zstd,
}
