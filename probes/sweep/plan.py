"""From what is wanted and what is done to the batches that are left. Pure: no model, no file, no clock.

Items of a job are sorted by length and cut into batches of one size, so that padding is small and the composition of a
batch is a function of the job and the batch size alone. Because whole batches are committed, what is left after an
interruption cuts into the same batches again, and the same machine computes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from probes.records.cells import Block, Done, missing
from probes.suites.example import Item

RUN_ID_DIGITS = 16


class Batch(NamedTuple):
    """Items that go through the model together, longest first, and what to record of them."""

    example_ids: tuple[str, ...]
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What makes two runs the same run: never the items, the sites, the metrics, the batch size or the device."""

    fingerprint: str
    dtype: str
    attention: str
    template: str
    bos: str
    max_tokens: int | None
    suite: str
    suite_version: str

    def run_id(self) -> str:
        """Hash of the fields."""
        fields = [getattr(self, name) for name in sorted(self.__slots__)]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()[:RUN_ID_DIGITS]


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most ``limit`` items per (split, level), spread over clusters, in the order given.

    Every cluster gives its first item of a (split, level) before any gives its second. So the shifts of one source item
    stay together (they are first items of one cluster), and passages come from many books rather than from the first.
    """
    if limit is None:
        return list(items)
    clusters: dict[str, int] = {}
    turns: dict[tuple[str, str, str], int] = {}
    order: list[tuple[int, int, int]] = []
    for index, (example_id, example) in enumerate(items):
        cluster = example.cluster or example_id
        place = (cluster, example.split, example.label())
        turns[place] = turns.get(place, -1) + 1
        order.append((turns[place], clusters.setdefault(cluster, len(clusters)), index))
    taken: dict[tuple[str, str], int] = {}
    kept: set[int] = set()
    for _, _, index in sorted(order):
        example = items[index].example
        place = (example.split, example.label())
        if taken.get(place, 0) < limit:
            taken[place] = taken.get(place, 0) + 1
            kept.add(index)
    return [item for index, item in enumerate(items) if index in kept]


def batches(
    wanted: Block,
    lengths: Mapping[str, int],
    done: Iterable[Done],
    batch_size: int,
) -> list[Batch]:
    """The batches that are left of one run.

    Args:
        wanted: what every item should have.
        lengths: tokens of each item that can be measured.
        done: what the run has recorded.
        batch_size: items per batch.

    Returns:
        Batches in which every missing cell occurs exactly once, longest items first, so that memory fails early.
    """
    left: list[Batch] = []
    for block, example_ids in missing(wanted, list(lengths), done).items():
        ordered = sorted(example_ids, key=lambda example_id: (-lengths[example_id], example_id))
        left += [
            Batch(tuple(ordered[start : start + batch_size]), block) for start in range(0, len(ordered), batch_size)
        ]
    return left
