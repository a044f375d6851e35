"""N-gram models as memories: what a corpus index alone adds to a language model, with nothing trained.

The sceptic's baseline. Its knob is the concentration of the smoothing, which is found on validation text as the
temperatures of other memories are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from probes.corpus.index import CorpusIndex
from probes.familiarity.ngrams import NGram
from probes.memory.recall import Memory, Recall
from probes.vocabulary.prompt import Prompt

CONCENTRATIONS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, eq=False)
class CountMemory(Memory):
    """An n-gram model over an index of the tokens of a language model.

    Attributes:
        index: of the corpus, in the model's tokens.
        order: symbols it looks at, the predicted one included.
        unbounded: whether to look at the longest context that occurs besides.
    """

    index: CorpusIndex
    order: int
    unbounded: bool = False

    @property
    def name(self) -> str:
        """Its order."""
        return "infinity-gram" if self.unbounded else "unigram" if self.order == 1 else f"{self.order}-gram"

    @property
    def fingerprint(self) -> str:
        """Of the corpus and the order."""
        return f"{self.index.fingerprint}-{self.order}{'+' if self.unbounded else ''}"

    @property
    def n_bytes(self) -> int:
        """Of the index; of one count per symbol for a unigram model."""
        if self.order == 1 and not self.unbounded:
            return 8 * self.index.written().size
        arrays = (
            array
            for shard in self.index.shards
            for array in (shard.suffixes.data, shard.suffixes.suffixes, shard.suffixes.samples, shard.documents)
        )
        return sum(array.nbytes for array in arrays)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Concentrations of the smoothing."""
        return CONCENTRATIONS

    def recall(self, prompts: Sequence[Prompt], temperatures: Sequence[float]) -> list[Recall]:
        """Its probabilities of the tokens of some prompts, special tokens at the beginning not counted as context."""
        model = NGram(self.index, self.order, self.unbounded)
        found: list[Recall] = []
        for prompt in prompts:
            own = prompt.text
            ids = np.array(prompt.ids[own.start : own.stop], dtype=np.int64)
            log2_p = np.full((len(temperatures), len(prompt.ids)), np.nan)
            for row, concentration in enumerate(temperatures):
                log2_p[row, own.start : own.stop] = replace(model, concentration=concentration).log2_p(ids)
            log2_p[:, 0] = np.nan
            found.append(Recall(log2_p, np.full(len(prompt.ids), np.nan)))
        return found
