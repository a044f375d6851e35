"""Classical compressors of bytes, pictures and sound, each with its way back.

Byte compressors write raw streams where they have one, as :mod:`probes.familiarity.compressors` does; gzip writes its
own container. Pictures are grey and 64 points wide, as many rows as the bytes need; sound is 8-bit at 16 kHz. What
every file of a format holds before any content is its header: it is counted per chunk, or once for all.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import UInt8

from probes.errors import InputError
from probes.extras import extra, has_extra
from probes.familiarity.compressors import CODECS, LZMA_FILTERS, train_dictionary

WIDTH: Final = 64
RATE: Final = 16_000
PPMD_ORDER: Final = 6
PPMD_MEMORY: Final = 1 << 24
WEBP_ROWS: Final = 16_383  # the format has no larger pictures
DICTIONARY: Final = 112_640
"""Bytes of a trained zstd dictionary: the size that the program zstd takes by default."""


class Classical(NamedTuple):
    """A compressor and its way back.

    Attributes:
        name: how tables call it.
        encode: bytes to a stream.
        decode: a stream and the number of bytes it holds, to these bytes.
        n_header: bytes of a stream that holds nothing: of no byte, or of one where the format needs one.
        n_known: bytes that both sides must have besides: a dictionary.
        most: bytes that one stream can hold at most.
    """

    name: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, int], bytes]
    n_header: int
    n_known: int = 0
    most: float = math.inf


def dictionary_of(seen: Sequence[bytes]) -> bytes:
    """A dictionary for zstd that was trained with chunks which are not to be compressed; empty if they are too few."""
    if not has_extra("zstandard"):
        return b""
    try:
        return train_dictionary("zstd", [chunk.decode("latin-1") for chunk in seen], size=DICTIONARY).dictionary
    except InputError:
        return b""


def compressors(dictionary: bytes = b"") -> list[Classical]:
    """Every compressor whose package is installed.

    Args:
        dictionary: what zstd may know (:func:`dictionary_of`); without one there is no such row.
    """
    found = [
        _bytes("gzip", lambda data: gzip.compress(data, 9, mtime=0), gzip.decompress),
        _bytes("LZMA2", lambda data: CODECS["lzma"](data, b""), _unlzma),
        _bytes("bz2", bz2.compress, bz2.decompress),
    ]
    if has_extra("zstandard"):
        found.append(_bytes("zstd", lambda data: CODECS["zstd"](data, b""), lambda data: _unzstd(data, b"")))
        if dictionary:
            own = _bytes(
                "zstd, trained dictionary",
                lambda data: CODECS["zstd"](data, dictionary),
                lambda data: _unzstd(data, dictionary),
            )
            found.append(own._replace(n_known=len(dictionary)))
    if has_extra("pyppmd"):
        found.append(Classical("PPMd", _ppmd, _unppmd, len(_ppmd(b""))))
    found.append(_media("PNG", lambda grey: _pillow(grey, "PNG", optimize=True), _unpillow))
    webp = _media("WebP", lambda grey: _pillow(grey, "WEBP", lossless=True, quality=100, method=6), _unpillow)
    found.append(webp._replace(most=WEBP_ROWS * WIDTH))
    if has_extra("imagecodecs"):
        found.append(_media("JPEG XL", _jpegxl, _unjpegxl))
    if has_extra("soundfile"):
        found.append(Classical("FLAC", _flac, _unflac, len(_flac(b"\x80"))))
    return found


def _bytes(name: str, encode: Callable[[bytes], bytes], decode: Callable[[bytes], bytes]) -> Classical:
    def read(stream: bytes, _n_bytes: int) -> bytes:
        return decode(stream)

    return Classical(name, encode, read, len(encode(b"")))


def _media(
    name: str,
    encode: Callable[[UInt8[np.ndarray, "rows 64"]], bytes],
    decode: Callable[[bytes], UInt8[np.ndarray, "rows 64"]],
) -> Classical:
    def write(data: bytes) -> bytes:
        grey = np.zeros((-(-len(data) // WIDTH), WIDTH), dtype=np.uint8)
        grey.reshape(-1)[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        return encode(grey)

    def read(stream: bytes, n_bytes: int) -> bytes:
        return decode(stream).tobytes()[:n_bytes]

    return Classical(name, write, read, len(write(b"\0")))


def _unlzma(stream: bytes) -> bytes:
    return lzma.decompress(stream, format=lzma.FORMAT_RAW, filters=LZMA_FILTERS)


def _unzstd(stream: bytes, dictionary: bytes) -> bytes:
    zstandard = extra("zstandard")
    known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    return bytes(zstandard.ZstdDecompressor(dict_data=known).decompressobj().decompress(stream))


def _ppmd(data: bytes) -> bytes:
    encoder: Any = extra("pyppmd").Ppmd7Encoder(PPMD_ORDER, PPMD_MEMORY)
    return bytes(encoder.encode(data) + encoder.flush())


def _unppmd(stream: bytes, n_bytes: int) -> bytes:
    decoder: Any = extra("pyppmd").Ppmd7Decoder(PPMD_ORDER, PPMD_MEMORY)
    return bytes(decoder.decode(stream, n_bytes)) if n_bytes else b""


def _pillow(grey: UInt8[np.ndarray, "rows 64"], kind: str, **settings: object) -> bytes:
    from PIL import Image  # noqa: PLC0415  only pictures need it

    sink = io.BytesIO()
    Image.fromarray(grey).save(sink, kind, **settings)
    return sink.getvalue()


def _unpillow(stream: bytes) -> UInt8[np.ndarray, "rows 64"]:
    from PIL import Image  # noqa: PLC0415  only pictures need it

    with Image.open(io.BytesIO(stream)) as opened:
        shown = np.asarray(opened)
    return np.ascontiguousarray(shown if shown.ndim == 2 else shown[..., 0])


def _jpegxl(grey: UInt8[np.ndarray, "rows 64"]) -> bytes:
    return bytes(extra("imagecodecs").jpegxl_encode(grey, lossless=True, effort=7))


def _unjpegxl(stream: bytes) -> UInt8[np.ndarray, "rows 64"]:
    return np.ascontiguousarray(extra("imagecodecs").jpegxl_decode(stream)).reshape(-1, WIDTH)


def _flac(data: bytes) -> bytes:
    sink = io.BytesIO()
    samples = (np.frombuffer(data, dtype=np.uint8).astype(np.int16) - 128) << 8
    extra("soundfile").write(sink, samples, RATE, format="FLAC", subtype="PCM_S8")
    return sink.getvalue()


def _unflac(stream: bytes, n_bytes: int) -> bytes:
    samples, _ = extra("soundfile").read(io.BytesIO(stream), dtype="int16")
    return ((np.asarray(samples).reshape(-1) >> 8) + 128).astype(np.uint8).tobytes()[:n_bytes]
