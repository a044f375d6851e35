"""Prompts as one rectangle of token ids, what a forward pass takes."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor


class Batch(NamedTuple):
    """Prompts side by side, padded on the right.

    Attributes:
        ids: token ids, ``(prompts, longest)``.
        mask: 1 where there is a token and 0 where there is padding.
        asked: 1 where there is a token of the prompt itself, 0 where there is one of its target; None: no targets.
    """

    ids: Int[Tensor, "prompts longest"]
    mask: Int[Tensor, "prompts longest"]
    asked: Int[Tensor, "prompts longest"] | None = None
