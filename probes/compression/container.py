r"""The file that holds streams: what is needed to read them, and what tells whether they were read right.

    magic     8 bytes, "\x89SPZ\r\n\x1a\n": a transfer that changes line ends is found at once
    version   1 byte
    header    a section: JSON, deflated (:class:`Header`)
    streams   a section each
    end       an empty section
    digests   a section: JSON, deflated: sha256 of every file, in order

    section   length (4 bytes, little-endian), CRC-32 (4 bytes), so many bytes

Sections are written as they come, so that neither side holds more than one stream. A section whose bytes were changed
is refused before a model looks at it; that the bytes came out right is told by their sha256.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BufferedIOBase
from typing import Any, Final, NamedTuple, cast

from probes.compression.fingerprint import MODES, Mode
from probes.errors import InputError

MAGIC: Final = b"\x89SPZ\r\n\x1a\n"
VERSION: Final = 3  # raised whenever probabilities are computed otherwise: an older archive is refused by name
FRAME: Final = struct.Struct("<II")
MOST_HEADER: Final = 1 << 24
"""Bytes of an opened header at most, so that a damaged length asks for no memory."""


class FileEntry(NamedTuple):
    """A file in a container: its name, without folders, and its length in bytes."""

    name: str
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Settings and list of files at the head of a container: everything needed to decode its streams.

    Attributes:
        model: how the writer called the model.
        mode: how both sides come to equal probabilities.
        chunk: bytes of a chunk; the last one of a file may have fewer.
        batch: chunks that are read side by side.
        stream: chunks that share a range coder.
        threads: of the writer; the reader takes as many.
        fingerprint: everything else that the probabilities depend on.
        files: what is inside, in order.
        trained: training by which both sides change the model while they code; None for a model that stays as it is.
    """

    model: str
    mode: Mode
    chunk: int
    batch: int
    stream: int
    threads: int
    fingerprint: Mapping[str, str]
    files: Sequence[FileEntry]
    trained: Mapping[str, object] | None = None

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Index of the file and number of bytes of every chunk, in order."""
        for index, file in enumerate(self.files):
            for start in range(0, file.n_bytes, self.chunk):
                yield index, min(self.chunk, file.n_bytes - start)


class Writer:
    """Puts a container together in a file that is open for writing.

    Attributes:
        n_bytes: written so far.
        n_stream_bytes: of streams, without their frames.
    """

    def __init__(self, sink: BufferedIOBase, header: Header) -> None:
        self._sink = sink
        self.n_bytes = self.n_stream_bytes = 0
        self._put(MAGIC + bytes([VERSION]))
        self._section(_packed(asdict(header) | {"files": [list(file) for file in header.files]}))

    def stream(self, data: bytes) -> None:
        """Add a stream, which is never empty."""
        self.n_stream_bytes += len(data)
        self._section(data)

    def finish(self, digests: Sequence[str]) -> None:
        """Add what tells whether the files were read right."""
        self._section(b"")
        self._section(_packed(list(digests)))

    def _section(self, data: bytes) -> None:
        self._put(FRAME.pack(len(data), zlib.crc32(data)) + data)

    def _put(self, data: bytes) -> None:
        self._sink.write(data)
        self.n_bytes += len(data)


class Opened:
    """A container that is being read.

    Args:
        source: a file that is open for reading.
        name: how messages call it.

    Attributes:
        header: what it says of itself.

    Raises:
        InputError: if it is no container, is of another version, or its header is damaged.
    """

    def __init__(self, source: BufferedIOBase, name: str) -> None:
        self._source = source
        self._name = name
        if source.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{name} was not written by sparsity compress: it does not begin with its mark")
        version = source.read(1)
        if version != bytes([VERSION]):
            raise InputError(f"{name} is of version {version.hex() or 'none'}, and this program reads {VERSION:02x}")
        self.header = _header(_unpacked(self._section(), name), name)

    def streams(self) -> Iterator[bytes]:
        """The streams, in order.

        Raises:
            InputError: at the first that is damaged or cut short.
        """
        while data := self._section():
            yield data

    def digests(self) -> list[str]:
        """sha256 of every file, after the streams."""
        found = _unpacked(self._section(), self._name)
        if not isinstance(found, list) or self._source.read(1):
            raise self._damaged("it does not end where it should")
        return [str(digest) for digest in cast("list[object]", found)]

    def _section(self) -> bytes:
        frame = self._source.read(FRAME.size)
        if len(frame) < FRAME.size:
            raise self._damaged("it is cut short")
        length, checksum = FRAME.unpack(frame)
        data = self._source.read(length)
        if len(data) < length:
            raise self._damaged("it is cut short")
        if zlib.crc32(data) != checksum:
            raise self._damaged("a checksum does not fit")
        return data

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self._name} is damaged: {why}; take another copy of it")


def _packed(content: object) -> bytes:
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)


def _unpacked(data: bytes, name: str) -> object:
    try:
        opened = zlib.decompressobj()
        return json.loads(opened.decompress(data, MOST_HEADER))
    except (zlib.error, ValueError) as error:
        raise InputError(f"{name} is damaged: {error}; take another copy of it") from None


def _header(content: object, name: str) -> Header:
    """A header from its JSON, with nothing in it that could lead out of the folder it is unpacked into."""
    try:
        fields = cast("dict[str, Any]", content)
        files = [FileEntry(str(file), int(n_bytes)) for file, n_bytes in fields.pop("files")]
        header = Header(**fields, files=files)
        counts = (header.chunk, header.batch, header.stream, header.threads)
        fine = header.mode in MODES and min(counts) >= 1 and header.stream % header.batch == 0
        fine = fine and all(is_plain(file.name) and file.n_bytes >= 0 for file in files)
        fine = fine and len({file.name for file in files}) == len(files)
        fine = fine and (header.trained is None or isinstance(header.trained, dict))
    except (TypeError, ValueError, KeyError, AttributeError):
        header, fine = None, False
    if header is None or not fine:
        raise InputError(f"{name} has a header that this program does not write: take another copy of it")
    return header


def is_plain(name: str) -> bool:
    """True for the bare name of a file: no folder, no way up, no character that cannot be printed."""
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set('/\\:*?"<>|')
