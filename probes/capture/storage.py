"""Vectors that a pass leaves behind beside its metrics, in the dtype that the model computed.

Most readers want one vector per item: the state of a single token is kept as it is, bfloat16 as bfloat16, and of
several tokens the mean of their states is, summed in float64 and kept in float32. Position ``all`` keeps the state of
every token. Hooks never wait for the device, save where massive tokens have to be told from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from probes.capture.reading import ROWS_AT_A_TIME, Pick, Picks
from probes.vocabulary.massive_tokens import massive
from probes.vocabulary.positions import Selector
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site

NAMES: Final = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The vectors of one batch at one place, one per prompt, or one per token at position ``all``.

    Attributes:
        site: where in the network; of a site with heads, all heads side by side.
        position: which token or tokens, by the selector's name.
        dtype: as safetensors writes it: ``F32``, ``BF16``, ``F16``, ``F64``.
        data: the numbers of each vector as they lie in memory, vectors in the order of prompts and tokens; of one per
            prompt, NaN for a prompt without such a token.
        tokens: of each prompt its tokens, at position ``all``; None where each prompt has one vector.
    """

    site: Site
    position: str
    dtype: str
    data: UInt8[np.ndarray, "vectors bytes"]
    tokens: tuple[range, ...] | None = None


class StateStore:
    """Keeps what hooks show of some places; the state of one forward pass."""

    def __init__(self, prompts: Sequence[Prompt], places: Sequence[tuple[Site, Selector]]) -> None:
        self._n = len(prompts)
        self._each = tuple(prompt.each for prompt in prompts)
        self._asked: dict[Site, list[Pick]] = {}
        self._rows: dict[str, np.ndarray] = {}
        for site, selector in places:
            picks = Picks.of(prompts, [selector])
            self._rows[selector.name] = picks.rows[picks.own[0].at]
            self._asked.setdefault(site, []).append(picks.own[0])
        self._found: list[tuple[Site, Selector, Tensor]] = []

    def look(self, site: Site, vectors: Tensor) -> None:
        """Keep what is asked of one site; called inside the forward pass."""
        for pick in self._asked.get(site, ()):
            rows = torch.from_numpy(self._rows[pick.selector.name]).to(vectors.device)
            if not pick.selector.is_single:
                found = vectors.index_select(0, rows)
            else:
                found = self._single(vectors, rows, pick) if pick.selector.each else self._mean(vectors, rows, pick)
            self._found.append((site, pick.selector, found))

    def kept(self) -> tuple[Kept, ...]:
        """Everything kept, once the pass is over."""
        return tuple(
            Kept(
                site,
                selector.name,
                NAMES[found.dtype],
                _bytes(found),
                None if selector.is_single else self._each,
            )
            for site, selector, found in self._found
        )

    def _single(self, vectors: Tensor, rows: Tensor, pick: Pick) -> Tensor:
        """The state of one token of each prompt."""
        found = torch.full((self._n, vectors.shape[-1]), torch.nan, dtype=vectors.dtype, device=vectors.device)
        found[torch.from_numpy(pick.item).long().to(vectors.device)] = vectors.index_select(0, rows)
        return found

    def _mean(self, vectors: Tensor, rows: Tensor, pick: Pick) -> Tensor:
        """The mean state of some tokens of each prompt."""
        item = pick.item
        if pick.selector.typical:
            usual = ~massive(_lengths(vectors, rows), item)
            item, rows = item[usual], rows[torch.from_numpy(usual).to(rows.device)]
        index = torch.from_numpy(item).long().to(vectors.device)
        total = torch.zeros((self._n, vectors.shape[-1]), dtype=torch.float64, device=vectors.device)
        for part in _parts(len(rows)):
            total.index_add_(0, index[part], vectors.index_select(0, rows[part]).double())
        count = torch.bincount(index, minlength=self._n)
        return (total / count.unsqueeze(-1)).float()  # of no token 0 / 0, which is NaN


def _lengths(vectors: Tensor, rows: Tensor) -> Float32[np.ndarray, " rows"]:
    lengths = torch.empty(len(rows), device=vectors.device)
    for part in _parts(len(rows)):
        lengths[part] = torch.linalg.vector_norm(vectors.index_select(0, rows[part]).float(), dim=-1)
    return lengths.cpu().numpy()


def _parts(n_rows: int) -> Iterator[slice]:
    """A few rows at a time, so that no copy of a whole layer is made."""
    return (slice(start, start + ROWS_AT_A_TIME) for start in range(0, n_rows, ROWS_AT_A_TIME))


def _bytes(vectors: Tensor) -> UInt8[np.ndarray, "vectors bytes"]:
    return vectors.cpu().contiguous().view(torch.uint8).numpy()
