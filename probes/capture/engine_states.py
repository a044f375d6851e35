"""Hidden states that another engine wrote, read and measured without running a model.

A text is one safetensors file. It holds either ``hidden_states`` of shape ``(tokens, sites, width)``, as vLLM's
``ExampleHiddenStatesConnector`` writes it for a prompt, with the names of the sites in that order given beside it; or a
matrix ``(tokens, width)`` per site under the site's own name (``resid_post.3``, ``final_norm``). An index is a file of
JSON Lines, one text a line: ``file`` (relative to the index), and if known ``id``, ``level``, ``level_name``, ``split``
and ``cluster``. Numbers may be of any floating type; measures are computed in float32, as in a sweep.

vLLM names a layer by the block that is about to read it: its layer i is ``resid_post.(i-1)`` here, before the final
norm.

Position ``last`` is the last token of a file and ``mean`` the mean of the measure over all tokens but the first, which
is an attention sink: nothing in such a file says which tokens are special.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from probes.capture.reading import RAW, Reading
from probes.errors import InputError
from probes.vocabulary.sites import Site
from sparsity import MetricSpec, profile

TOGETHER: Final = "hidden_states"
TOKENS: Final = "token_ids"
POSITIONS: Final = ("last", "mean")
KNOWN: Final = frozenset({"file", "id", "level", "level_name", "split", "cluster"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One text of an index.

    Attributes:
        file: its states.
        id: its name.
        level: where it stands on the axis; NaN where nobody says.
        level_name: label of that.
        split: ``in`` or ``shifted``.
        cluster: texts of one cluster are not independent; by default the text alone.
    """

    file: Path
    id: str
    level: float = float("nan")
    level_name: str = ""
    split: str = "in"
    cluster: str = ""


def read_index(path: Path) -> list[Entry]:
    """The texts of an index, or the one text of a safetensors file.

    Raises:
        InputError: naming the file and line that cannot be read, or a text that is there twice.
    """
    if path.suffix == ".safetensors":
        return [Entry(file=path, id=path.stem)]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the index {path}: {error}") from None
    found = [_entry(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise InputError(f"{path} names no file; it should have a line of JSON per text")
    names = [entry.id for entry in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two texts are called {twice!r}; give each an id of its own")
    return found


def read_file(path: Path, sites: Sequence[Site], n_layers: int | None = None) -> dict[Site, Tensor]:
    """The states of one text, site by site, ``(tokens, width)``.

    Args:
        path: a safetensors file.
        sites: the sites of ``hidden_states``, in its order; not needed where tensors are named by site.
        n_layers: number of blocks, which is the layer of ``final_norm``; by default as :func:`depth_of` has it.

    Raises:
        InputError: if it cannot be read, has no states, or another number of them than there are names.
    """
    try:
        tensors: Mapping[str, Tensor] = safetensors.load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is no safetensors file that can be read: {' '.join(str(error).split())}") from None
    if TOGETHER in tensors:
        whole = tensors[TOGETHER]
        if whole.ndim != 3 or whole.shape[1] != len(sites):
            raise InputError(
                f"{path}: {TOGETHER} has shape {tuple(whole.shape)}, expected (tokens, sites, width) with "
                f"{len(sites)} sites; name them in order with --sites"
            )
        found = {site: whole[:, at] for at, site in enumerate(sites)}
    else:
        named = {name: tensor for name, tensor in tensors.items() if name != TOKENS}
        depth = n_layers or depth_of(named)
        found = {Site.parse(name, n_layers=depth): tensor for name, tensor in named.items()}
    wrong = next((site for site, own in found.items() if own.ndim != 2 or not own.is_floating_point()), None)
    if not found or wrong is not None:
        raise InputError(f"{path}: {wrong or 'it'} has no states, a floating-point matrix (tokens, width) per site")
    if not all(len(own) for own in found.values()):
        raise InputError(f"{path} holds the states of no token")
    return found


def depth_of(sites: Iterable[str]) -> int:
    """Number of blocks as far as names of sites tell it: one more than the deepest layer among them.

    >>> depth_of(["resid_post.2", "final_norm", "resid_post.17"])
    18
    """
    return 1 + max((int(last) for site in sites if (last := site.rpartition(".")[2]).isdecimal()), default=-1)


def measure_file(
    states: Mapping[Site, Tensor], metrics: Sequence[MetricSpec], item: int, positions: Sequence[str] = POSITIONS
) -> list[Reading]:
    """Measures of the states of one text; a mean leaves undefined values out and counts them."""
    found: list[Reading] = []
    for site, own in states.items():
        columns = profile(own.float(), metrics)
        values = np.stack([np.asarray(columns[str(metric)], dtype=np.float64) for metric in metrics], axis=-1)
        for position in positions:
            picked = values[-1:] if position == "last" else values[1:]
            token = len(values) - 1 if position == "last" else -1
            found.append(_reading(site, position, item, token, picked))
    return found


def _reading(site: Site, position: str, item: int, token: int, values: np.ndarray) -> Reading:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    undefined = max(len(values), 1) - count
    return Reading(
        site,
        position,
        -1,
        RAW.name,
        np.array([item], dtype=np.int32),
        np.array([token], dtype=np.int32),
        mean[None],
        undefined[None].astype(np.int32),
    )


def _entry(index: Path, number: int, line: str) -> Entry:
    place = f"{index}, line {number}"
    try:
        fields: Any = json.loads(line)
    except ValueError:
        raise InputError(f"{place} is not JSON") from None
    if not isinstance(fields, dict) or "file" not in fields:
        raise InputError(f'{place}: expected an object with "file", came {line[:40]!r}')
    fields = cast("dict[str, Any]", fields)
    strange = next((name for name in fields if name not in KNOWN), None)
    if strange is not None:
        raise InputError(f"{place}: unknown field {strange!r}; known: {', '.join(sorted(KNOWN))}")
    file = index.parent / str(fields["file"])
    level = fields.get("level")
    if level is not None and not isinstance(level, int | float):
        raise InputError(f"{place}: level should be a number and is {level!r}; words go to level_name")
    if fields.get("split", "in") not in ("in", "shifted"):
        raise InputError(f"{place}: split should be in or shifted and is {fields['split']!r}")
    return Entry(
        file=file,
        id=str(fields.get("id", file.stem)),
        level=float("nan") if level is None else float(level),
        level_name=str(fields.get("level_name", "" if level is None else f"{level:g}")),
        split=str(fields.get("split", "in")),
        cluster=str(fields.get("cluster", "")),
    )
