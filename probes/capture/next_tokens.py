"""Next-token distributions after whole prompts, for measures that compare texts by what the model expects to follow.

A vocabulary has a hundred thousand entries and few of them are ever expected, so the tokens that are likeliest on
average over the prompts are kept, and all others are one outcome. Which those are is known only after all prompts were
read, so they are read twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from probes.capture.batches import BatchSize, run_batches
from probes.capture.prompts import encode_all, pad
from probes.errors import InputError
from probes.models.loading import LoadedModel, load_model
from probes.models.tokens import BosPolicy
from probes.vocabulary.prompt import Prompt

KEPT: Final = 512


class NextTokens(NamedTuple):
    """Distributions of the token after each prompt.

    Attributes:
        ids: the tokens kept apart, ascending.
        chances: one row per prompt: probabilities of these tokens, then of all others together.
    """

    ids: Int64[np.ndarray, " kept"]
    chances: Float64[np.ndarray, "prompts outcomes"]


def next_token_chances(
    model: object,
    prompts: Sequence[str],
    *,
    kept: int = KEPT,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
) -> NextTokens:
    """Read what a model expects after each prompt.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: texts.
        kept: how many tokens are kept apart.
        batch_size: prompts per forward pass.
        bos: what to do about the beginning-of-sequence token.

    Raises:
        InputError: if the model predicts no next token, or fewer than one token is to be kept.
    """
    loaded = load_model(model)
    if not loaded.is_causal:
        raise InputError(f"{loaded.name} predicts no next token; name a causal language model")
    if kept < 1:
        raise InputError(f"kept: expected 1 token or more, got {kept}")
    encoded = encode_all(loaded, prompts, bos=bos)
    lengths = [len(prompt.ids) for prompt in encoded]
    read = partial(_read, loaded, encoded)
    total = torch.zeros(loaded.vocabulary, dtype=torch.float64)
    for _, found in run_batches(lengths, batch_size, loaded.device, lambda own: read(own).sum(dim=0)):
        total += found
    ids = np.sort(torch.topk(total, min(kept, len(total))).indices.numpy())
    chosen = torch.from_numpy(ids)
    chances = np.zeros((len(encoded), len(ids) + 1))
    for indices, found in run_batches(
        lengths, batch_size, loaded.device, lambda own: read(own).index_select(1, chosen)
    ):
        chances[np.array(indices), :-1] = found.numpy()
    chances[:, -1] = np.maximum(1 - chances.sum(axis=1), 0.0)
    return NextTokens(ids.astype(np.int64), chances)


def _read(model: LoadedModel, prompts: Sequence[Prompt], own: Sequence[int]) -> Tensor:
    """Probabilities of all tokens after some prompts, in float64."""
    some = [prompts[index] for index in own]
    batch = pad(some, model.pad_id)
    output = model.run(batch)
    width = batch.ids.shape[1]
    rows = np.array([number * width + len(prompt.ids) - 1 for number, prompt in enumerate(some)], dtype=np.int64)
    return model.logits(output, torch.from_numpy(rows)).double().softmax(dim=-1).cpu()
