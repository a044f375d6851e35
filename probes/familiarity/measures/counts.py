"""Exact counts of an input in the training corpus.

Counts are the opposite of code lengths: they know what was seen and nothing of what follows from it. A paraphrase, a
changed comma or other white space counts as never seen, and a corpus that is not the whole training set misses the
rest. Per token, a value is about the stretch that *ends* with that token, so it may be set beside the state after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from probes.corpus import matching
from probes.corpus.index import Corpus
from probes.familiarity.definitions import Values, WholeNumber, familiarity

EXACT: Final = "blind to paraphrase and white space, and to training data outside the corpus"
ORDER: Final = WholeNumber()


class CorpusTexts:
    """Some texts beside a corpus; whatever is asked of one is looked up for all of them at once, and once."""

    def __init__(self, index: Corpus, texts: Sequence[Int64[np.ndarray, " _"]], prompts: Sequence[int]) -> None:
        """Lay the texts end to end.

        Args:
            index: the corpus.
            texts: prompt and answer of each, in the alphabet of the index.
            prompts: how many of its symbols are the prompt's.
        """
        self.index = index
        self.bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        self.ids = np.concatenate([np.empty(0, dtype=np.int64), *texts])
        self.prompts = np.array(prompts, dtype=np.int64)
        self._ngrams: dict[tuple[int, bool], list[Int64[np.ndarray, " ngrams"]]] = {}

    def slice(self, item: int) -> slice:
        """Range of a text among the symbols."""
        return slice(int(self.bounds[item]), int(self.bounds[item + 1]))

    @cached_property
    def behind(self) -> Int64[np.ndarray, " symbols"]:
        """Longest stretch that ends with each symbol and occurs."""
        return matching.match_behind(self._ahead)

    @cached_property
    def infinity(self) -> Float64[np.ndarray, " symbols"]:
        """∞-gram probability of each symbol."""
        return matching.infinity_gram(self.index, self.ids, self._ahead, self.bounds).probability

    @cached_property
    def whole(self) -> Int64[np.ndarray, "2 texts"]:
        """Count the occurrences of each prompt, and of each prompt with its answer."""
        starts, lengths = np.tile(self.bounds[:-1], 2), np.concatenate([self.prompts, np.diff(self.bounds)])
        return self.index.count(self.index.patterns(self.ids, starts, lengths)).reshape(2, -1)

    def ngrams(self, item: int, n: int, *, documents: bool) -> Int64[np.ndarray, " ngrams"]:
        """Count the occurrences of each n-gram of a text, or the documents that hold it."""
        if (n, documents) not in self._ngrams:
            count = matching.count_ngram_documents if documents else matching.count_ngrams
            counts = count(self.index, self.ids, n, self.bounds)
            lengths = np.maximum(np.diff(self.bounds) - n + 1, 0)
            self._ngrams[n, documents] = np.split(counts, np.cumsum(lengths)[:-1])
        return self._ngrams[n, documents][item]

    @cached_property
    def _ahead(self) -> Int64[np.ndarray, " symbols"]:
        return matching.match_ahead(self.index, self.ids, self.bounds)


@dataclass(frozen=True, slots=True, eq=False)
class CorpusEvidence:
    """One part of one text, beside a corpus.

    Attributes:
        texts: it and others.
        item: which of them it is.
        answer: whether the part is the answer, given the prompt; else it is the prompt.
    """

    texts: CorpusTexts
    item: int
    answer: bool = False

    @property
    def n_symbols(self) -> int:
        """Symbols up to the end of the part."""
        own = self.texts.slice(self.item)
        return own.stop - own.start if self.answer else int(self.texts.prompts[self.item])

    @property
    def first(self) -> int:
        """Index of the part's first symbol."""
        return int(self.texts.prompts[self.item]) if self.answer else 0

    @property
    def count(self) -> int:
        """Count the occurrences of the text up to the end of the part."""
        return int(self.texts.whole[int(self.answer), self.item])

    def own(self, values: Shaped[np.ndarray, " symbols"]) -> Shaped[np.ndarray, " own"]:
        """Values of all symbols, cut to those of the part."""
        start = self.texts.slice(self.item).start
        return values[start + self.first : start + self.n_symbols]

    def ngrams(self, n: int, *, documents: bool = False) -> Int64[np.ndarray, " ngrams"]:
        """Counts of the n-grams up to the end of the part."""
        return self.texts.ngrams(self.item, n, documents=documents)[: max(self.n_symbols - n + 1, 0)]


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="occurrences",
    proxy="how often exactly this was read",
    fails=EXACT + "; 0 for nearly every text of more than a few words",
    source="Liu et al. 2024, arXiv:2401.17377",
)
def text_count(evidence: CorpusEvidence) -> Values:
    """Occurrences of the text, up to the end of the part, in the corpus: 0 for never, overlapping ones counted."""
    if not evidence.n_symbols:
        return Values(math.nan, None, "the text has no symbols")
    return Values(float(evidence.count))


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="log2(1 + occurrences)",
    proxy="how often the pieces of the text were read",
    fails=EXACT + "; frequent function words dominate small n",
    source="Liu et al. 2024, arXiv:2401.17377",
    parameters={"n": ORDER},
)
def ngram_log_count(evidence: CorpusEvidence, *, n: int) -> Values:
    """Mean of ``log2(1 + count)`` of the n-grams: 0 if none occurs, unbounded; per symbol, of the one that ends there.

    NaN for a part in which no n-gram ends.
    """
    return _of_ngrams(evidence, evidence.ngrams(n), n)


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="log2(1 + documents)",
    proxy="how widely the pieces of the text are spread: what many documents hold is no single source's wording",
    fails=EXACT + "; near-duplicate documents count apart",
    source="Liu et al. 2024, arXiv:2401.17377",
    parameters={"n": ORDER},
)
def document_log_count(evidence: CorpusEvidence, *, n: int) -> Values:
    """Mean of ``log2(1 + distinct documents)`` of the n-grams: 0 if none occurs, at most that of all documents.

    NaN for a part in which no n-gram ends.
    """
    return _of_ngrams(evidence, evidence.ngrams(n, documents=True), n)


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="symbols",
    proxy="how long the stretches are that were read as they stand",
    fails=EXACT + "; a boilerplate passage makes a new text look known",
    source="Liu et al. 2024, arXiv:2401.17377; Merrill et al. 2024, arXiv:2406.13069",
)
def longest_match(evidence: CorpusEvidence) -> Values:
    """Mean length of the longest stretch that ends with each symbol and occurs: 0 if no symbol does.

    At most ``(length + 1) / 2`` for a text that occurs as a whole. Grows by at most one from symbol to symbol.
    """
    return _mean(evidence.own(evidence.texts.behind).astype(np.float64))


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="share",
    proxy="how much of the text one document holds in one piece",
    fails=EXACT,
    source="nearest document by longest common substring",
)
def nearest_document_share(evidence: CorpusEvidence) -> Values:
    """Longest stretch that ends in the part and occurs, as a share of the text: 0 if nothing occurs, 1 if all does."""
    behind = evidence.own(evidence.texts.behind)
    if not len(behind):
        return Values(math.nan, None, "the text has no symbols")
    return Values(float(behind.max() / evidence.n_symbols))


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="probability",
    proxy="how surely the corpus continues the longest context it knows with what came",
    fails="contexts seen once continue surely with whatever followed: 0 and 1 mean little where contexts are rare",
    source="Liu et al. 2024, arXiv:2401.17377, section 2",
)
def infinity_gram(evidence: CorpusEvidence) -> Values:
    """Mean ∞-gram probability of the symbols: 0 if none ever followed its longest known context, 1 if always."""
    return _mean(evidence.own(evidence.texts.infinity))


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="share",
    proxy="contamination: how much of the text stands in n-grams that were read",
    fails=EXACT + "; stock phrases cover new texts when n is small",
    source="Brown et al. 2020, arXiv:2005.14165, appendix C (n = 13); n = 7 in later practice",
    parameters={"n": ORDER},
    usual=(13.0,),
)
def ngram_coverage(evidence: CorpusEvidence, *, n: int) -> Values:
    """Share of symbols that stand in an n-gram of the text that occurs in the corpus: 0 for none, 1 for all.

    NaN for a text shorter than n.
    """
    if evidence.n_symbols < n:
        return Values(math.nan, None, _shorter(evidence, n))
    inside = matching.covered(evidence.ngrams(n), n, evidence.n_symbols)
    return _mean(inside[evidence.first :].astype(np.float64))


def _of_ngrams(evidence: CorpusEvidence, counts: Int64[np.ndarray, " ngrams"], n: int) -> Values:
    values = np.full(evidence.n_symbols, np.nan)
    values[n - 1 :] = np.log2(1 + counts)
    own = values[evidence.first :]
    defined = own[~np.isnan(own)]
    if not len(defined):
        return Values(math.nan, own, _shorter(evidence, n))
    return Values(float(defined.mean()), own)


def _mean(values: Float64[np.ndarray, " symbols"]) -> Values:
    return Values(float(values.mean()), values) if len(values) else Values(math.nan, values, "the text has no symbols")


def _shorter(evidence: CorpusEvidence, n: int) -> str:
    return f"the text has {evidence.n_symbols} symbols, fewer than n = {n}"
