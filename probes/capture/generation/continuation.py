"""Inputs of the passes of a generation: the newest token with a cache, or the whole text again.

Keys and values are kept between passes where a family hands them on. Prompts of different lengths are then padded on
the left under a mask, with positions of their own, so that the newest token is the last of every row; right padding
would leave a gap in the cache. Families whose cache does not give what a pass over the whole text gives are fed the
whole text again, padded on the right.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from probes.capture.prompts import pad
from probes.errors import InputError
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.prompt import Prompt

# what rwkv hands on is off by 2e-2 of the largest final state, where others are off by 5e-7; recurrent_gemma keeps it
# inside its modules, and a model that is only looked at must not be changed
WITHOUT_CACHE: Final = frozenset({"rwkv", "recurrent_gemma"})
KEYS_AND_VALUES: Final = "past_key_values"
STATE: Final = "cache_params"  # of state-space models, whose mask is about the prompt alone


@dataclass(slots=True)
class Continued:
    """A prompt and what has been written after it so far.

    Attributes:
        prompt: as it was read.
        new: token ids written after it.
        surprisal: bits of each of these.
        entropy: nats of the prediction after each of these.
    """

    prompt: Prompt
    new: list[int] = field(default_factory=list[int])
    surprisal: list[float] = field(default_factory=list[float])
    entropy: list[float] = field(default_factory=list[float])

    def add(self, token: int, log_p: float) -> None:
        """Go on by one token."""
        self.new.append(token)
        self.surprisal.append(-log_p / math.log(2))


class Inputs(NamedTuple):
    """Arguments of one forward pass, and the rows of the newest tokens in it.

    Attributes:
        arguments: of the body's forward.
        tokens: how many tokens that is, padding included.
        newest: flat index of the newest token of each text.
    """

    arguments: dict[str, Any]
    tokens: int
    newest: Int64[np.ndarray, " texts"]


class Remembering:
    """Feeds the prompts once, padded on the left, and then one token per pass; the model keeps the rest."""

    def __init__(self, model: LoadedModel, texts: Sequence[Continued]) -> None:
        self._model, self._texts = model, texts
        longest = max(len(text.prompt.ids) for text in texts)
        padded = [[model.pad_id] * (longest - len(text.prompt.ids)) + [*text.prompt.ids] for text in texts]
        missing = torch.tensor([longest - len(text.prompt.ids) for text in texts]).unsqueeze(1)
        self._ids = torch.tensor(padded)
        self._mask = (torch.arange(longest) >= missing).long()
        self._positions = (torch.arange(longest) - missing).clamp(min=0)
        self._counts = "position_ids" in inspect.signature(type(model.base).forward).parameters
        self._cache: dict[str, object] = {}

    def inputs(self) -> Inputs:
        """Inputs of the next pass: the newest tokens and the cache."""
        arguments: dict[str, Any] = {"input_ids": self._ids, "use_cache": True, **self._cache}
        if STATE not in self._cache:
            arguments["attention_mask"] = self._mask
        if self._counts:
            arguments["position_ids"] = self._positions
        width = self._ids.shape[1]
        newest = np.arange(1, len(self._texts) + 1) * width - 1
        return Inputs(_on(self._model.device, arguments), self._ids.numel(), newest)

    def keep(self, output: Output) -> None:
        """Take over what the model has read."""
        found = {name: kept for name in (KEYS_AND_VALUES, STATE) if (kept := getattr(output, name, None)) is not None}
        if not found:
            raise InputError(
                f"{self._model.name} ({self._model.taps.family}) has no key-value cache, which generation needs"
            )
        self._cache = found
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, torch.ones(len(self._texts), 1, dtype=torch.long)], dim=1)

    def advance(self) -> None:
        """Feed the newest tokens next."""
        self._ids = torch.tensor([text.new[-1:] for text in self._texts])


class Rereading:
    """Feeds everything anew for each token."""

    def __init__(self, model: LoadedModel, texts: Sequence[Continued]) -> None:
        self._model, self._texts = model, texts

    def inputs(self) -> Inputs:
        """Inputs of the next pass: every text from its beginning."""
        every = [[*text.prompt.ids, *text.new] for text in self._texts]
        batch = pad([Prompt(tuple(ids), 0, False, (), None) for ids in every], self._model.pad_id)
        arguments = {"input_ids": batch.ids, "attention_mask": batch.mask, "use_cache": False}
        newest = np.arange(len(every)) * batch.ids.shape[1] + np.array([len(ids) - 1 for ids in every])
        return Inputs(_on(self._model.device, arguments), batch.ids.numel(), newest)

    def keep(self, output: Output) -> None:
        """Nothing is kept."""

    def advance(self) -> None:
        """The texts themselves are what comes next."""


def feed_of(model: LoadedModel, texts: Sequence[Continued]) -> Remembering | Rereading:
    """Choose between a cache and reading texts anew, by the family of the model."""
    return Rereading(model, texts) if model.taps.family in WITHOUT_CACHE else Remembering(model, texts)


def _on(device: torch.device, arguments: dict[str, Any]) -> dict[str, Any]:
    """Tensors put where the model takes its input."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()}
