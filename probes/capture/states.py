"""The vectors themselves, for those who want more than their sparsity.

Everything else here reduces states inside the hook; this keeps them, in float32, for the picked tokens only. Mind the
size: a thousand tokens of one 4,096-wide site are 16 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from probes.capture.batches import BatchSize, run_batches
from probes.capture.prompts import encode_all, pad
from probes.capture.reading import RAW, Picks
from probes.models.hooks import watching
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import Template
from probes.models.tokens import BosPolicy
from probes.vocabulary.positions import Asked, parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites

Look = Callable[[Site, Tensor], None]


class BatchStates(NamedTuple):
    """The vectors of one batch at one place.

    Attributes:
        site: where in the network.
        position: which tokens, by the selector's name; every picked token is there, also where the selector averages.
        unit: head index, -1 for the whole vector.
        item: index into the prompts of the batch.
        token: index in the prompt's ids.
        vectors: one row per picked token.
    """

    site: Site
    position: str
    unit: int
    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    vectors: Float32[np.ndarray, "rows width"]


def read_states(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    sites: Sequence[Site],
    positions: Asked | Sequence[Asked],
    look: Look = lambda _site, _vectors: None,
) -> tuple[BatchStates, ...]:
    """Run one batch and keep the vectors of the picked tokens.

    Args:
        model: what to run.
        prompts: encoded prompts; they are padded on the right and masked.
        sites: where to look.
        positions: which tokens' vectors are kept.
        look: called with each site and the vectors of all tokens there, one row per token of the padded batch.

    Raises:
        CaptureError: if a site did not show exactly one vector per token.
    """
    picks = Picks.of(prompts, parse_positions(positions, model.word))
    kept: dict[Site, np.ndarray] = {}

    def keep(site: Site, vectors: Tensor) -> None:
        rows = torch.from_numpy(picks.rows).to(vectors.device)
        kept[site] = vectors.index_select(0, rows).float().cpu().numpy()
        look(site, vectors)

    batch = pad(prompts, model.pad_id)
    with watching(model.taps, sites, keep, rows=batch.ids.numel()):
        model.run(batch)
    found: list[BatchStates] = []
    for site in sites:
        table, heads = kept[site], model.taps.points[site].heads
        units = table.reshape(len(table), max(heads, 1), -1)
        for selector, item, token, at in picks.own:
            found += [
                BatchStates(site, selector.name, unit if heads else -1, item, token, units[at, unit])
                for unit in range(units.shape[1])
            ]
    return tuple(found)


def capture_states(
    model: object,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    sites: str | Sequence[str] = ("resid_post",),
    positions: Asked | Sequence[Asked] = "last",
    *,
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
    template: Template = "none",
) -> pd.DataFrame:
    """The raw vectors at some places, as a table.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: texts, or lists of token ids.
        sites: e.g. ``["resid_post.3", "final_norm"]``; a bare kind means all its layers.
        positions: which tokens; one that averages gives all the tokens that it averages over.
        max_tokens: cut prompts to this many tokens, BOS included.
        batch_size: prompts per forward pass.
        bos: what to do about the beginning-of-sequence token.
        template: ``chat`` puts each text into the tokenizer's chat template.

    Returns:
        The columns of :func:`collect` up to ``token``, then ``vector``: a float32 array of its own width in each row,
        so that ``np.stack(frame[frame.site == "final_norm"].vector)`` is a matrix.

    Raises:
        PromptError: naming the first prompt that cannot be read.
        InputError: for a site or position that this model cannot serve.
    """
    loaded = load_model(model)
    asked = resolve_sites(loaded, [sites] if isinstance(sites, str) else sites)
    encoded = encode_all(loaded, prompts, max_tokens=max_tokens, bos=bos, template=template)
    rows: list[tuple[int, int, BatchStates, int]] = []
    lengths = [len(prompt.ids) for prompt in encoded]
    read = partial(read_states, loaded, sites=asked, positions=positions)
    passes = run_batches(lengths, batch_size, loaded.device, lambda own: read([encoded[index] for index in own]))
    for indices, batch in passes:
        for place, states in enumerate(batch):
            rows += [(indices[int(item)], place, states, row) for row, item in enumerate(states.item)]
    rows.sort(key=lambda row: (row[0], row[1], row[3]))
    return pd.DataFrame(
        {
            "run_id": loaded.fingerprint[:16],
            "example_id": [str(index) for index, *_ in rows],
            "site": [states.site.name for *_, states, _ in rows],
            "layer": np.array([states.site.layer for *_, states, _ in rows], dtype=np.int16),
            "unit": np.array([states.unit for *_, states, _ in rows], dtype=np.int32),
            "basis": RAW.name,
            "position": [states.position for *_, states, _ in rows],
            "token": np.array([states.token[row] for *_, states, row in rows], dtype=np.int32),
            "vector": [states.vectors[row] for *_, states, row in rows],
        }
    )
