"""How much of an input the training corpus holds, exactly.

Counts are the opposite of code lengths: they know what was seen and nothing of what follows from it. A paraphrase, a
changed comma or other white space counts as never seen, and a corpus that is not the whole training set misses the
rest. Per token, a value is about the stretch that *ends* with that token, so it may be set beside the state after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from probes.familiarity import matching
from probes.familiarity.index import CorpusIndex
from probes.familiarity.records import Values, WholeNumber, familiarity

EXACT: Final = "blind to paraphrase and white space, and to training data outside the corpus"
ORDER: Final = WholeNumber()


@dataclass(frozen=True, slots=True, eq=False)
class CorpusEvidence:
    """A text as a corpus index sees it.

    Attributes:
        index: the corpus.
        ids: the text up to the end of the part, in the alphabet of the index.
        first: index of the part's first symbol.
        ahead: `probes.familiarity.matching.match_ahead` of the ids.
    """

    index: CorpusIndex
    ids: Int64[np.ndarray, " symbols"]
    first: int
    ahead: Int64[np.ndarray, " symbols"]


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
    """How often the text, up to the end of the part, occurs in the corpus: 0 for never, overlapping ones counted."""
    if not len(evidence.ids):
        return Values(math.nan, None, "the text has no symbols")
    whole = evidence.index.patterns(evidence.ids, np.zeros(1, dtype=np.int64), np.array([len(evidence.ids)]))
    return Values(float(evidence.index.count(whole)[0]))


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
    return _of_ngrams(evidence, matching.count_ngrams(evidence.index, evidence.ids, n), n)


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
    return _of_ngrams(evidence, matching.count_ngram_documents(evidence.index, evidence.ids, n), n)


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
    behind = matching.match_behind(evidence.ahead)[evidence.first :].astype(np.float64)
    return _mean(behind)


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
    behind = matching.match_behind(evidence.ahead)[evidence.first :]
    if not len(behind):
        return Values(math.nan, None, "the text has no symbols")
    return Values(float(behind.max() / len(evidence.ids)))


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
    found = matching.infinity_gram(evidence.index, evidence.ids, evidence.ahead)
    return _mean(found.probability[evidence.first :])


@familiarity(
    version=1,
    familiar="higher",
    needs="corpus",
    unit="share",
    proxy="contamination: how much of the text stands in n-grams that were read",
    fails=EXACT + "; stock phrases cover new texts when n is small",
    source="Brown et al. 2020, arXiv:2005.14165, appendix C (n = 13); n = 7 in later practice",
    parameters={"n": ORDER},
)
def ngram_coverage(evidence: CorpusEvidence, *, n: int) -> Values:
    """Share of symbols that stand in an n-gram of the text that occurs in the corpus: 0 for none, 1 for all.

    NaN for a text shorter than n.
    """
    if len(evidence.ids) < n:
        return Values(math.nan, None, _shorter(evidence, n))
    return _mean(matching.covered(evidence.index, evidence.ids, n)[evidence.first :].astype(np.float64))


def _of_ngrams(evidence: CorpusEvidence, counts: Int64[np.ndarray, " ngrams"], n: int) -> Values:
    values = np.full(len(evidence.ids), np.nan)
    values[n - 1 :] = np.log2(1 + counts)
    own = values[evidence.first :]
    defined = own[~np.isnan(own)]
    if not len(defined):
        return Values(math.nan, own, _shorter(evidence, n))
    return Values(float(defined.mean()), own)


def _mean(values: Float64[np.ndarray, " symbols"]) -> Values:
    return Values(float(values.mean()), values) if len(values) else Values(math.nan, values, "the text has no symbols")


def _shorter(evidence: CorpusEvidence, n: int) -> str:
    return f"the text has {len(evidence.ids)} symbols, fewer than n = {n}"
