"""Measures of the corpus, against counting by hand."""

import math

import numpy as np
import pytest

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.corpus.corpora import build_index
from probes.familiarity import FamiliaritySpec
from probes.familiarity.measures.counts import CorpusEvidence, CorpusTexts

DOCUMENTS = ["abcabc", "abd", "xab"]


def value(spec: str, text: str, first: int = 0) -> float:
    """The value of a text whose answer begins at ``first``; others are looked up beside it and change nothing."""
    index = build_index(DOCUMENTS)
    texts = [index.ids(own) for own in ("abdab", text, "", text, "xxabc")]
    beside = CorpusTexts(index, texts, [2, first or len(text), 0, len(text), 5])
    found = FamiliaritySpec.parse(spec).measure(CorpusEvidence(beside, 1, answer=first > 0))
    assert bool(found.reason) == math.isnan(found.item)
    if found.tokens is not None:
        assert len(found.tokens) == len(text) - first
    return found.item


def test_values_are_those_of_counting_by_hand():
    assert value("text_count", "ab") == 4.0
    assert value("text_count", "abx") == 0.0
    assert value("ngram_log_count(2)", "abx") == pytest.approx(np.log2(5) / 2)  # ab four times, bx never
    assert value("document_log_count(2)", "abx") == pytest.approx(np.log2(4) / 2)
    assert value("longest_match", "abdx") == pytest.approx((1 + 2 + 3 + 1) / 4)
    assert value("nearest_document_share", "abdx") == 0.75
    assert value("ngram_coverage(3)", "abdx") == 0.75
    # a: 4 of 12 symbols and 3 ends; b after a: always; c after ab: 2 of 4; z never
    assert value("infinity_gram", "abcz") == pytest.approx((4 / 15 + 1 + 2 / 4 + 0) / 4)


def test_a_part_is_about_its_own_symbols_given_those_before():
    assert value("longest_match", "abdx", first=2) == 2.0
    assert value("infinity_gram", "abc", first=2) == 0.5
    assert value("ngram_log_count(2)", "abx", first=2) == 0.0
    assert value("ngram_coverage(3)", "abdx", first=2) == 0.5
    assert value("text_count", "abd", first=2) == 1.0


@pytest.mark.parametrize("spec", ["ngram_log_count(13)", "document_log_count(7)", "ngram_coverage(13)"])
def test_a_text_shorter_than_n_is_undefined(spec):
    assert math.isnan(value(spec, "abc"))


@pytest.mark.parametrize(
    "spec", ["text_count", "longest_match", "nearest_document_share", "infinity_gram", "ngram_coverage(1)"]
)
def test_a_text_without_symbols_is_undefined(spec):
    assert math.isnan(value(spec, ""))


def test_more_familiar_texts_score_higher_on_every_measure_whose_higher_end_is_familiar():
    for spec in ("ngram_log_count(2)", "document_log_count(2)", "longest_match", "nearest_document_share",
                 "infinity_gram", "ngram_coverage(2)"):  # fmt: skip
        assert FamiliaritySpec.parse(spec).record.familiar == "higher"
        assert value(spec, "abcab") > value(spec, "cbaxz")
