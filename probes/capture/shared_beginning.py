"""A beginning that all prompts of a batch have is read once: solved examples that every question shows, instructions.

The beginning is read as one text, and the rest of every prompt behind copies of its keys and values. Whoever looks at a
site is shown what a pass over whole prompts would have shown: the states of the beginning are repeated before those of
the rest. So nothing that reads states, logits or kept keys knows of it, and numbers differ by rounding alone. Where the
model's memory cannot be gone on from (:mod:`probes.capture.continuing`), whole prompts are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from probes.capture.continuing import keeps, kept, rows_of
from probes.models.batch import Batch
from probes.models.hooks import Look, watching
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.sites import Site

FEWEST_SHARED: Final = 16  # tokens that a beginning has
FEWEST_SAVED: Final = 256  # tokens that need not be read; fewer do not pay for a second pass


def shared_beginning(batch: Batch) -> int:
    """Number of tokens at the beginning that all prompts share and that are worth reading once; 0 for none.

    At least one token of every prompt is left to be read behind it.
    """
    ids = batch.ids.numpy()
    least = int(batch.mask.sum(dim=1).min()) - 1
    differs = (ids[:, :least] != ids[:1, :least]).any(axis=0)
    shared = int(np.argmax(differs)) if differs.any() else least
    return shared if shared >= FEWEST_SHARED and shared * (len(ids) - 1) >= FEWEST_SAVED else 0


def run_watched(model: LoadedModel, batch: Batch, watched: Sequence[Site], look: Look, *, keep: bool) -> Output:
    """Run a batch with hooks on; a beginning that all its prompts share is read once.

    Args:
        model: what to run.
        batch: padded prompts.
        watched: sites to look at.
        look: is shown each site and its vectors, ``(prompts * longest, width)``.
        keep: whether keys and values are kept.

    Returns:
        The body's output over whole prompts.
    """
    shared = shared_beginning(batch)
    if shared and keeps(model):
        found = _behind(model, batch, shared, watched, look)
        if found is not None:
            return found
    with watching(model.taps, watched, look, rows=batch.ids.numel()):
        return model.run(batch, keep=True) if keep else model.run(batch)


def _behind(model: LoadedModel, batch: Batch, shared: int, watched: Sequence[Site], look: Look) -> Output | None:
    """Read the beginning and then what is behind it; None where the model kept nothing to go on from."""
    prompts, longest = batch.ids.shape
    first: dict[Site, Tensor] = {}

    def remember(site: Site, vectors: Tensor) -> None:
        first[site] = vectors.clone()

    beginning = Batch(batch.ids[:1, :shared], batch.mask[:1, :shared])
    with watching(model.taps, watched, remember, rows=shared):
        head = model.run(beginning, keep=True)
    memory = rows_of(head, [0] * prompts, longest - shared, model.device) if kept(head) else None
    if memory is None:
        return None

    def show(site: Site, vectors: Tensor) -> None:
        look(site, _whole(first.pop(site), vectors, prompts))

    arguments = {
        "input_ids": batch.ids[:, shared:],
        "attention_mask": batch.mask,
        "position_ids": torch.arange(shared, longest).unsqueeze(0),
    }
    on_device = {name: value.to(model.device) for name, value in arguments.items()}
    with (
        watching(model.taps, watched, show, rows=prompts * (longest - shared)),
        torch.inference_mode(),
    ):
        rest = model.base(**on_device, past_key_values=memory, use_cache=True)
    width = head.last_hidden_state.shape[-1]
    states = _whole(head.last_hidden_state.reshape(shared, width), rest.last_hidden_state.reshape(-1, width), prompts)
    return type(rest)(**{**rest, "last_hidden_state": states.reshape(prompts, longest, width)})


def _whole(beginning: Tensor, rest: Tensor, prompts: int) -> Tensor:
    """Vectors of whole prompts: those of the beginning before those of the rest of each."""
    width = beginning.shape[-1]
    parts = [beginning.unsqueeze(0).expand(prompts, -1, -1), rest.reshape(prompts, -1, width)]
    return torch.cat(parts, dim=1).reshape(-1, width)
