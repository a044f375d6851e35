"""Text, code, pictures, sound and chance as chunks of bytes, cut as "Language modeling is compression" cuts them.

Pictures are made grey (the mean of their colours) and cut into patches of 32 rows of 64 points, read row by row; sound
is made one channel of 16 kHz and 8 bits; everything is then in chunks of 2,048 bytes, what is left at the end of a file
is dropped. The packaged sample needs no files: what Python's help says (text) and its standard library (code), the two
photographs of scikit-learn (which were JPEG once), and speech-like sound from a seeded generator, which is synthetic.
"""

from __future__ import annotations

import io
import sysconfig
import wave
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args

import numpy as np
from jaxtyping import Float64, Integer, UInt8

from probes.errors import InputError
from probes.extras import extra

Modality = Literal["text", "code", "image", "audio", "random"]

MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
ENDINGS: Final[Mapping[str, Modality]] = {
    ".txt": "text",
    ".md": "text",
    ".py": "code",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".wav": "audio",
    ".flac": "audio",
}
CHUNK: Final = 2048
PATCH: Final = (32, 64)
SAMPLE_RATE: Final = 16_000
VOWELS: Final = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""First three formants in Hz of five vowels (Peterson & Barney 1952, men)."""
SYLLABLE: Final = 2400
"""Samples of a syllable: 150 ms."""


class Chunk(NamedTuple):
    """A chunk of bytes, and what else it hangs together with: its file, photograph, topic or module."""

    data: bytes
    origin: str


def modality_of(path: Path) -> Modality:
    """Modality of a file, by its ending.

    Raises:
        InputError: if the ending is not known.
    """
    found = ENDINGS.get(path.suffix.lower())
    if found is None:
        raise InputError(f"{path}: its ending must be one of {' '.join(ENDINGS)}, which say what it holds")
    return found


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Chunks of a file.

    Raises:
        InputError: if it cannot be read as what its ending says.
    """
    kind = modality_of(path)
    try:
        if kind == "image":
            yield from (Chunk(patch, path.name) for patch in patches(_picture(path.read_bytes())))
        elif kind == "audio":
            yield from _cut(eight_bits(*_sound(path)).tobytes(), path.name)
        else:
            with path.open("rb") as file:  # which may be larger than memory
                while len(data := file.read(CHUNK)) == CHUNK:
                    yield Chunk(data, path.name)
    except (OSError, ValueError, wave.Error) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}") from None


def packaged(modality: Modality, rng: np.random.Generator) -> Iterator[Chunk]:
    """Chunks of the packaged sample; sound and chance are drawn, and never end."""
    return _SAMPLES[modality](rng)


def patches(picture: Integer[np.ndarray, "rows columns colours"]) -> Iterator[bytes]:
    """Grey patches of a picture, from left to right and from top to bottom.

    >>> [len(patch) for patch in patches(np.zeros((70, 64, 3), dtype=np.uint8))]
    [2048, 2048]
    """
    grey = np.asarray(np.round(np.mean(picture, axis=-1)), dtype=np.uint8)
    height, width = PATCH
    for top in range(0, grey.shape[0] - height + 1, height):
        for left in range(0, grey.shape[1] - width + 1, width):
            yield grey[top : top + height, left : left + width].tobytes()


def eight_bits(samples: Float64[np.ndarray, " times"], rate: int) -> UInt8[np.ndarray, " samples"]:
    """Sound between -1 and 1 as 8-bit samples of 16 kHz, silence at 128."""
    from scipy.signal import resample_poly  # noqa: PLC0415  heavy, and only sound needs it

    if rate != SAMPLE_RATE:
        step = int(np.gcd(rate, SAMPLE_RATE))
        samples = np.asarray(resample_poly(samples, SAMPLE_RATE // step, rate // step))
    return (np.clip(np.floor(samples * 128), -128, 127) + 128).astype(np.uint8)


def squeezed(data: bytes, modality: Modality) -> tuple[str, int]:
    """Bytes as ASCII text, and how many bits that loses, as the paper has it.

    Text and code lose the first bit of the bytes above 127, everything else the last bit of every byte.

    >>> squeezed(bytes([0x41 * 2, 0x42 * 2 + 1]), "image"), squeezed("né".encode(), "text")
    (('AB', 2), ('nC)', 2))
    """
    if modality in ("text", "code"):
        return bytes(byte & 0x7F for byte in data).decode("ascii"), sum(byte > 0x7F for byte in data)
    return bytes(byte >> 1 for byte in data).decode("ascii"), len(data)


def _cut(data: bytes, origin: str) -> Iterator[Chunk]:
    for start in range(0, len(data) - CHUNK + 1, CHUNK):
        yield Chunk(data[start : start + CHUNK], origin)


def _picture(data: bytes) -> UInt8[np.ndarray, "rows columns colours"]:
    from PIL import Image  # noqa: PLC0415  only pictures need it

    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))


def _sound(path: Path) -> tuple[Float64[np.ndarray, " times"], int]:
    """Samples between -1 and 1, channels averaged, and the sampling rate."""
    if path.suffix.lower() == ".wav":
        with wave.open(str(path)) as file:
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            if width not in (1, 2):
                raise InputError(f"{path}: sound of 8 or 16 bits can be read, and this has {8 * width}")
            raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2" if width == 2 else "u1")
        samples = raw / 2**15 if width == 2 else (raw.astype(np.float64) - 128) / 128
        return samples.reshape(-1, channels).mean(-1), rate
    samples, rate = extra("soundfile").read(str(path), always_2d=True)
    return np.asarray(samples, dtype=np.float64).mean(-1), int(rate)


def _text(_rng: np.random.Generator) -> Iterator[Chunk]:
    from pydoc_data.topics import topics  # noqa: PLC0415  a megabyte

    for name in sorted(topics):
        yield from _cut(topics[name].encode(), name)


def _code(_rng: np.random.Generator) -> Iterator[Chunk]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield from _cut(path.read_bytes(), path.stem)


def _photographs(rng: np.random.Generator) -> Iterator[Chunk]:
    from sklearn.datasets import load_sample_images  # noqa: PLC0415  heavy, and only pictures need it

    images = cast("list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]", load_sample_images().images)
    found = [Chunk(patch, str(index)) for index, image in enumerate(images) for patch in patches(image)]
    yield from (found[index] for index in rng.permutation(len(found)))  # the first ones are all sky


def _speech(rng: np.random.Generator) -> Iterator[Chunk]:
    """Vowels with gliding pitch, noise of breath and pauses: pulses and noise through three resonances."""
    from scipy.signal import lfilter  # noqa: PLC0415  heavy, and only sound needs it

    waiting = b""
    for number in count():
        pitch = rng.uniform(90, 220) * np.linspace(1, rng.uniform(0.8, 1.2), SYLLABLE)
        phase = np.cumsum(pitch / SAMPLE_RATE)
        source = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(SYLLABLE)
        for formant in VOWELS[rng.integers(len(VOWELS))]:
            radius = np.exp(-np.pi * 80 / SAMPLE_RATE)
            angle = 2 * np.pi * formant / SAMPLE_RATE
            source = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source)
        loud = np.sin(np.linspace(0, np.pi, SYLLABLE)) ** 2 * rng.uniform(0.1, 0.6) * (rng.random() > 0.2)
        sound = source / np.abs(source).max() * loud + 0.004 * rng.standard_normal(SYLLABLE)
        waiting += eight_bits(sound, SAMPLE_RATE).tobytes()
        while len(waiting) >= CHUNK:
            yield Chunk(waiting[:CHUNK], str(number))
            waiting = waiting[CHUNK:]


def _chance(rng: np.random.Generator) -> Iterator[Chunk]:
    return (Chunk(rng.bytes(CHUNK), str(number)) for number in count())


_SAMPLES: Final[Mapping[Modality, Callable[[np.random.Generator], Iterator[Chunk]]]] = {
    "text": _text,
    "code": _code,
    "image": _photographs,
    "audio": _speech,
    "random": _chance,
}
