"""Texts of several domains beside the domain a model was trained on, and paired shifts made from that one.

The in-distribution texts come from the user's files, other domains from further files, and three shifts from the
in-distribution texts themselves, item by item (same cluster). Python source of the standard library serves as a domain
that every machine has. Domains have no order, so the axis is nominal: what can be said of it are contrasts with the
in-distribution texts, and only over several domains anything about "farther".
"""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes.suites.example import Example, Split, Suite
from probes.suites.files import Source, read
from probes.suites.shifts.noise import character_noise, random_bytes, shuffled_words
from probes.suites.sources.fields import FieldMap, Name
from probes.vocabulary.axes import AXES

AXIS: Final = AXES["domain"]
VERSION: Final = 2
NAME: Final = "text_domains"
PYTHON: Final = "python_stdlib"
PYTHON_CHARACTERS: Final = 2000  # that a module has at least; several hundred tokens of any tokenizer

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
        name: the suite's name in tables; a spec with several of them gives each one of its own.
        inside: the in-distribution domain, label -> source (written ``in`` in the spec).
        shifted: other domains, label -> source.
        shifts: what to make besides: paired shifts by name, and ``python_stdlib``.
        limit: items per domain; None takes all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Name = NAME
    inside: dict[str, Source] = Field(alias="in", min_length=1)
    shifted: dict[str, Source] = Field(default_factory=dict)
    shifts: tuple[Made, ...] = ALL_MADE
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _labels_differ(self) -> TextDomains:
        both = sorted(set(self.inside) & {*self.shifted}) + sorted({*self.inside, *self.shifted} & {*ALL_MADE})
        if both:
            raise ValueError(f"two domains are called {both[0]!r}; give each a label of its own")
        return self

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
        seed = int(rng.integers(2**32))
        lengths: list[int] = []
        for domain, source in self.inside.items():
            for example in _domain(domain, source, "in"):
                yield example
                if not example.fault and not example.repeats:
                    yield from self._paired(example, seed)
                    lengths.append(len(example.text))
        for domain, source in self.shifted.items():
            yield from _domain(domain, source, "shifted")
        if PYTHON in self.shifts:
            yield from _python_source(lengths)

    def _paired(self, example: Example, seed: int) -> Iterator[Example]:
        # drawn by the text alone, and for every shift apart: other items and shifts that are left out change nothing
        own = np.random.default_rng([seed, int(hashlib.sha256(example.text.encode()).hexdigest()[:16], 16)])
        for (name, make), child in zip(SHIFTED_TEXTS.items(), own.spawn(len(SHIFTED_TEXTS)), strict=True):
            if name in self.shifts:
                yield Example(
                    id=f"{name}-{example.id}",
                    text=make(example.text, child),
                    split="shifted",
                    level_name=name,
                    cluster=example.cluster,
                )


def _domain(domain: str, source: Source, split: Split) -> Iterator[Example]:
    """The texts of one domain, numbered as they stand there."""
    fields = FieldMap(name=NAME, prompt=source.prompt)
    for number, question in enumerate(fields.read(partial(read, source))):
        name = f"{domain}-{number}"
        example = question.example().sound()
        yield replace(example, id=name, split=split, level_name=domain, cluster=example.cluster or name)


def _python_source(lengths: Sequence[int]) -> Iterator[Example]:
    """First definitions of each module of the standard library, in alphabetical order of the modules.

    Each is as long as the in-distribution text whose turn it is, so that code is not simply the longer text.
    """
    left = iter(lengths)
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        start = text.find("\ndef ") + 1 or text.find("\nclass ") + 1
        if not start or len(text) - start < PYTHON_CHARACTERS:
            continue
        length = next(left, None)
        if length is None:
            return
        name = f"{PYTHON}-{path.stem}"
        yield Example(id=name, text=text[start : start + length], split="shifted", level_name=PYTHON, cluster=name)
