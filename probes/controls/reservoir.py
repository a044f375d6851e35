"""A small, seeded sample of every group, and the states of its items: what the controls are computed on.

States are too large to keep for everything, and means, bases and substitutions need them side by side. So a run keeps
those of at most :data:`PER_GROUP` items of each group (split and level), and of at most :data:`TOKENS` tokens of each.
Items are ranked by a hash of the seed and their id: the sample does not depend on their order, and adding items changes
as little of it as can be.

The reference is what the other groups are compared with: the ``in`` split where there is a shifted one; else the group
at the end of the axis that is not the hard one; and nothing where an axis has no order and nothing is shifted.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int32
from torch import Tensor

from probes.capture.batches import run_batches
from probes.capture.states import BatchStates, read_states
from probes.models.loading import LoadedModel
from probes.suites.example import Example
from probes.vocabulary.axes import Axis
from probes.vocabulary.positions import SELECTORS, Selector
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site

PER_GROUP: Final = 64
MOST_ITEMS: Final = 1024  # of all groups together: with more than sixteen groups each gives fewer
MOST_LEVELS: Final = 8  # an axis with more distinct levels is cut into a few ordered groups
MOST_GROUPS: Final = 5
LEAST_ITEMS: Final = 20  # of such a group, where there are twice as many
TOKENS: Final = 16
MOST_BYTES: Final = 1 << 30  # of states in the file; fewer tokens of each item are kept rather than more bytes
POSITIONS: Final = ("last", "mean")


class Member(NamedTuple):
    """An item as sampling sees it.

    Attributes:
        example_id: its name in every table.
        group: ``suite/split/level_name``.
        shifted: whether it is of the shifted split.
        level: its place on the axis, NaN where it has none.
    """

    example_id: str
    group: str
    shifted: bool
    level: float


class LevelGroups(NamedTuple):
    """A continuous axis cut into a few ordered groups: the smallest and largest level of each, ascending."""

    lows: tuple[float, ...]
    highs: tuple[float, ...]

    def of(self, level: float) -> int | None:
        """Which group a level falls into; None for NaN."""
        at = int(np.searchsorted(self.highs, level))
        return at if at < len(self.highs) else None

    def label(self, group: int) -> str:
        """How the group is called in the tables."""
        low, high = self.lows[group], self.highs[group]
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def level_groups(levels: Float64[np.ndarray, " items"]) -> LevelGroups | None:
    """Cut an axis of many levels at its quantiles; None where at most :data:`MOST_LEVELS` distinct ones occur.

    Substitution needs groups of some size, and a measured quantity (a solve rate, a length) gives every item a level
    of its own. There are at most :data:`MOST_GROUPS`, each of at least :data:`LEAST_ITEMS` items where there are twice
    as many; equal levels stay together.

    >>> level_groups(np.arange(60.0)).highs, level_groups(np.repeat([1.0, 2.0], 30))
    ((19.0, 39.0, 59.0), None)
    """
    values, counts = np.unique(levels[~np.isnan(levels)], return_counts=True)
    if len(values) <= MOST_LEVELS:
        return None
    total = int(counts.sum())
    least = min(LEAST_ITEMS, total // 2)
    n_groups = min(MOST_GROUPS, total // least)
    ends: list[int] = []
    begun = 0
    for at, seen in enumerate(np.cumsum(counts).tolist()):
        is_due = seen >= total * (len(ends) + 1) / n_groups and seen - begun >= least
        if at == len(values) - 1 or (is_due and total - seen >= least):
            ends.append(at)
            begun = seen
    starts = [0, *(end + 1 for end in ends[:-1])]
    return LevelGroups(tuple(values[starts].tolist()), tuple(values[ends].tolist()))


def member(suite: str, example_id: str, example: Example, groups: LevelGroups | None = None) -> Member:
    """What sampling needs of an item; with groups of levels, its group and the middle of it stand for its level."""
    label, level = example.label(), example.level
    group = groups.of(level) if groups is not None else None
    if groups is not None and group is not None:
        label, level = groups.label(group), (groups.lows[group] + groups.highs[group]) / 2
    return Member(example_id, f"{suite}/{example.split}/{label}", example.split == "shifted", level)


def draw(members: Iterable[Member], seed: int) -> list[Member]:
    """At most :data:`PER_GROUP` members of every group and :data:`MOST_ITEMS` in all, in a fixed order.

    >>> rows = [Member(f"s:{n}", "s/in/1", False, 1.0) for n in range(100)]
    >>> len(draw(rows, 0)), draw(rows, 0) == draw(rows[::-1], 0), draw(rows, 0) == draw(rows, 1)
    (64, True, False)
    """
    groups: dict[str, list[tuple[bytes, Member]]] = {}
    for one in members:
        rank = hashlib.sha256(f"{seed}:{one.example_id}".encode()).digest()
        kept = groups.setdefault(one.group, [])
        kept.append((rank, one))
        if len(kept) >= 2 * PER_GROUP:
            kept[:] = sorted(kept)[:PER_GROUP]
    most = max(1, min(PER_GROUP, MOST_ITEMS // max(len(groups), 1)))
    return [one for group in sorted(groups)[:MOST_ITEMS] for _, one in sorted(groups[group])[:most]]


def reference_groups(members: Sequence[Member], axis: Axis) -> tuple[str, ...]:
    """The groups that the others are compared with; empty where nothing says which."""
    inside = dict.fromkeys(one.group for one in members if not one.shifted)
    if any(one.shifted for one in members):
        return tuple(inside)
    levels = {one.group: one.level for one in members if not np.isnan(one.level)}
    if axis.harder is None or len(set(levels.values())) < 2:
        return ()
    easy = min(levels.values()) if axis.harder == "higher" else max(levels.values())
    return tuple(group for group, level in levels.items() if level == easy)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The states of the reservoir at one site and position.

    Attributes:
        site: where.
        position: ``last`` or ``mean``.
        item: index of the item in the reservoir.
        token: index of the token in the item's ids.
        vectors: one row per token kept.
    """

    site: Site
    position: str
    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    vectors: Float32[np.ndarray, "rows width"]


def selectors(positions: Sequence[str], n_items: int, row_bytes: int) -> tuple[Selector, ...]:
    """The tokens that are kept: the last one, and evenly spaced ones for ``mean``.

    Args:
        positions: ``last``, ``mean`` or both.
        n_items: in the reservoir.
        row_bytes: what the states of one token take, all sites together.
    """
    most = int(np.clip(MOST_BYTES // max(1, n_items * row_bytes), 1, TOKENS))

    def spaced(prompt: Prompt) -> Sequence[int]:
        content = prompt.content
        at = np.unique(np.linspace(0, len(content) - 1, most).round().astype(int)) if len(content) else ()
        return [content[int(index)] for index in at]

    own = {"last": SELECTORS["last"], "mean": Selector("mean", spaced)}
    return tuple(own[position] for position in positions)


class _Part(NamedTuple):
    """Vectors of one batch in the file: whose they are, and where they begin."""

    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    start: int
    width: int


class States:
    """The reservoir's states, in a temporary file without a name; a site and position at a time comes to memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sparsity-states-", buffering=0)  # noqa: SIM115  closed by its reader
        self._parts: dict[tuple[Site, str], list[_Part]] = {}
        self._lengths: dict[Site, dict[int, np.ndarray]] = {}
        self._end = 0

    def __contains__(self, place: tuple[Site, str]) -> bool:
        return place in self._parts

    def add(self, states: BatchStates, own: Int32[np.ndarray, " items"]) -> None:
        """Keep the states of a batch; ``own`` says which item of the reservoir each of its items is."""
        part = _Part(own[states.item], states.token, self._end, states.vectors.shape[1])
        self._parts.setdefault((states.site, states.position), []).append(part)
        self._file.seek(self._end)
        np.ascontiguousarray(states.vectors, dtype=np.float32).tofile(self._file)
        self._end += 4 * states.vectors.size

    def sample(self, site: Site, position: str) -> Sample:
        """The states of one site and position, items in the order of the reservoir."""
        parts = self._parts[site, position]
        item, token = (np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "token"))
        order = np.lexsort((token, item))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        vectors = np.empty((len(item), parts[0].width), dtype=np.float32)
        done = 0
        for part in parts:
            self._file.seek(part.start)
            n = len(part.item)
            read = np.fromfile(self._file, dtype=np.float32, count=n * part.width)
            vectors[place[done : done + n]] = read.reshape(n, part.width)
            done += n
        return Sample(site, position, item[order], token[order], vectors)

    def add_lengths(self, lengths: Mapping[Site, np.ndarray], prompts: Sequence[Prompt], own: Sequence[int]) -> None:
        """Keep the lengths of all prompt tokens of a batch, given padded: ``(prompts, longest)`` by site."""
        for site, padded in lengths.items():
            kept = self._lengths.setdefault(site, {})
            for row, item in zip(padded, own, strict=True):
                kept[item] = row[: prompts[item].end]

    def lengths(self, site: Site) -> list[Float32[np.ndarray, " tokens"]]:
        """How long the states of all prompt tokens are at a site, item by item in the order of the reservoir."""
        kept = self._lengths[site]
        return [kept[item] for item in sorted(kept)]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


@contextmanager
def read_states_of(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    sites: Sequence[Site],
    positions: Sequence[str],
    pause: Callable[[], None] = lambda: None,
) -> Generator[States]:
    """Run the reservoir once and keep its states for as long as the block lasts, whole vectors only.

    Args:
        model: what to run.
        prompts: of the reservoir, in its order.
        sites: where; none of them has heads.
        positions: ``last``, ``mean`` or both.
        pause: called at every site of a pass; may raise to break off.
    """
    row_bytes = 4 * sum(model.width(site) for site in sites)
    picked = selectors(positions, len(prompts), row_bytes)
    kept = States()

    def read(own: Sequence[int]) -> tuple[tuple[BatchStates, ...], dict[Site, np.ndarray]]:
        lengths: dict[Site, np.ndarray] = {}

        def measure(site: Site, vectors: Tensor) -> None:
            pause()
            lengths[site] = _lengths_of(vectors).reshape(len(own), -1).cpu().numpy()

        some = [prompts[index] for index in own]
        return read_states(model, some, sites=sites, positions=picked, look=measure), lengths

    try:
        for own, (batch, lengths) in run_batches([len(prompt.ids) for prompt in prompts], "auto", model.device, read):
            for states in batch:
                kept.add(states, np.array(own, dtype=np.int32))
            kept.add_lengths(lengths, prompts, own)
        yield kept
    finally:
        kept.close()


def _lengths_of(vectors: Tensor) -> Tensor:
    """Euclidean length of each row, in float32; parts of the rows at a time, for halves are promoted first."""
    starts = range(0, len(vectors), 256)
    return torch.cat([vectors[start : start + 256].float().square().sum(-1).sqrt() for start in starts])


def per_item(
    values: Float[np.ndarray, "rows numbers"], item: Int32[np.ndarray, " rows"]
) -> tuple[Int32[np.ndarray, " items"], Float64[np.ndarray, "items numbers"]]:
    """The items that occur, and the mean of the defined values of each; NaN where none is.

    >>> per_item(np.array([[1.0], [3.0], [np.nan]]), np.array([0, 0, 4], dtype=np.int32))
    (array([0, 4], dtype=int32), array([[ 2.], [nan]]))
    """
    items, index = np.unique(item, return_inverse=True)
    total, count = np.zeros((2, len(items), values.shape[1]))
    defined = ~np.isnan(values)
    np.add.at(total, index, np.where(defined, values, 0).astype(np.float64))
    np.add.at(count, index, defined)
    return items, np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
