"""Members of people's categories, each named in a few plain sentences, with how typical people find them.

Every item is the last word of its sentence, so the position ``answer`` is the item's own tokens and what it was read
after is the same for all items of a sentence. Names of the categories are asked alike, without a level. The level is
typicality, from 0 (least) to 1 (most typical of its norms); members of a category are a cluster, so that whatever is
compared is compared within categories. Without ``norms`` the items are a small list of our own, graded by its authors
and by nobody else. Published norms are read from a file or from the hub (``CShani/human-concepts``).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator

from probes.extras import extra
from probes.suites.example import Example, Suite
from probes.suites.files import Source, read
from probes.suites.sources.fields import Declared, Name
from probes.suites.sources.hub import HubSource, fetch
from probes.suites.sources.labelled import Record
from probes.suites.sources.norms import Polarity, Rating, read_ratings
from probes.vocabulary.axes import AXES

AXIS: Final = AXES["typicality"]
NAME: Final = "concepts"
VERSION: Final = 1
OWN_LIST: Final = "everyday_concepts.csv"
SLOT: Final = " {item}"
TEMPLATES: Final = ("This is a {item}", "The word that I have in mind is {item}")
MEMBER, CATEGORY = "member", "category"  # roles of an item
WORDFREQ: Final = "wordfreq"


class ConceptSuite(Declared):
    """The suite as the sweep spec declares it.

    Attributes:
        norms: file of norms, relative to the spec, or the name of a data set on the hub; None for the shipped list.
        hub_split: split of a data set on the hub.
        dataset: the one set of norms to ask of a file that holds several; None for all.
        polarity: which end of the ratings is the typical one, ``higher`` or ``lower``, of all sets or of each by its
            name; None lets anchors decide (robin over ostrich) and refuses a set without them.
        templates: sentences that end in ``{item}``.
        case: ``lower`` writes items as running text does; ``as_written`` leaves them.
        frequency: a CSV or TSV file with the columns ``word`` and ``count``, or ``wordfreq`` for the package of that
            name; the item's frequency goes with it as a covariate. None leaves it out.
        limit: members per category; None takes all.
    """

    name: Name = NAME
    norms: str | None = None
    hub_split: str = "train"
    dataset: str | None = None
    polarity: Polarity | dict[str, Polarity] | None = None
    templates: tuple[str, ...] = Field(default=TEMPLATES, min_length=1)
    case: Literal["lower", "as_written"] = "lower"
    frequency: str | None = None

    @field_validator("templates")
    @classmethod
    def _end_in_the_item(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if not template.endswith(SLOT) or template.count("{item}") > 1 or not template.removesuffix(SLOT).strip():
                raise ValueError(f"a template is words that end in ' {{item}}', and is {template!r}")
        if len(set(templates)) < len(templates):
            raise ValueError("two templates are the same")
        return templates

    def resolved(self, folder: Path) -> ConceptSuite:
        """The same with paths that hold wherever it is read."""
        update: dict[str, Any] = {}
        if self.norms is not None and not self._on_hub(folder):
            update["norms"] = str(folder / self.norms)
        if self.frequency not in (None, WORDFREQ):
            update["frequency"] = str(folder / str(self.frequency))
        return self.model_copy(update=update)

    def _on_hub(self, folder: Path) -> bool:
        return self.norms is not None and not Path(self.norms).suffix and not (folder / self.norms).exists()

    def suite(self) -> Suite:
        """The suite over these norms."""
        return Suite(
            name=self.name,
            version=str(VERSION),
            axis=AXIS,
            generate=self._examples,
            description=__doc__ or "",
            source=self.norms or "a list of the authors' own, typicality as they graded it",
        )

    def ratings(self) -> list[Rating]:
        """The ratings, larger meaning more typical.

        Raises:
            InputError: if the norms cannot be read, or the direction of a set is open.
        """
        found = read_ratings(self._records(), self.polarity, self.dataset)
        return found if self.limit is None else list(_first(found, self.limit))

    def _records(self) -> Iterable[Record]:
        if self.norms is None:
            text = resources.files("probes.suites").joinpath(OWN_LIST).read_text(encoding="utf-8")
            rows = csv.DictReader(text.splitlines())
            return [Record(f"{OWN_LIST}, line {rows.line_num}", row, is_typed=False) for row in rows]
        if self._on_hub(Path()) or Path(self.norms).is_dir():  # a directory stands for a data set
            return fetch(HubSource(hub=self.norms, hub_split=self.hub_split))
        return read(Source(file=self.norms))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        ratings = self.ratings()
        frequency = frequencies(self.frequency, [self._written(rating.item) for rating in ratings])
        for rating in ratings:
            yield from self._of(rating, MEMBER, frequency.get(self._written(rating.item)))
        for norms, category in dict.fromkeys((own.norms, own.category) for own in ratings if own.category):
            yield from self._of(Rating(norms, category, category, math.nan), CATEGORY, None)

    def _of(self, rating: Rating, role: str, frequency: float | None) -> Iterator[Example]:
        place = f"{rating.norms}/{rating.category}"
        name = f"{place}/{rating.item}" if role == MEMBER else f"{place}//"
        if rating.fault or rating.repeats:
            name = f"{name}@{rating.place}"
        attrs = {"norms": rating.norms, "category": rating.category, "item": self._written(rating.item), "role": role}
        if frequency is not None:
            attrs["frequency"] = repr(frequency)
        for number, template in enumerate(self.templates):
            yield Example(
                id=f"{name}/{number}",
                text=template.removesuffix(SLOT),
                target=self._written(rating.item),
                level=rating.typicality,
                cluster=place,
                attrs=(*attrs.items(), ("template", template)),
                fault=rating.fault,
                repeats=rating.repeats,
            )

    def _written(self, item: str) -> str:
        return item.lower() if self.case == "lower" else item


def frequencies(source: str | None, words: Iterable[str]) -> Mapping[str, float]:
    """Frequency of each word on a scale of logarithms to base 10; words that the source lacks are left out.

    Raises:
        InputError: if the file or the package is not there.
    """
    if source is None:
        return {}
    if source == WORDFREQ:
        package = extra(WORDFREQ)
        return {word: float(found) for word in words if (found := package.zipf_frequency(word, "en")) > 0}
    counts = {record.text("word").strip().lower(): record.number("count") for record in read(Source(file=source))}
    found = {word: counts.get(word.lower(), math.nan) for word in words}
    return {word: math.log10(count) for word, count in found.items() if count > 0}


def _first(ratings: Iterable[Rating], limit: int) -> Iterator[Rating]:
    seen: dict[tuple[str, str], int] = {}
    for rating in ratings:
        key = rating.norms, rating.category
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= limit:
            yield rating
