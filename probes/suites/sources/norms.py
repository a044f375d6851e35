"""Norms of typicality: items, the categories that people put them into, and how typical they are of these.

A file has a row per item and category, with the columns ``item``, ``category``, ``typicality`` and, where it joins
several sets of norms, ``subdataset``. Old sets run opposite ways: Rosch (1973, 1975) asked for 1 as the most typical,
McCloskey and Glucksberg (1978) for 10. Averaged as they stand they cancel, so the direction of every set is settled
first: by anchors on which people agree (a robin is a more typical bird than an ostrich), or by whoever asks. A set
without either is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from probes.errors import InputError
from probes.suites.sources.labelled import Record

Polarity = Literal["higher", "lower"]
ANCHORS: Final[tuple[tuple[str, str], ...]] = (
    ("robin", "ostrich"),
    ("robin", "penguin"),
    ("chair", "rug"),
    ("car", "elevator"),
)
SET: Final = ("subdataset", "dataset", "norms")  # names of the column that tells sets apart; the first that is there
ALONE: Final = "norms"  # what a set without a name is called


class Rating(NamedTuple):
    """One item in one category.

    Attributes:
        norms: the set of norms.
        category: as people named it.
        item: as it stands there.
        typicality: from 0, the least typical of its set, to 1, the most; NaN where people did not rate it.
        place: where it stood, for messages.
        fault: why it cannot be asked; empty for a sound one.
        repeats: why it is left out though it could be asked.
    """

    norms: str
    category: str
    item: str
    typicality: float
    place: str = ""
    fault: str = ""
    repeats: str = ""


def read_ratings(
    records: Iterable[Record], polarity: Polarity | Mapping[str, Polarity] | None, dataset: str | None = None
) -> list[Rating]:
    """Ratings of norms, larger meaning more typical whatever the direction of their set.

    An item that stands in two categories is kept in both; the same item twice in one category is told as a repetition.

    Args:
        records: the rows.
        polarity: which end is the typical one, of all sets or of each by name; None asks the anchors.
        dataset: the one set wanted; None for all.

    Raises:
        InputError: if a column is missing, no set is called so, or the direction of a set is open or contradicts
            its anchors.
    """
    rows = [_row(record) for record in records]
    names = list(dict.fromkeys(row.norms for row in rows))
    if dataset is not None:
        if dataset not in names:
            raise InputError(f"no norms are called {dataset!r}; there are {', '.join(map(repr, names))}")
        names = [dataset]
    if isinstance(polarity, Mapping):
        unknown = next((name for name in polarity if name not in {row.norms for row in rows}), None)
        if unknown is not None:
            raise InputError(f"polarity: no norms are called {unknown!r}; there are {', '.join(map(repr, names))}")
    found: list[Rating] = []
    for name in names:
        own = [row for row in rows if row.norms == name]
        said = polarity.get(name) if isinstance(polarity, Mapping) else polarity
        found += _scaled(own, _direction(name, own, said))
    if not any(not rating.fault for rating in found):
        raise InputError(found[0].fault if found else "norms: there is no row")
    return _told_apart(found)


def _row(record: Record) -> Rating:
    name = next((column for column in SET if column in record.fields), None)
    norms = record.text(name) if name is not None else ALONE
    for column in ("item", "category", "typicality"):
        if not record.fault and column not in record.fields:
            raise InputError(
                f"{record.place}: norms have the columns item, category, typicality (and subdataset, where there are "
                f"several sets); there are {', '.join(map(repr, record.fields))}"
            )
    try:
        item, category = record.text("item").strip(), record.text("category").strip()
        rating = record.number("typicality")
        fault = "" if item and category else f"{record.place}: item and category should be words, and one is empty"
    except InputError as error:
        item, category, rating, fault = str(record.fields.get("item") or ""), "", math.nan, str(error)
    return Rating(norms, category, item, rating, record.place, fault)


def _direction(name: str, rows: Sequence[Rating], said: Polarity | None) -> Polarity:
    """The typical end of one set, by its anchors and what is said; both have to agree."""
    by_anchors = {
        "higher" if one > other else "lower"
        for more, less in ANCHORS
        for one, other in _both(rows, more, less)
        if one != other
    }
    if len(by_anchors) > 1:
        if said is not None:
            return said
        raise InputError(f"norms {name!r}: anchors contradict each other; say polarity: {{{name}: higher}} or lower")
    seen = next(iter(by_anchors), None)
    if said is not None and seen is not None and said != seen:
        raise InputError(
            f"norms {name!r}: polarity is said to be {said}, but by {_shown(rows)} the typical end is the {seen} one"
        )
    found = said or seen
    if found is None:
        raise InputError(
            f"norms {name!r}: nobody says which end is typical, and none of the anchors is there "
            f"({', '.join(f'{more} > {less}' for more, less in ANCHORS)}); say polarity: {{{name}: higher}} if larger "
            "numbers are more typical, else lower"
        )
    return "higher" if found == "higher" else "lower"


def _both(rows: Sequence[Rating], more: str, less: str) -> list[tuple[float, float]]:
    """Ratings of two items in the categories that they share."""
    of = {(row.item.casefold(), row.category): row.typicality for row in rows if math.isfinite(row.typicality)}
    shared = [category for item, category in of if item == more and (less, category) in of]
    return [(of[more, category], of[less, category]) for category in shared]


def _shown(rows: Sequence[Rating]) -> str:
    return next(
        f"{more} ({one:g}) and {less} ({other:g})"
        for more, less in ANCHORS
        for one, other in _both(rows, more, less)
        if one != other
    )


def _scaled(rows: Sequence[Rating], direction: Polarity) -> list[Rating]:
    values = np.array([row.typicality for row in rows])
    known = values[np.isfinite(values)]
    if not len(known):
        return list(rows)
    low, spread = float(known.min()), float(np.ptp(known)) or 1.0
    share = (values - low) / spread
    share = share if direction == "higher" else 1 - share
    return [row._replace(typicality=float(value)) for row, value in zip(rows, share, strict=True)]


def _told_apart(ratings: Sequence[Rating]) -> list[Rating]:
    first: dict[tuple[str, str, str], str] = {}
    found: list[Rating] = []
    for rating in ratings:
        key = rating.norms, rating.category, rating.item
        earlier = first.setdefault(key, rating.place)
        is_new = earlier == rating.place or rating.fault
        found.append(rating if is_new else rating._replace(repeats=f"{rating.place}: the same item as {earlier}"))
    return found
