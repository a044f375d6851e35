"""States that keys are made of: at one place of a model, one for every token of a text of any length.

The place that kNN-LM (arXiv:1911.00172) found best is the input of the last feed-forward block, after its norm. It has
no name among the sites, whose words are about what blocks add; here it is :data:`FFN_INPUT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from probes.capture.batches import plan_batches
from probes.capture.prompts import pad
from probes.errors import InputError
from probes.familiarity.surprisals import windows
from probes.models.hooks import watching
from probes.models.loading import LoadedModel
from probes.models.taps import Taps
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, SiteKind, resolve_sites

FFN_INPUT: Final = "ffn_input"
"""What the first matrix of the last feed-forward block receives."""


def key_place(model: LoadedModel, site: str = FFN_INPUT) -> Taps:
    """The one place whose states are keys.

    Args:
        model: the model.
        site: ``ffn_input``, or a site of one layer such as ``resid_post.3``.

    Raises:
        InputError: if the model has no such place, or it is several.
    """
    points = model.taps.points
    if site == FFN_INPUT:
        found = [place for place in points if place.kind in (SiteKind.MLP_PRE, SiteKind.MLP_GATE) and not place.stack]
        if not found:
            raise InputError(
                f"{model.name} shows no feed-forward block whose input could be a key: name a --site, e.g. final_norm"
            )
        place = max(found, key=lambda own: own.layer)
        point = replace(points[place], side="in", part=0, parts=1, stream=None)
    else:
        (place, *more) = resolve_sites(model, [site])
        if more:
            raise InputError(f"keys are states of one place, and {site!r} is {1 + len(more)}: name one layer")
        point = points[place]
    return Taps({place: point}, model.taps.n_layers, {}, model.taps.family)


def read_rows(model: LoadedModel, place: Taps, prompts: Sequence[Prompt]) -> list[Float32[np.ndarray, "tokens width"]]:
    """States of every token of some prompts, long ones read in windows as surprisals are."""
    pieces = [(item, window) for item, prompt in enumerate(prompts) for window in windows(prompt, model.context_length)]
    found: list[list[tuple[int, Float32[np.ndarray, "_ width"]]]] = [[] for _ in prompts]
    (site,) = place.points
    for batch in plan_batches([len(window.prompt.ids) for _, window in pieces]):
        padded = pad([pieces[index][1].prompt for index in batch], model.pad_id)
        shown: list[Tensor] = []

        def look(_site: Site, vectors: Tensor, shown: list[Tensor] = shown) -> None:
            shown.append(vectors.float().cpu())

        with watching(place, [site], look, rows=padded.ids.numel()):
            model.run(padded)
        rows = shown[0].reshape(*padded.ids.shape, -1)
        for row, index in enumerate(batch):
            item, window = pieces[index]
            found[item].append((window.row, rows[row, window.local : len(window.prompt.ids)].numpy().copy()))
    return [np.concatenate([part for _, part in sorted(parts, key=lambda own: own[0])]) for parts in found]
