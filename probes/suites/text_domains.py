"""Texts of several domains beside the domain a model was trained on, and paired shifts made from that one.

The in-distribution texts come from the user's files, other domains from further files, and three shifts from the
in-distribution texts themselves, item by item (same cluster). Python source of the standard library serves as a domain
that every machine has. Domains have no order, so the axis is nominal: what can be said of it are contrasts with the
in-distribution texts, and only over several domains anything about "farther".
"""

from __future__ import annotations

import itertools
import platform
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from probes.suites.example import Axis, Example, Split, Suite
from probes.suites.fields import Record
from probes.suites.files import Source, read
from probes.suites.noise import character_noise, random_bytes, shuffled_words

AXIS: Final = Axis(name="domain", unit="", kind="nominal", harder=None)
VERSION: Final = 1
PYTHON: Final = "python_stdlib"
PYTHON_CHARACTERS: Final = 2000  # enough for several hundred tokens of any tokenizer

NOISE_RATE: Final = 0.15  # one character in seven: words stay guessable, few of them stay whole
SHIFTED_TEXTS: Final[dict[str, Callable[[str, np.random.Generator], str]]] = {
    "shuffled_words": shuffled_words,
    "character_noise": lambda text, rng: character_noise(text, NOISE_RATE, rng),
    "random_bytes": random_bytes,
}

Made = Literal["shuffled_words", "character_noise", "random_bytes", "python_stdlib"]
ALL_MADE: Final[tuple[Made, ...]] = ("shuffled_words", "character_noise", "random_bytes", "python_stdlib")


class TextDomains(BaseModel):
    """The suite as the sweep spec declares it.

    Attributes:
        name: ``text_domains``.
        inside: the in-distribution domain, label -> source (written ``in`` in the spec).
        shifted: other domains, label -> source.
        shifts: what to make besides: paired shifts by name, and ``python_stdlib``.
        limit: items per domain; None takes all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Literal["text_domains"]
    inside: dict[str, Source] = Field(alias="in", min_length=1)
    shifted: dict[str, Source] = Field(default_factory=dict)
    shifts: tuple[Made, ...] = ALL_MADE
    limit: int | None = Field(default=None, ge=1)

    def suite(self) -> Suite:
        """The suite over these files; the version names the Python whose library is read."""
        python = f"+python{platform.python_version()}" if PYTHON in self.shifts else ""
        return Suite(
            name=self.name,
            version=f"{VERSION}{python}",
            axis=AXIS,
            generate=self._examples,
            description=__doc__ or "",
            source=", ".join(source.file for source in (*self.inside.values(), *self.shifted.values())),
        )

    def _examples(self, rng: np.random.Generator) -> Iterator[Example]:
        n_items = 0
        for domain, source in self.inside.items():
            for number, record in enumerate(read(source)):
                example = _example(domain, number, record, source, "in")
                yield example
                yield from self._paired(example, rng)
                n_items += 1
        for domain, source in self.shifted.items():
            for number, record in enumerate(read(source)):
                yield _example(domain, number, record, source, "shifted")
        if PYTHON in self.shifts:
            yield from itertools.islice(_python_source(), n_items)

    def _paired(self, example: Example, rng: np.random.Generator) -> Iterator[Example]:
        # every shift draws from a generator of its own, so that leaving one out changes no other
        children = rng.spawn(len(SHIFTED_TEXTS))
        for (name, make), child in zip(SHIFTED_TEXTS.items(), children, strict=True):
            if name in self.shifts:
                yield Example(
                    id=f"{name}-{example.id}",
                    text=make(example.text, child),
                    split="shifted",
                    level_name=name,
                    cluster=example.cluster,
                )


def _example(domain: str, number: int, record: Record, source: Source, split: Split) -> Example:
    return Example(
        id=f"{domain}-{number}",
        text=record.text(source.prompt),
        split=split,
        level_name=domain,
        cluster=record.cluster or f"{domain}-{number}",
    )


def _python_source() -> Iterator[Example]:
    """What each module of the standard library defines first, in alphabetical order of the modules."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        start = text.find("\ndef ") + 1 or text.find("\nclass ") + 1
        if start and len(text) - start >= PYTHON_CHARACTERS:
            body = text[start : start + PYTHON_CHARACTERS]
            yield Example(
                id=f"{PYTHON}-{path.stem}",
                text=body,
                split="shifted",
                level_name=PYTHON,
                cluster=f"{PYTHON}-{path.stem}",
            )
