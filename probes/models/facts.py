"""Facts about a model from its configuration, whichever of several names a family has for them."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from probes.errors import InputError
from probes.models.devices import is_spread
from probes.models.taps.table import Config
from probes.models.tokens import special_id

CONTEXT_LENGTHS: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
# position ids of these begin after the padding index, so that many rows of the table are never used
OFFSET_POSITIONS: Final = frozenset({"roberta", "xlm-roberta", "camembert"})
# relative or recurrent positions: the number in the configuration, if any, bounds nothing
UNBOUNDED: Final = frozenset(
    {"t5", "mt5", "umt5", "bloom", "mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma"}
)
DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,  # of the weights alone
}


def context_length_of(config: Config) -> int | None:
    """The longest prompt a model reads, None if it is unbounded or unknown."""
    if config.model_type in UNBOUNDED:
        return None
    length = next((n for name in CONTEXT_LENGTHS if isinstance(n := getattr(config, name, None), int) and n > 0), None)
    if length is not None and config.model_type in OFFSET_POSITIONS:
        return length - config.pad_token_id - 1
    return length


def pad_id_of(tokenizer: PreTrainedTokenizerBase | None, config: Config, vocabulary: int) -> int:
    """Token that fills padding: the tokenizer's pad token, else the configured one, else 0. It is masked anyway."""
    asked = (None if tokenizer is None else special_id(tokenizer, "pad"), getattr(config, "pad_token_id", None))
    return next((pad for pad in asked if isinstance(pad, int) and 0 <= pad < vocabulary), 0)


def dtype_of(asked: str | torch.dtype | None) -> torch.dtype | None:
    """The torch dtype of a written one.

    Raises:
        InputError: if the word is unknown.
    """
    if asked is None or isinstance(asked, torch.dtype):
        return asked
    if asked not in DTYPES:
        raise InputError(f"unknown dtype {asked!r}; known: {', '.join(DTYPES)}")
    return DTYPES[asked]


def body_of(module: PreTrainedModel) -> nn.Module:
    """The model without its head."""
    body, inner = module.base_model, getattr(module, "model", None)
    return inner if body is module and isinstance(inner, PreTrainedModel) else body


def text_model_of(module: PreTrainedModel) -> PreTrainedModel:
    """The model itself, or of one that also sees and has no body of its own (Llama 4), its whole language model."""
    inner = getattr(module, "language_model", None)
    return inner if body_of(module) is module and isinstance(inner, PreTrainedModel) else module


def check_weights(module: PreTrainedModel, name: str) -> None:
    """Refuse a model whose weights are not there.

    Raises:
        InputError: if a parameter is on the meta device and nothing is set up to bring it in.
    """
    if is_spread(module):  # accelerate brings offloaded weights in for each call
        return
    absent = next((key for key, parameter in module.named_parameters() if parameter.is_meta), None)
    if absent is not None:
        raise InputError(f"{name}: {absent} is on the meta device, so there are no weights; load them first")
