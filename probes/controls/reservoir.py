"""A small, seeded sample of every group: the items whose states the controls are computed on.

States are too large to keep for everything, and means, bases and substitutions need them side by side. So a run keeps
those of at most :data:`PER_GROUP` items of each group (split and level; `probes.controls.member_states`).
Items are ranked by a hash of the seed and their id: the sample does not depend on their order, and adding items changes
as little of it as can be.

The reference is what the other groups are compared with: the ``in`` split where there is a shifted one; else the group
at the end of the axis that is not the hard one; and nothing where an axis has no order and nothing is shifted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64

from probes.suites.example import Example, Item
from probes.vocabulary.axes import Axis

PER_GROUP: Final = 64
MOST_ITEMS: Final = 1024  # of all groups together: with more than sixteen groups each gives fewer
MOST_LEVELS: Final = 8  # an axis with more distinct levels is cut into a few ordered groups
MOST_GROUPS: Final = 5
LEAST_ITEMS: Final = 20  # of such a group, where there are twice as many
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
        """Group that a level falls into; None for NaN."""
        at = int(np.searchsorted(self.highs, level))
        return at if at < len(self.highs) else None

    def label(self, group: int) -> str:
        """Name of the group in the tables."""
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
    """Data of an item for sampling; with groups of levels, its group and the middle of it stand for its level."""
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


def reservoir(
    suite: str, items: Iterable[Item], seed: int, is_measured: Callable[[str], bool] = lambda _: True
) -> tuple[Member, ...]:
    """The items of a run that its controls are computed on; a continuous axis is cut into a few ordered groups.

    Args:
        suite: its name.
        items: all of the run's; gone through twice.
        seed: of the draw.
        is_measured: whether an item, by its id, can be drawn.
    """
    levels = np.array([item.example.level for item in items if is_measured(item.example_id)], dtype=np.float64)
    groups = level_groups(levels)
    return tuple(draw((member(suite, *item, groups) for item in items if is_measured(item.example_id)), seed))


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
