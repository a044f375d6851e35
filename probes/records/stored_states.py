"""Reading kept states back: the vectors at one place, and a row of facts about each.

A sweep keeps vectors where its spec says ``states: [...]``, at those of its positions that give one vector per item.
They come back as one matrix in float32 and a frame with as many rows, so that anything that takes a matrix and labels
(a probe, a projection, a neighbour search) is one line away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32

from probes.errors import InputError
from probes.records.tensors import Tensor, tensors_of

OF_RUN: Final = ("run_id", "model", "revision", "step", "model_seed", "dtype", "suite")
OF_ITEM: Final = ("example_id", "axis", "level", "level_name", "split", "cluster")


class StoredPlace(NamedTuple):
    """A place whose vectors a sweep holds.

    Attributes:
        site: without the layer.
        layer: which block; -1 for ``embed``, the number of blocks for ``final_norm``.
        position: the selector as asked.
    """

    site: str
    layer: int
    position: str


class States(NamedTuple):
    """The vectors of some items at one place.

    Attributes:
        keys: one row per vector: of the run run_id, model, revision, step, model_seed, dtype and suite; of the item
            example_id, axis, level, level_name, split and cluster.
        vectors: in the same order. At ``last`` the state itself; at a position over several tokens the mean of their
            states (float32), NaN where an item has no such token. A site with one vector per head gives all heads side
            by side.
    """

    keys: pd.DataFrame
    vectors: Float32[np.ndarray, "items width"]


def stored_places(files: Sequence[Path]) -> tuple[StoredPlace, ...]:
    """Sites and positions whose vectors were kept, in order."""
    found = {StoredPlace(own.site, own.layer, own.position) for file in files for own in tensors_of(file)}
    return tuple(sorted(found))


def read_states(
    files: Sequence[Path],
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    site: str,
    layer: int | None,
    position: str | None,
) -> States:
    """The vectors of some runs at one place, sorted by model, suite and example_id.

    Args:
        files: parts of the table ``states``.
        runs: rows of ``runs``: those wanted.
        examples: rows of ``examples``.
        site: without the layer.
        layer: None where there is one only.
        position: None where there is one only.

    Raises:
        InputError: if nothing is stored, nothing there, more than one place is meant, or vectors differ in width.
    """
    wanted = set(runs["run_id"].astype(str))
    held = list(_held(files, wanted))
    if not held:
        raise InputError(
            f"no states are stored of these runs; add `states: [{site}]` to the spec and sweep into the directory again"
        )
    there = [
        (file, own)
        for file, own in held
        if own.site == site and layer in (None, own.layer) and position in (None, own.position)
    ]
    places = sorted({StoredPlace(own.site, own.layer, own.position) for _, own in there or held})
    if len(places) != 1 or not there:
        asked = " ".join(str(part) for part in (site, layer, position) if part is not None)
        what = "is several of them" if there else "is not stored"
        listed = ", ".join(f"{place.site} {place.layer} {place.position}" for place in places)
        raise InputError(f"states at {asked} (site layer position): that {what}; there are {listed}")
    if len({own.width for _, own in there}) > 1:
        raise InputError(f"states at {site} are of several widths; name one model or suite")
    keys = pd.DataFrame(
        [(own.run_id, item) for _, own in there for item in own.items], columns=["run_id", "example_id"]
    )
    keys["row"] = np.arange(len(keys))
    of_runs = runs[list(OF_RUN)].astype({"run_id": str})
    of_items = examples[list(OF_ITEM)].drop_duplicates("example_id").astype({"example_id": str})
    keys = keys.merge(of_runs, on="run_id", how="left").merge(of_items, on="example_id", how="left")
    keys = keys.sort_values(["model", "suite", "example_id", "run_id"], kind="stable", ignore_index=True)
    vectors = np.concatenate([own.numbers(file) for file, own in there])
    return States(keys[[*OF_RUN, *OF_ITEM]], vectors[keys["row"].to_numpy()])


def _held(files: Sequence[Path], run_ids: set[str]) -> Iterator[tuple[Path, Tensor]]:
    for file in files:
        for own in tensors_of(file):
            if own.run_id in run_ids:
                yield file, own
