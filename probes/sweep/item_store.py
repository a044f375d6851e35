"""The items of a suite, kept on disk: a hundred thousand prompts need no more memory than a thousand.

A suite is read once, item by item, into a temporary file that has no name and is gone with the process. In memory stay
a few numbers per item: its id (as Arrow text), where it lies in the file, how long it is, and a short hash of what it
asks. That is all that planning needs; an item itself is read when its batch is sent off.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int, Int64, UInt64

from probes.errors import InputError
from probes.records.arrow import codes, column_of, doubled, listed, picked
from probes.suites.example import Example, Item, Suite

AT_ONCE: Final = 4096  # items that become Arrow text together
BEGINNING: Final = 96  # characters by which items are known to begin alike: some twenty tokens
FEWEST_ALIKE: Final = 8  # items that share a beginning, below which it is not worth batches of its own
FIELDS: Final = tuple(field.name for field in fields(Example))
VALUES: Final = attrgetter(*FIELDS)
CONTENT: Final = "content"  # the attribute that holds a hash of prompt and target where no text is kept
NUMBER: Final = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")


class Lines:
    """A temporary file of lines. It has no name, so that no kind of death leaves it behind."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sparsity-items-")  # noqa: SIM115  open as long as a store needs it
        weakref.finalize(self, self._file.close)
        self._end = 0

    def add(self, line: str) -> int:
        """Write a line at the end and say where it begins."""
        start = self._end
        self._end += self._file.write(line.encode() + b"\n")
        return start

    def read(self, start: int) -> str:
        """The line that begins there."""
        self._file.seek(start)
        return self._file.readline().decode()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ItemStore:
    """Items in a fixed order. Iterating reads them from disk one by one.

    Attributes:
        example_ids: the items' names, an Arrow array of strings.
        sizes: bytes of prompt and target together, what planning takes for a length.
        contents: 64-bit hash of prompt and target; tells whether an item is still what it was.
        beginnings: number of the beginning that an item shares with others (solved examples, instructions); -1 for a
            text that begins like few others.
        places: 64-bit hash of where the item lies: level, split, cluster and attributes, which may be corrected.
        starts: where each item begins in the file.
        lines: the temporary file.
    """

    example_ids: pa.StringArray
    sizes: Int64[np.ndarray, " items"]
    contents: UInt64[np.ndarray, " items"]
    beginnings: Int64[np.ndarray, " items"]
    places: UInt64[np.ndarray, " items"]
    starts: Int64[np.ndarray, " items"]
    lines: Lines

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Item:
        example_id, values = json.loads(self.lines.read(int(self.starts[index])))
        fields = dict(zip(FIELDS, values, strict=True))
        pairs = {name: tuple(tuple(pair) for pair in fields[name]) for name in ("attrs", "before")}
        fields |= {"choices": tuple(fields["choices"]), **pairs}
        return Item(example_id, Example(**fields))

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    def select(self, indices: Int[np.ndarray, " some"]) -> ItemStore:
        """Some of the items, in the order asked for."""
        return ItemStore(
            example_ids=picked(self.example_ids, indices),
            sizes=self.sizes[indices],
            contents=self.contents[indices],
            beginnings=self.beginnings[indices],
            places=self.places[indices],
            starts=self.starts[indices],
            lines=self.lines,
        )

    def shard(self, index: int, count: int) -> ItemStore:
        """The items of one of ``count`` shares; whose share an item is depends on its id alone."""
        names = listed(self.example_ids)
        mine = [number for number, name in enumerate(names) if _hash(name) % count == index]
        return self.select(np.array(mine, dtype=np.int64))

    def fingerprint(self) -> str:
        """sha256 over the ids and contents of all items, in order."""
        digest = hashlib.sha256(self.contents.tobytes())
        for start in range(0, len(self), AT_ONCE):
            some = np.arange(start, min(start + AT_ONCE, len(self)))
            digest.update("\n".join(listed(picked(self.example_ids, some))).encode())
        return digest.hexdigest()


def store_items(
    suite: Suite, rng: np.random.Generator, limit: int | None = None, *, no_text: bool = False
) -> ItemStore:
    """Read a suite once and keep it on disk.

    Args:
        suite: what to read.
        rng: its only source of chance.
        limit: at most so many items per (split, level), see :func:`limited`.
        no_text: whether rows of the items will hold hashes in the stead of texts.

    Raises:
        InputError: if the suite is empty or two items share an id.
    """
    lines = Lines()
    sizes: list[int] = []
    contents: list[int] = []
    begins: list[int] = []
    lies: list[int] = []
    starts: list[int] = []
    names, clusters, places = _Column(), _Column(), _Column()
    for example_id, example in map(suite.named, suite.generate(rng)):
        starts.append(lines.add(json.dumps([example_id, VALUES(example)])))
        sizes.append(len(example.text.encode(errors="replace")) + len((example.target or "").encode(errors="replace")))
        contents.append(content_hash(example.text, example.target))
        begins.append(_hash(_beginning(example)))
        lies.append(place_hash(**place_of(example_id, example, no_text=no_text)))
        names.append(example_id)
        if limit is not None:
            clusters.append(example.cluster or example_id)
            places.append(f"{example.split} {example.label()}")
    store = ItemStore(
        example_ids=names.whole(),
        sizes=np.array(sizes, dtype=np.int64),
        contents=np.array(contents, dtype=np.uint64),
        beginnings=_alike(np.array(begins, dtype=np.uint64)),
        places=np.array(lies, dtype=np.uint64),
        starts=np.array(starts, dtype=np.int64),
        lines=lines,
    )
    if not len(store):
        raise InputError(f"suite {suite.name!r} has no items")
    twice = doubled(store.example_ids)
    if twice is not None:
        raise InputError(f"suite {suite.name!r}: two items are called {twice!r}; ids must be unique")
    return store if limit is None else store.select(limited(clusters.whole(), places.whole(), limit))


def _beginning(example: Example) -> str:
    """The first characters of what an item is read as, turns before its text included."""
    before = json.dumps(example.before[:2]) if example.before else ""
    return f"{before[:BEGINNING]}\0{example.text[: max(BEGINNING - len(before), 0)]}"


def _alike(hashes: UInt64[np.ndarray, " items"]) -> Int64[np.ndarray, " items"]:
    """Numbers of the beginnings that enough items share, -1 for all others.

    >>> _alike(np.array([7] * 8 + [3], dtype=np.uint64)).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, -1]
    """
    _, codes, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    shared = counts >= FEWEST_ALIKE
    numbers = np.where(shared, np.cumsum(shared) - 1, -1)
    return numbers[codes.reshape(-1)].astype(np.int64)


def content_hash(text: str, target: str | None) -> int:
    """64 bits that tell whether an item still asks what it asked."""
    return _hash(f"{text}\0{target}" if target is not None else text)


def recorded_content(text: str | None, target: str | None, attrs: str) -> int:
    """The same of a row of ``examples``, which may hold the hash in the stead of the text."""
    return content_hash(text, target) if text is not None else int(json.loads(attrs)[CONTENT], 16)


class Place(TypedDict):
    """Split and level of an item, as its row of ``examples`` says them."""

    level: float
    level_name: str
    split: str
    cluster: str
    attrs: str


def place_of(example_id: str, example: Example, *, no_text: bool = False) -> Place:
    """Split and level of an item; without a cluster it is one of its own."""
    return Place(
        level=example.level,
        level_name=example.label(),
        split=example.split,
        cluster=example.cluster or example_id,
        attrs=json.dumps(_attributes(example, no_text=no_text), ensure_ascii=False),
    )


def _attributes(example: Example, *, no_text: bool) -> dict[str, str]:
    """Attributes of an item, and the turns before its text if it is a conversation.

    Where no text is kept: the attributes that are numbers, and a hash of what is asked.
    """
    turns = {"before": json.dumps(example.before, ensure_ascii=False)} if example.before else {}
    if not no_text:
        return {**dict(example.attrs), **turns}
    numbers = {name: value for name, value in example.attrs if NUMBER.fullmatch(value)}
    hashed = {name: f"{_hash(text):016x}" for name, text in turns.items()}
    return {**numbers, **hashed, CONTENT: f"{content_hash(example.text, example.target):016x}"}


def place_hash(level: float, level_name: str, split: str, cluster: str, attrs: str) -> int:
    """64 bits that tell whether an item still lies where it lay."""
    return _hash(json.dumps([repr(float(level)), level_name, split, cluster, attrs]))


def limited(clusters: pa.StringArray, places: pa.StringArray, limit: int) -> Int64[np.ndarray, " kept"]:
    """Choose items to keep: at most ``limit`` per place (split and level), spread over clusters, in the order given.

    Every cluster gives its first item of a place before any gives its second. So the shifts of one source item stay
    together (they are first items of one cluster), and passages come from many books rather than from the first.
    """
    frame = pd.DataFrame({"cluster": codes(clusters), "place": codes(places)})
    turn = frame.groupby(["cluster", "place"], sort=False).cumcount().to_numpy()
    order = np.lexsort((np.arange(len(frame)), frame["cluster"], turn))
    taken = frame.iloc[order].groupby("place", sort=False).cumcount().to_numpy()
    return np.sort(order[taken < limit])


class _Column:
    """Text that becomes Arrow in small steps, so that Python strings never pile up."""

    def __init__(self) -> None:
        self._chunks: list[pa.StringArray] = []
        self._held: list[str] = []

    def append(self, text: str) -> None:
        self._held.append(text)
        if len(self._held) == AT_ONCE:
            self._settle()

    def whole(self) -> pa.StringArray:
        self._settle()
        column: Any = pa.concat_arrays(self._chunks)
        return column

    def _settle(self) -> None:
        self._chunks.append(column_of(self._held))
        self._held = []


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
