"""From what is wanted and what is done to the batches that are left. Pure: no model, no clock.

Items of a job are sorted by the length of their text and cut into batches of one size, so that padding is small and the
composition of a batch is a function of the job and the batch size alone. Items that begin alike have batches of their
own, so that their beginning is read once a batch (:mod:`probes.capture.continuing`). Because whole batches are
committed, what is left after an interruption cuts into the same batches again, and the same machine computes the same
bytes. Bytes of text stand for tokens here: planning a hundred thousand items then tokenises none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from probes.records.arrow import compute, picked
from probes.records.cells import Block
from probes.sweep.item_store import ItemStore

RUN_ID_DIGITS = 16
NOTHING: Final = np.empty(0, dtype=np.int64)
READING: Final = 2
"""Version of what words such as ``mean`` and ``answer`` mean. 1: chat templates were text, the first token was in every
mean unless it was special, and one space stood before every answer."""


class Batch(NamedTuple):
    """Items that go through the model together (indices, longest first), and what to record of them."""

    items: Int64[np.ndarray, " items"]
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """Identity of a run: never the items, the sites, the metrics, the batch size or the device."""

    fingerprint: str
    dtype: str
    attention: str
    template: str
    bos: str
    max_tokens: int | None
    reading: str
    suite: str
    suite_version: str

    def run_id(self) -> str:
        """Hash of the fields."""
        fields = [getattr(self, name) for name in sorted(self.__slots__)]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()[:RUN_ID_DIGITS]


def batches(
    store: ItemStore,
    left: Mapping[Block, Int64[np.ndarray, " items"]],
    batch_size: int,
    apart: Int64[np.ndarray, " some"] = NOTHING,
) -> list[Batch]:
    """Cut what is left of one run into batches.

    Args:
        store: the items.
        left: positions of the items that lack each block, from :func:`probes.records.cells.missing`.
        batch_size: items per batch.
        apart: positions of items that share batches with each other only: those that controls look at, so that they
            can be read again in the batches in which they were measured.

    Returns:
        Batches in which every missing cell occurs exactly once, longest items first, so that memory fails early. Which
        items share a batch does not depend on the order they came in.
    """
    found: list[Batch] = []
    for block, items in left.items():
        alone = np.isin(items, apart)
        parts = [part for some in (items[alone], items[~alone]) for part in _alike(store, some)]
        cut = [own for some in parts for own in _cut(store, some, batch_size)]
        found += [Batch(own, block) for own in sorted(cut, key=lambda own: -int(store.sizes[own[0]]))]
    return found


def _alike(store: ItemStore, items: Int64[np.ndarray, " items"]) -> Iterator[Int64[np.ndarray, " _"]]:
    """Items that begin alike, each kind by itself, and those that do not."""
    codes = store.beginnings[items]
    for code in np.unique(codes):
        yield items[codes == code]


def _cut(store: ItemStore, items: Int64[np.ndarray, " items"], batch_size: int) -> list[Int64[np.ndarray, " _"]]:
    """Items by length, cut into parts of one size."""
    keys: Any = pa.Table.from_arrays(
        [pa.array(store.sizes[items]), picked(store.example_ids, items)], names=["size", "name"]
    )
    order = compute.sort_indices(keys, sort_keys=[("size", "descending"), ("name", "ascending")]).to_numpy()
    ordered = items[order]
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
