"""Text, code, pictures, sound and chance as the same kind of string, so that one model can be asked about all of them.

Every item is a chunk of 2,048 bytes written in ASCII as "Language modeling is compression" (arXiv:2309.10668) writes
it: text and code lose the first bit of their few bytes above 127, pictures, sound and chance the last bit of every
byte. How many bits were lost stands with each item (``lost_bits``), and belongs to the code length of the original.
Kinds of data have no order, so the axis is nominal. Chunks of one file (or photograph, topic, module) are a cluster.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from probes.suites.example import Example, Suite
from probes.suites.sources.fields import Name
from probes.suites.sources.media import MODALITIES, Chunk, Modality, modality_of, packaged, read_chunks, squeezed
from probes.vocabulary.axes import AXES

AXIS: Final = AXES["modality"]
NAME: Final = "modality"
VERSION: Final = 1
LIMIT: Final = 32


class ModalitySuite(BaseModel):
    """The suite as the sweep spec declares it.

    Attributes:
        name: the suite's name in tables.
        files: what to read, its kind told by the ending; without files the packaged sample of every kind.
        limit: chunks per kind; 32 if it is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = NAME
    files: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)

    def suite(self) -> Suite:
        """The suite; its version names the Python whose help and library are the packaged text and code."""
        return Suite(
            name=self.name,
            version=str(VERSION) if self.files else f"{VERSION}+python{platform.python_version()}",
            axis=AXIS,
            generate=self._examples,
            description=__doc__ or "",
            source=", ".join(self.files) or "Python's help and library, photographs of scikit-learn, synthetic speech",
        )

    def _examples(self, rng: np.random.Generator) -> Iterator[Example]:
        paths = [Path(file) for file in self.files]
        for modality, own_rng in zip(MODALITIES, rng.spawn(len(MODALITIES)), strict=True):
            own = [path for path in paths if modality_of(path) == modality]
            if own or not paths or modality == "random":
                source = _of_files(own) if own else packaged(modality, own_rng)
                yield from (_example(modality, n, chunk) for n, chunk in enumerate(islice(source, self.limit or LIMIT)))


def _example(modality: Modality, number: int, chunk: Chunk) -> Example:
    text, lost = squeezed(chunk.data, modality)
    return Example(
        id=f"{modality}-{number}",
        text=text,
        split="in" if modality == "text" else "shifted",
        level_name=modality,
        cluster=f"{modality}-{chunk.origin}",
        attrs=(("lost_bits", str(lost)),),
    )


def _of_files(paths: list[Path]) -> Iterator[Chunk]:
    for path in paths:
        yield from read_chunks(path)
