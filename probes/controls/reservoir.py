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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32

from probes.capture.batches import run_batches
from probes.capture.models import LoadedModel
from probes.capture.positions import SELECTORS, Selector
from probes.capture.prompts import Prompt
from probes.capture.sites import Site
from probes.capture.states import read_states
from probes.suites.axes import Axis
from probes.suites.example import Example

PER_GROUP: Final = 64
TOKENS: Final = 16
MOST_BYTES: Final = 1 << 30  # of states in memory; fewer tokens of each item are kept rather than more bytes
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


def member(suite: str, example_id: str, example: Example) -> Member:
    """What sampling needs of an item."""
    group = f"{suite}/{example.split}/{example.label()}"
    return Member(example_id, group, example.split == "shifted", example.level)


def draw(members: Iterable[Member], seed: int) -> list[Member]:
    """At most :data:`PER_GROUP` members of every group, groups and members in a fixed order.

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
    return [one for group in sorted(groups) for _, one in sorted(groups[group])[:PER_GROUP]]


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


def read_samples(
    model: LoadedModel, prompts: Sequence[Prompt], sites: Sequence[Site], positions: Sequence[str]
) -> Mapping[tuple[Site, str], Sample]:
    """Run the reservoir once and keep its states, whole vectors only.

    Args:
        model: what to run.
        prompts: of the reservoir, in its order.
        sites: where; none of them has heads.
        positions: ``last``, ``mean`` or both.
    """
    row_bytes = 4 * sum(model.width(site) for site in sites)
    asked = selectors(positions, len(prompts), row_bytes)
    found: dict[tuple[Site, str], list[Sample]] = {}
    read = partial(read_states, model, sites=sites, positions=asked)
    lengths = [len(prompt.ids) for prompt in prompts]
    passes = run_batches(lengths, "auto", model.device, lambda some: read([prompts[index] for index in some]))
    for indices, batch in passes:
        own = np.array(indices, dtype=np.int32)
        for states in batch:
            part = Sample(states.site, states.position, own[states.item], states.token, states.vectors)
            found.setdefault((states.site, states.position), []).append(part)
    return {place: _in_order(parts) for place, parts in found.items()}


def _in_order(parts: Sequence[Sample]) -> Sample:
    """Batches put together, items in the order of the reservoir."""
    item, token = (np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "token"))
    order = np.lexsort((token, item))
    vectors = np.concatenate([part.vectors for part in parts])[order]
    return Sample(parts[0].site, parts[0].position, item[order], token[order], vectors)


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
