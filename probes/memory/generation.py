"""Writing with a memory: model and memory read the same tokens, each with a cache of its own.

The next token is the likeliest under the interpolation, so greedy writing is exactly the argmax of what
:class:`probes.memory.Interpolated` gives. :class:`MixedReader` is also what a codec reads with
(:mod:`probes.compression`): the stream of a model with a memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from probes.compression.archive import Codec
from probes.compression.reading import Lockstep, Totals, start_of
from probes.compression.spelling import spelling_of
from probes.errors import InputError
from probes.memory.decoder import DecoderMemory
from probes.memory.interpolation import Interpolated, encode_text
from probes.memory.knn import KnnMemory
from probes.models.hooks import watching
from probes.models.tokens import special_id

IMPOSSIBLE: Final = -1e9  # a logit that stands for no probability: codecs want finite numbers


class Written(NamedTuple):
    """Text written after a prompt.

    Attributes:
        ids: new tokens.
        text: the same as text.
        log2_p: what the interpolation gave each.
    """

    ids: tuple[int, ...]
    text: str
    log2_p: tuple[float, ...]


@dataclass(eq=False)
class MixedReader:
    """Model and memory side by side, read one token of every row at a time.

    Attributes:
        beside: the model with its memory.
    """

    beside: Interpolated

    def __post_init__(self) -> None:
        """Open a cache for the model, and another one for the memory."""
        memory = self.beside.memory
        self.vocabulary = self.beside.model.vocabulary
        self.stride = 1
        self._model = Lockstep(self.beside.model)
        self._decoder = Lockstep(memory.decoder) if isinstance(memory, DecoderMemory) else None
        if self._decoder is None and not isinstance(memory, KnnMemory):
            raise InputError(f"{memory.name} cannot be written with: take a datastore or a decoder")

    @property
    def room(self) -> int:
        """One: no more is read at a time."""
        return 1

    def begin(self, n_rows: int) -> Float[Tensor, "rows 1 vocabulary"]:
        """Forget what was read; logits of the first symbol of every row."""
        if start_of(self.beside.model) is None and self._decoder is None:  # nothing is read that could be looked up
            return self._model.begin(n_rows)
        return self._mixed(n_rows, None)

    def read(self, ids: Int[Tensor, "rows 1"]) -> Float64[Tensor, "rows 1 vocabulary"]:
        """Read one more token in every row."""
        return self._mixed(len(ids), ids)

    def weigh(self, logits: Float[Tensor, "rows symbols"], out: Float64[np.ndarray, "rows symbols"]) -> Totals:
        """Probabilities, in float64."""
        return self._model.weigh(logits, out)

    def _mixed(self, n_rows: int, ids: Int[Tensor, "rows 1"] | None) -> Float64[Tensor, "rows 1 vocabulary"]:
        """Natural logarithms of the probabilities of what comes next."""
        memory, weight, temperature = self.beside.memory, self.beside.weight, self.beside.temperature
        distance = np.full(n_rows, np.nan)
        if isinstance(memory, KnnMemory):
            place, shown = memory.place, list[Tensor]()
            (site,) = place.points
            with watching(place, [site], lambda _, vectors: shown.append(vectors.float().cpu())):
                logits = self._model.begin(n_rows) if ids is None else self._model.read(ids)
            # a reader that begins anew reads several tokens at once: the newest of each row is its last
            states = shown[-1].reshape(n_rows, -1, shown[-1].shape[-1])[:, -1].numpy()
            votes = memory.vote(states)
            own, distance = torch.from_numpy(votes.dense(temperature, self.vocabulary)), np.sqrt(votes.square[:, 0])
        else:
            logits = self._model.begin(n_rows) if ids is None else self._model.read(ids)
            assert self._decoder is not None  # noqa: S101  made for every other memory
            told = self._decoder.begin(n_rows) if ids is None else self._decoder.read(ids)
            own = (told[:, -1].double() / temperature).softmax(-1).cpu()
        share = torch.from_numpy(weight.at(distance))[:, None]
        mixed = (1 - share) * logits[:, -1].double().softmax(-1).cpu() + share * own
        return mixed.log().clamp(min=IMPOSSIBLE)[:, None]


def write(beside: Interpolated, prompt: str, *, max_new_tokens: int) -> Written:
    """Go on from a prompt by the likeliest token under the interpolation, again and again.

    Args:
        beside: a model with its memory.
        prompt: a text.
        max_new_tokens: how many tokens to write at most; an end-of-sequence token ends it.

    Raises:
        InputError: if there is no prompt, or the memory cannot be written with.
    """
    if not prompt or max_new_tokens < 1:
        raise InputError(f"writing needs a prompt and 1 new token or more, got {prompt!r} and {max_new_tokens}")
    tokenizer = beside.model.tokenizer
    if tokenizer is None:
        raise InputError(f"{beside.model.name} came without a tokenizer, which writing needs")
    reader, read = MixedReader(beside), encode_text(beside.model, prompt)
    log_p = reader.begin(1)  # has read the token that begins a text, if there is one
    for token in read.ids[read.n_special :]:
        log_p = reader.read(torch.tensor([[token]]))
    end = special_id(tokenizer, "eos")
    ids: list[int] = []
    told: list[float] = []
    while len(ids) < max_new_tokens and (not ids or ids[-1] != end):
        best = int(log_p[0, -1].argmax())
        ids.append(best)
        told.append(float(log_p[0, -1, best]) / math.log(2))
        if len(ids) < max_new_tokens:
            log_p = reader.read(torch.tensor([[best]]))
    return Written(tuple(ids), str(tokenizer.decode(ids, skip_special_tokens=True)), tuple(told))


def codec_beside(beside: Interpolated) -> Codec:
    """A model with its memory, ready to write and read streams (:func:`probes.compression.archive.pack`).

    The fingerprint in the archive is that of both, so that neither alone, nor another memory, is taken for them.
    """
    reader = MixedReader(beside)
    both = replace(beside.model, fingerprint=f"{beside.model.fingerprint}+{beside.fingerprint}")
    spelling = spelling_of(beside.model.tokenizer, size=reader.vocabulary, model=beside.model.name)
    return Codec(both, "lockstep", reader, spelling)
