"""Edits of an intervention: coordinates of one site, what they become, and on which tokens.

An :class:`Edit` is a plan, written without a model; :func:`resolved` checks it against one and :func:`change_of` makes
it the function that :func:`probes.interventions.changes.editing` applies to the vectors of a batch. Tokens are picked
by position, so padding is never edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.capture.reading import Picks
from probes.errors import InputError
from probes.interventions.changes import Change
from probes.models.loading import LoadedModel
from probes.vocabulary.positions import Asked, Selector, parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites

EVERY_TOKEN: Final = ("all", "answer")  # of prompt and target, but a leading special token


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Edit:
    """Coordinates of one site and what they become. Make one with :func:`pin`, :func:`ablate` or :func:`swap`.

    Attributes:
        site: where, e.g. ``resid_post.4``.
        coordinates: which; None for all of them.
        values: the new values: one number, one per coordinate, or (``per_prompt``) one array ``(tokens, width)`` per
            prompt, whose rows are for the picked tokens in order (one row serves them all).
        positions: which tokens are edited.
        per_prompt: whether ``values`` has an entry per prompt.
    """

    site: str
    coordinates: tuple[int, ...] | None
    values: Any
    positions: tuple[Selector, ...]
    per_prompt: bool = False


def pin(
    site: str,
    coordinates: Sequence[int],
    to: float | Sequence[float] | NDArray[np.floating[Any]],
    positions: Asked | Sequence[Asked] = EVERY_TOKEN,
) -> Edit:
    """Set coordinates to a constant: a number, or one number per coordinate (a group's mean, say).

    >>> pin("resid_post.4", [20, 15], 0.5).coordinates
    (20, 15)

    Raises:
        InputError: if there are neither one value nor as many as coordinates, or a value is not finite.
    """
    values, chosen = np.asarray(to, dtype=np.float64), _chosen(coordinates)
    if values.shape not in {(), (len(chosen),)}:
        raise InputError(f"pin takes one value or one per coordinate ({len(chosen)}), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("pin takes finite values, got NaN or infinity")
    return Edit(site=site, coordinates=chosen, values=values, positions=parse_positions(positions))


def ablate(site: str, coordinates: Sequence[int], positions: Asked | Sequence[Asked] = EVERY_TOKEN) -> Edit:
    """Set coordinates to zero.

    >>> float(ablate("mlp_post.0", [3]).values)
    0.0
    """
    return pin(site, coordinates, 0.0, positions)


def swap(
    site: str,
    states: Sequence[NDArray[np.floating[Any]]],
    coordinates: Sequence[int] | None = None,
    positions: Asked | Sequence[Asked] = "last",
) -> Edit:
    """Replace coordinates by those of other states.

    Args:
        site: where.
        states: per prompt the whole states to take them from, ``(tokens, width)`` or ``(width,)``: one for each token
            that is edited, or one for all of them.
        coordinates: which; None for the whole state.
        positions: which tokens are edited.
    """
    rows = [np.atleast_2d(np.asarray(state, dtype=np.float64)) for state in states]
    chosen = None if coordinates is None else _chosen(coordinates)
    return Edit(site=site, coordinates=chosen, values=rows, positions=parse_positions(positions), per_prompt=True)


class Resolved(NamedTuple):
    """An edit that has met its model and its prompts.

    Attributes:
        site: where.
        columns: coordinates, counted over the whole vector that the module shows.
        edit: what was asked.
    """

    site: Site
    columns: np.ndarray
    edit: Edit


def resolved(model: LoadedModel, edits: Sequence[Edit], prompts: Sequence[Prompt]) -> tuple[Resolved, ...]:
    """Check edits against the model and the prompts that they are for.

    Raises:
        InputError: if a site is unknown, names all layers or is edited twice, a coordinate does not exist, or states
            do not fit the prompts in number, width or tokens.
    """
    found: dict[Site, Resolved] = {}
    for asked in edits:
        edit = replace(asked, positions=tuple(selector.bound(model.word) for selector in asked.positions))
        sites = resolve_sites(model, [edit.site])
        if len(sites) != 1:
            raise InputError(f"an edit is of one site, and {edit.site!r} is {len(sites)}; write {edit.site}.0")
        site = sites[0]
        if site in found:
            raise InputError(f"two edits of {site}; put their coordinates into one")
        width = model.width(site) * max(model.taps.points[site].heads, 1)
        columns = np.arange(width) if edit.coordinates is None else np.array(edit.coordinates, dtype=np.int64)
        outside = columns[(columns < 0) | (columns >= width)]
        if len(outside):
            raise InputError(f"{site} has coordinates 0 to {width - 1}, not {outside[0]}")
        if edit.per_prompt:
            _check_states(edit, site, width, prompts)
        found[site] = Resolved(site, columns, edit)
    return tuple(found.values())


def _check_states(edit: Edit, site: Site, width: int, prompts: Sequence[Prompt]) -> None:
    if len(edit.values) != len(prompts):
        raise InputError(f"swap at {site}: {len(edit.values)} states for {len(prompts)} prompts; give one entry each")
    for index, (state, prompt) in enumerate(zip(edit.values, prompts, strict=True)):
        picked = len({token for selector in edit.positions for token in selector.pick(prompt)})
        if state.ndim != 2 or state.shape[1] != width or len(state) not in {1, picked}:
            raise InputError(
                f"swap at {site}: prompt {index} has {picked} edited tokens of width {width}, "
                f"but its states have shape {state.shape}"
            )


def change_of(resolved: Resolved, batch: Sequence[Prompt], indices: Sequence[int]) -> Change:
    """Build the change that an edit makes to the vectors of one batch."""
    picks = Picks.of(batch, resolved.edit.positions)
    longest = max(len(prompt.ids) for prompt in batch)
    rows, columns = torch.from_numpy(picks.rows), torch.from_numpy(resolved.columns)
    if resolved.edit.per_prompt:
        states = [resolved.edit.values[index] for index in indices]
        counts = np.bincount(picks.rows // longest, minlength=len(batch))
        table = np.concatenate([np.broadcast_to(s, (n, s.shape[1])) for s, n in zip(states, counts, strict=True)])
        new = torch.from_numpy(np.ascontiguousarray(table[:, resolved.columns]))
    else:
        new = torch.from_numpy(np.broadcast_to(resolved.edit.values, (len(rows), len(columns))).copy())

    def change(vectors: Tensor) -> Tensor:
        edited = vectors.clone()
        where = (rows.to(vectors.device)[:, None], columns.to(vectors.device)[None, :])
        edited[where] = new.to(vectors.device, vectors.dtype)
        return edited

    return change


def _chosen(coordinates: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(int(coordinate) for coordinate in coordinates)
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"an edit takes distinct coordinates, at least one, got {list(chosen)}")
    return chosen
