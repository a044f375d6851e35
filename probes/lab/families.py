"""Architecture as a factor: one recipe as a Llama, a GPT-2, a mixture of experts, a Mamba, or with other attention.

All are small versions of the published classes, built from their own configuration, without dropout, with untied
embeddings where the family allows it, and float32 throughout. What differs is what the family is: Llama has RMSNorm,
rotary positions and a gated MLP; GPT-2 LayerNorm, learned positions and a plain MLP; the mixture (Mixtral) is a Llama
with four experts of which two read each token; Mamba has no attention at all. Two more are the Llama with one key of
its configuration changed: ``grouped`` shares one head of keys and values among all heads of queries (GQA), and
``sliding`` lets a token attend to itself and the two before it only (Mistral's window).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from probes.errors import InputError
from probes.lab.recipe import Family, Recipe
from probes.lab.tokenizer import BOS, PAD, SPECIAL_TOKENS

EXPERTS: Final = 4
EXPERTS_PER_TOKEN: Final = 2
STATE_SIZE: Final = 16
WINDOW: Final = 3  # tokens; a fact's prompt is longer, and two layers see past its subject
BOS_ID: Final = SPECIAL_TOKENS.index(BOS)
PAD_ID: Final = SPECIAL_TOKENS.index(PAD)


def build_model(recipe: Recipe, *, vocabulary: int, seed: int) -> PreTrainedModel:
    """The untrained model of a recipe, its weights drawn from `seed`; torch's own generator is left as it was.

    Raises:
        InputError: if the width does not divide into the heads.
    """
    if recipe.family != "mamba" and recipe.d_model % recipe.n_heads:
        raise InputError(f"d_model should be a multiple of n_heads, got {recipe.d_model} and {recipe.n_heads}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[recipe.family](recipe, vocabulary)


def n_parameters(module: PreTrainedModel) -> int:
    """Numbers that training changes, each once."""
    return sum(weight.numel() for weight in module.parameters())


def _llama(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(architectures=[LlamaForCausalLM.__name__], **_common(recipe, vocabulary), **_rotary(recipe))
    )


def _grouped(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    shared = LlamaConfig(
        architectures=[LlamaForCausalLM.__name__],
        num_key_value_heads=1,
        **_common(recipe, vocabulary),
        **_rotary(recipe),
    )
    return LlamaForCausalLM(shared)


def _sliding(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    return MistralForCausalLM(
        MistralConfig(
            architectures=[MistralForCausalLM.__name__],
            num_key_value_heads=recipe.n_heads,
            sliding_window=WINDOW,
            **_common(recipe, vocabulary),
            **_rotary(recipe),
        )
    )


def _mixture(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    return MixtralForCausalLM(
        MixtralConfig(
            architectures=[MixtralForCausalLM.__name__],
            num_key_value_heads=recipe.n_heads,
            num_local_experts=EXPERTS,
            num_experts_per_tok=EXPERTS_PER_TOKEN,
            **_common(recipe, vocabulary),
            **_rotary(recipe),
        )
    )


def _gpt2(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            architectures=[GPT2LMHeadModel.__name__],
            n_head=recipe.n_heads,
            n_inner=recipe.d_mlp,
            n_positions=recipe.context_length,
            initializer_range=recipe.initial_sd,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **_common(recipe, vocabulary),
        )
    )


def _mamba(recipe: Recipe, vocabulary: int) -> PreTrainedModel:
    return MambaForCausalLM(
        MambaConfig(
            architectures=[MambaForCausalLM.__name__],
            expand=max(1, recipe.d_mlp // recipe.d_model),
            state_size=STATE_SIZE,
            use_mambapy=False,
            **_common(recipe, vocabulary),
        )
    )


def _common(recipe: Recipe, vocabulary: int) -> dict[str, Any]:
    """Configuration of every family."""
    return {
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": recipe.d_model,
        "num_hidden_layers": recipe.n_layers,
        "tie_word_embeddings": False,
        "bos_token_id": BOS_ID,
        "eos_token_id": None,
        "pad_token_id": PAD_ID,
    }


def _rotary(recipe: Recipe) -> dict[str, Any]:
    """Further configuration of Llama and of the mixture, which is one."""
    return {
        "intermediate_size": recipe.d_mlp,
        "num_attention_heads": recipe.n_heads,
        "max_position_embeddings": recipe.context_length,
        "initializer_range": recipe.initial_sd,
    }


FAMILIES: Final[dict[Family, Callable[[Recipe, int], PreTrainedModel]]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "mixture": _mixture,
    "mamba": _mamba,
    "grouped": _grouped,
    "sliding": _sliding,
}
