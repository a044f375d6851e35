"""N-gram models of any order, read off a corpus index: what a text costs for one who has only counted.

Each order smooths the next lower one: ``p_k(x) = (c(context_k x) + a p_{k-1}(x)) / (c(context_k) + a)``, from the
uniform distribution up (the hierarchical Dirichlet model of MacKay & Peto 1995 with one concentration ``a``). Every
order is a distribution over all symbols and the end of a document, so the code length is one that a decoder with the
same index could use. On top, the ∞-gram adds the longest context that the corpus knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from probes.corpus.index import Corpus
from probes.corpus.matching import infinity_gram
from probes.errors import InputError
from probes.familiarity.predictor import Prediction, Predictor


@dataclass(frozen=True, eq=False)
class NGram(Predictor):
    """An n-gram model over a corpus index.

    Attributes:
        index: the corpus.
        order: symbols it looks at, the predicted one included: 1 is the unigram model.
        unbounded: whether to look at the longest context that occurs in the corpus besides.
        concentration: how many occurrences of a context the next lower order is worth.
    """

    index: Corpus
    order: int
    unbounded: bool = False
    concentration: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an order or a concentration that makes no model."""
        if self.order < 1 or not self.concentration > 0:
            raise InputError(
                f"an n-gram model has order >= 1 and concentration > 0, got {self.order} and {self.concentration:g}"
            )

    @property
    def name(self) -> str:
        """Order and corpus."""
        return f"{'infinity' if self.unbounded else self.order}-gram of {self.index.name}"

    def predict(self, text: str) -> Prediction:
        """Log2-probability of each symbol."""
        ids, starts, ends = self.index.written().symbols(text)
        return Prediction(text, starts, ends, self.log2_p(ids))

    def log2_p(self, ids: Int64[np.ndarray, " symbols"]) -> Float64[np.ndarray, " symbols"]:
        """The same of symbols of the index."""
        p = np.full(len(ids), 1 / (self.index.written().size + 1))
        here = np.arange(len(ids))
        for k in range(self.order):
            known = here >= k
            p[known] = self._smoothed(p[known], ids, here[known], np.full(int(known.sum()), k))
        if self.unbounded:
            longest = infinity_gram(self.index, ids).context
            longer = longest >= self.order
            p[longer] = self._smoothed(p[longer], ids, here[longer], longest[longer])
        with np.errstate(divide="ignore"):
            return np.log2(p)

    def _smoothed(
        self,
        lower: Float64[np.ndarray, " some"],
        ids: Int64[np.ndarray, " symbols"],
        here: Int64[np.ndarray, " some"],
        context: Int64[np.ndarray, " some"],
    ) -> Float64[np.ndarray, " some"]:
        """One order more: counts of contexts of some length, smoothed by the lower order."""
        starts = here - context
        patterns = self.index.patterns(ids, np.tile(starts, 2), np.concatenate([context, context + 1]))
        of_context, with_symbol = np.split(self.index.count(patterns), 2)
        a = self.concentration
        return (with_symbol + a * lower) / (of_context + a)
