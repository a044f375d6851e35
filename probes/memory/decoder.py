"""Memory Decoder: a small language model with the tokens of a large one, to be interpolated with it.

It has learned to say what kNN-LM would say (`probes.memory.lessons`), and then needs no datastore; it stands beside any
model that has the same tokenizer (Cao et al. 2025, arXiv:2508.09874). Any causal language model of that tokenizer will
do as one, so a model that was trained on the corpus in the ordinary way is its control.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from probes.capture.batches import plan_batches
from probes.capture.logits import Reducer, reduce_logits
from probes.capture.prompts import pad
from probes.corpus.alphabet import Tokens
from probes.errors import InputError
from probes.familiarity.surprisals import windows
from probes.lab.families import build_model
from probes.lab.recipe import Recipe
from probes.memory.knn import FACTS
from probes.memory.recall import Memory, Recall
from probes.models.loading import LoadedModel, load_model
from probes.vocabulary.prompt import Prompt

KIND: Final = "decoder"
TEMPERATURES: Final = (0.7, 0.85, 1.0, 1.2, 1.5)


@dataclass(frozen=True, eq=False)
class DecoderMemory(Memory):
    """A language model as a memory.

    Attributes:
        decoder: the small model.
        named: how tables call it.
    """

    decoder: LoadedModel
    named: str = "Memory Decoder"

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.named

    @property
    def fingerprint(self) -> str:
        """Of its weights."""
        return self.decoder.fingerprint[:16]

    @property
    def n_bytes(self) -> int:
        """Of its weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.decoder.module.parameters())

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Around 1, at which it was trained."""
        return TEMPERATURES

    def recall(self, prompts: Sequence[Prompt], temperatures: Sequence[float]) -> list[Recall]:
        """Its probabilities of the tokens of some prompts."""
        model = self.decoder
        found = [np.full((len(temperatures), len(prompt.ids)), np.nan) for prompt in prompts]
        pieces = [(item, window) for item, p in enumerate(prompts) for window in windows(p, model.context_length)]
        for batch in plan_batches([len(window.prompt.ids) for _, window in pieces]):
            padded = pad([pieces[index][1].prompt for index in batch], model.pad_id)
            output, longest = model.run(padded), padded.ids.shape[1]
            places: list[tuple[int, slice]] = []
            rows: list[np.ndarray] = []
            following: list[np.ndarray] = []
            for row, index in enumerate(batch):
                item, window = pieces[index]
                length = min(len(window.prompt.ids) - window.local, len(prompts[item].ids) - 1 - window.row)
                there = slice(window.row + 1, window.row + 1 + length)
                places.append((item, there))
                rows.append(row * longest + window.local + np.arange(length))
                following.append(np.array(prompts[item].ids[there], dtype=np.int64))
            at_all = partial(_log2_at, temperatures=tuple(temperatures))
            reducer = Reducer(np.concatenate(rows), np.concatenate(following), len(temperatures), at_all)
            (table,) = reduce_logits(model, output, [reducer])
            parts = np.split(table, np.cumsum([len(own) for own in rows])[:-1], axis=1)
            for (item, there), part in zip(places, parts, strict=True):
                found[item][:, there] = part
        return [Recall(log2_p, np.full(log2_p.shape[1], np.nan)) for log2_p in found]

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write model, tokenizer and what else is said of it to a new folder."""
        self.decoder.module.save_pretrained(folder)
        if self.decoder.tokenizer is not None:
            self.decoder.tokenizer.save_pretrained(folder)
        (folder / FACTS).write_text(json.dumps({"kind": KIND, **facts}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, _facts: Mapping[str, Any], model: LoadedModel, name: str) -> DecoderMemory:
        """Open what :meth:`save` wrote, for a model with the same tokenizer.

        Raises:
            InputError: if the two do not have the same tokens.
        """
        decoder = load_model(str(folder), device=model.device)
        check_tokens(decoder, model)
        return cls(decoder, name)


def check_tokens(decoder: LoadedModel, model: LoadedModel) -> None:
    """Refuse two models that do not write texts in the same tokens.

    Raises:
        InputError: naming both.
    """
    if decoder.vocabulary != model.vocabulary:
        raise InputError(
            f"a memory has the vocabulary of its model: {decoder.name} has {decoder.vocabulary} tokens, "
            f"{model.name} {model.vocabulary}"
        )
    identities = [None if own.tokenizer is None else Tokens(own.tokenizer).identity for own in (decoder, model)]
    if identities[0] != identities[1]:
        raise InputError(
            f"{decoder.name} was trained with another tokenizer than that of {model.name}: "
            "a memory writes texts as its model does"
        )


def new_decoder(model: LoadedModel, recipe: Recipe, name: str = "Memory Decoder") -> DecoderMemory:
    """An untrained small model with the tokens of another.

    Args:
        model: whose tokens.
        recipe: architecture and seed.
        name: how tables call it.
    """
    module = build_model(recipe, vocabulary=model.vocabulary, seed=recipe.seed)
    config: Any = module.config
    for role in ("bos", "eos", "pad"):
        found = getattr(model.tokenizer, f"{role}_token_id", None)
        setattr(config, f"{role}_token_id", found)
        setattr(module.generation_config, f"{role}_token_id", found)
    loaded = load_model(module, tokenizer=model.tokenizer)
    return DecoderMemory(replace(loaded, name=name), name)


def _log2_at(
    logits: Float[Tensor, "rows vocabulary"], following: Int[Tensor, " rows"], *, temperatures: Sequence[float]
) -> Float64[Tensor, "temperatures rows"]:
    """Log2-probability of the token that came, at several temperatures."""
    less = logits - logits.amax(-1, keepdim=True)
    own = less.gather(-1, following.unsqueeze(-1)).squeeze(-1).double()
    # exponentials of float32 are right to seven digits; their sum is finished in float64
    totals = [(less if t == 1 else less / t).exp().sum(-1, dtype=torch.float64).log() for t in temperatures]
    return torch.stack([(own / t - total) / math.log(2) for t, total in zip(temperatures, totals, strict=True)])
