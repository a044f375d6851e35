"""Bits that a memory beside the model saves: what somebody who had the corpus at hand would have known better.

A memory (`probes.memory`) is interpolated with the model at a weight that was found on validation text. The model runs
as it always does, so the states that are measured beside these bits are those of the model without the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from probes.familiarity.definitions import Values, familiarity
from probes.vocabulary.prompt import Prompt


@runtime_checkable
class Beside(Protocol):
    """A memory that stands beside a model, tuned; :class:`probes.memory.Interpolated` is one."""

    @property
    def memory_name(self) -> str:
        """As tables hold it."""
        ...

    @property
    def fingerprint(self) -> str:
        """The same for two iff they save the same bits."""
        ...

    def bits_saved(
        self, prompts: Sequence[Prompt], surprisals: Sequence[Float64[np.ndarray, " _"]]
    ) -> list[Float64[np.ndarray, " _"]]:
        """Surprisal of every token under the model less that under the interpolation."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MemoryEvidence:
    """Prediction of one part of a text by a memory.

    Attributes:
        saved: bits per token; NaN where nothing was predicted.
    """

    saved: Float64[np.ndarray, " tokens"]


@familiarity(
    version=2,
    familiar="lower",
    needs="memory",
    unit="bits",
    proxy="what the model does not know and the corpus of the memory does",
    fails="also saves where the model is merely badly calibrated; negative where the memory misleads",
    source="Khandelwal et al. 2020, arXiv:1911.00172, eq. 3; Cao et al. 2025, arXiv:2508.09874",
)
def bits_saved(evidence: MemoryEvidence) -> Values:
    """Mean bits per token that a memory saves: 0 where it changes nothing, negative where it misleads, unbounded.

    Documents of a datastore that share some 64 characters in a row with the text, or all of a shorter one, are left out
    for it.

    NaN for a text without tokens that something precedes.
    """
    known = evidence.saved[np.isfinite(evidence.saved)]
    if not len(known):
        return Values(math.nan, evidence.saved, "the text has no tokens that something precedes")
    return Values(float(known.mean()), evidence.saved)
