"""A language model that reads symbols row by row and says what comes next, the same way for writer and reader.

Probabilities must be bit-identical on both sides of a coder, and a model that has read a whole text at once gives other
last digits than one that has read it token by token. So the writer does not take the quick way: it runs the very loop
that the reader of the stream will have to run, one token of every row at a time, over as many rows, with the same
key-value cache. What is equal then is equal because the same operations ran on numbers of the same shapes.

Rows go in step and are equally long, so nothing is padded or masked. Where the context is full, every row begins anew
from the later half of what it has read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.models.tokens import special_id

Totals = float | Float64[np.ndarray, " rows"]

CACHES: Final = ("past_key_values", "cache_params")


@runtime_checkable
class Reader(Protocol):
    """A model that reads rows of token ids in step.

    Attributes:
        vocabulary: token ids that it knows.
        stride: positions that it may read at once without any change to its logits; 1 if there is no such promise.
    """

    vocabulary: int
    stride: int

    @property
    def room(self) -> int:
        """Positions that can be read at once before it has to begin anew, at least 1."""
        ...

    def begin(self, n_rows: int) -> Float[Tensor, "rows 1 vocabulary"]:
        """Forget what was read; logits of the first symbol of every row."""
        ...

    def read(self, ids: Int[Tensor, "rows times"]) -> Float[Tensor, "rows times vocabulary"]:
        """Read on in every row; logits of what follows each position."""
        ...

    def weigh(self, logits: Float[Tensor, "rows symbols"], out: Float64[np.ndarray, "rows symbols"]) -> Totals:
        """Write weights of symbols, in proportion to ``exp(logits)``, and return their sum in each row."""
        ...


class Turn(NamedTuple):
    """Tokens that the model reads next, and whether it starts from an empty context.

    Attributes:
        ids: of every row.
        anew: whether to forget what was read before.
    """

    ids: Int[Tensor, "rows times"]
    anew: bool


class Window:
    """Context of bounded length: where it is full, its second half is read again from an empty context.

    Args:
        context: tokens that fit, None if there is no bound.
        start: the token that begins a text, None if there is none.

    >>> window = Window(4, None)
    >>> window.clear()
    >>> [window.take(torch.tensor([[token]])).ids.tolist() for token in range(6)]
    [[[0]], [[1]], [[2]], [[3]], [[2, 3, 4]], [[5]]]
    """

    def __init__(self, context: int | None, start: int | None) -> None:
        if context is not None and context < 4:
            raise InputError(f"a context of {context} tokens is too short to compress with: 4 at least")
        self.start = start
        self._context = context
        self._seen: list[Int[Tensor, "rows times"]] = []
        self._used = 0

    @property
    def room(self) -> int:
        """Positions until it is full; where it is full, those that there will be after beginning anew."""
        if self._context is None:
            return 1 << 16
        left = self._context - self._used
        return left or self._context - self._context // 2

    def clear(self) -> None:
        """Forget everything."""
        self._seen = []
        self._used = 0

    def take(self, ids: Int[Tensor, "rows times"]) -> Turn:
        """Read on: no more positions than there is room for."""
        anew = self._used == self._context
        if anew:
            kept = torch.cat(self._seen, dim=1)[:, -(self._used // 2) :].clone()
            if self.start is not None:
                kept[:, 0] = self.start
            self._seen, self._used = [kept], kept.shape[1]
        if self._context is not None:
            self._seen.append(ids)
            self._used += ids.shape[1]
        return Turn(torch.cat(self._seen, dim=1) if anew else ids, anew)


class Lockstep:
    """Any causal language model of transformers, read token by token with its own cache.

    Args:
        model: the loaded model.

    Raises:
        InputError: if it does not predict the next token, or keeps no cache that can be handed back to it.
    """

    def __init__(self, model: LoadedModel) -> None:
        if not model.is_causal:
            raise InputError(f"{model.name} ({type(model.module).__name__}) does not predict the next token")
        takes: Mapping[str, object] = inspect.signature(model.module.forward).parameters
        cache = next((name for name in CACHES if name in takes), None)
        if cache is None:
            raise InputError(f"{model.name} ({type(model.module).__name__}) keeps no cache of what it has read")
        self.vocabulary = model.vocabulary
        self.stride = 1
        self._model = model
        self._cache_name = cache
        self._cache: object = None
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._window = Window(model.context_length, start_of(model))

    @property
    def room(self) -> int:
        """One: no more is read at a time."""
        return 1

    def begin(self, n_rows: int) -> Float[Tensor, "rows 1 vocabulary"]:
        """Forget what was read, and read the token that begins a text; without one all symbols are equally likely."""
        self._cache = None
        self._window.clear()
        if self._window.start is None:
            return torch.zeros((n_rows, 1, self.vocabulary), dtype=torch.float64, device=self._model.device)
        return self.read(torch.full((n_rows, 1), self._window.start))

    def read(self, ids: Int[Tensor, "rows 1"]) -> Float[Tensor, "rows 1 vocabulary"]:
        """Read one more token in every row."""
        turn = self._window.take(ids)
        if turn.anew:
            self._cache = None
        given: dict[str, Any] = {self._cache_name: self._cache, "use_cache": True, **self._last}
        with torch.inference_mode():
            output: Any = self._model.module(input_ids=turn.ids.to(self._model.device), **given)
        self._cache = getattr(output, self._cache_name)
        return cast("Tensor", output.logits)[:, -1:]

    def weigh(self, logits: Float[Tensor, "rows symbols"], out: Float64[np.ndarray, "rows symbols"]) -> Totals:
        """Probabilities, in float64."""
        sink = torch.from_numpy(out)
        if logits.device.type == "cpu":
            torch.softmax(logits, -1, dtype=torch.float64, out=sink)
        else:
            sink.copy_(logits.softmax(-1, dtype=torch.float64))
        return 1.0


def start_of(model: LoadedModel) -> int | None:
    """The token that begins a text: BOS, else EOS (which ends the one before), else none."""
    if model.tokenizer is None:
        return None
    found = (special_id(model.tokenizer, role) for role in ("bos", "eos"))
    return next((token for token in found if token is not None and token < model.vocabulary), None)
