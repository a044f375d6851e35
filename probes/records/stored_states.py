"""Reading kept states back: the vectors at one place, and a row of facts about each.

A sweep keeps vectors where its spec says ``states: [...]``, at its positions. They come back as one matrix in float32
and a frame with as many rows, so that anything that takes a matrix and labels (a probe, a projection, a neighbour
search) is one line away; or part by part, where they are more than memory holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32

from probes.errors import InputError
from probes.records.filters import place_of
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

    @property
    def of_tokens(self) -> bool:
        """True where an item has a vector for each of its tokens, not one."""
        return self.position == "all"


class States(NamedTuple):
    """The vectors of some items, or of their tokens, at one place.

    Attributes:
        keys: one row per vector: of the run run_id, model, revision, step, model_seed, dtype and suite; of the item
            example_id, axis, level, level_name, split and cluster; token, the index in the item's ids at position
            ``all`` and -1 where the vector is of the item.
        vectors: in the same order. At ``last`` the state itself; at a position over several tokens the mean of their
            states (float32), NaN where an item has no such token. A site with one vector per head gives all heads side
            by side.
    """

    keys: pd.DataFrame
    vectors: Float32[np.ndarray, "vectors width"]


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
) -> Iterator[States]:
    """The vectors of some runs at one place as they lie in the files, one part in memory at a time.

    Args:
        files: parts of the table ``states``.
        runs: rows of ``runs``: those wanted.
        examples: rows of ``examples``.
        site: with or without its layer.
        layer: None where there is one only, or the site has it.
        position: None where there is one only.

    Raises:
        InputError: if nothing is stored, nothing there, more than one place is meant, or vectors differ in width.
    """
    place = _place(files, set(runs["run_id"].astype(str)), site, layer, position)
    return _parts(files, place, runs, examples)


def joined(parts: Iterable[States]) -> States:
    """Parts of one place as one, sorted by model, suite, example_id and token.

    Raises:
        InputError: if there are none, because no item has a token there.
    """
    found = list(parts)
    if not found:
        raise InputError("states: no item has a token at that position")
    together = pd.concat([part.keys for part in found], ignore_index=True)
    order = together.sort_values(["model", "suite", "example_id", "run_id", "token"], kind="stable").index.to_numpy()
    return States(together.loc[order].reset_index(drop=True), np.concatenate([part.vectors for part in found])[order])


def _parts(files: Sequence[Path], place: StoredPlace, runs: pd.DataFrame, examples: pd.DataFrame) -> Iterator[States]:
    of_runs = runs[list(OF_RUN)].astype({"run_id": str})
    of_items = examples[list(OF_ITEM)].drop_duplicates("example_id").astype({"example_id": str})
    for file, own in _held(files, set(of_runs["run_id"])):
        if StoredPlace(own.site, own.layer, own.position) == place and own.n_vectors:
            keys = pd.DataFrame(own.keys(), columns=["example_id", "token"]).assign(run_id=own.run_id)
            keys = keys.merge(of_runs, on="run_id", how="left").merge(of_items, on="example_id", how="left")
            yield States(keys[[*OF_RUN, *OF_ITEM, "token"]], own.numbers(file))


def _place(files: Sequence[Path], run_ids: set[str], site: str, layer: int | None, position: str | None) -> StoredPlace:
    """The one place that is meant."""
    named = place_of(site)
    if None not in (layer, named.layer) and layer != named.layer:
        raise InputError(f"states of {site} with layer={layer} asks for two layers at once; name the layer once")
    site, layer = named.site, named.layer if layer is None else layer
    widths: dict[StoredPlace, set[int]] = {}
    for _, own in _held(files, run_ids):
        widths.setdefault(StoredPlace(own.site, own.layer, own.position), set()).update({own.width} - {0})
    if not widths:
        raise InputError(
            f"no states are stored of these runs; add `states: [{site}]` to the spec and sweep into the directory again"
        )
    there = sorted(
        place
        for place in widths
        if place.site == site and layer in (None, place.layer) and position in (None, place.position)
    )
    if len(there) != 1:
        asked = " ".join(str(part) for part in (site, layer, position) if part is not None)
        what = "is several of them" if there else "is not stored"
        listed = ", ".join(f"{place.site} {place.layer} {place.position}" for place in there or sorted(widths))
        raise InputError(f"states at {asked} (site layer position): that {what}; there are {listed}")
    if len(widths[there[0]]) > 1:
        raise InputError(f"states at {site} are of several widths; name one model or suite")
    return there[0]


def _held(files: Sequence[Path], run_ids: set[str]) -> Iterator[tuple[Path, Tensor]]:
    for file in files:
        for own in tensors_of(file):
            if own.run_id in run_ids:
                yield file, own
