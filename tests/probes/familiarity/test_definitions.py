"""Measures: every one says what it needs, means and fails at, and is written in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import InputError
from probes.familiarity import FAMILIARITY, FamiliaritySpec, parse_familiarity
from probes.familiarity.definitions import WholeNumber
from sparsity.registry import UnknownNameError


@pytest.mark.parametrize("name", list(FAMILIARITY))
def test_a_measure_says_what_it_is_and_how_it_fails(name):
    record = FAMILIARITY[name]
    assert record.familiar in ("higher", "lower")
    assert record.needs in ("logits", "states", "corpus", "world", "memory")
    assert min(map(len, (record.unit, record.proxy, record.fails, record.source, record.summary))) > 3
    assert record.version >= 1


def test_the_bank_is_whole():
    assert set(FAMILIARITY) == {
        "bits_per_byte", "surprisal", "min_k", "min_k_plus_plus", "zlib_ratio", "reference_ratio", "next_token_entropy",
        "true_token_rank", "energy", "knn_distance", "mahalanobis", "relative_mahalanobis", "text_count",
        "ngram_log_count", "document_log_count", "longest_match", "nearest_document_share", "infinity_gram",
        "ngram_coverage", "exposure", "bits_saved",
    }  # fmt: skip


@given(st.floats(min_value=1e-3, max_value=1), st.booleans())
def test_the_written_form_reads_back_as_the_same_measure(fraction, about_answer):
    text = f"{'answer.' if about_answer else ''}min_k({fraction!r})"
    spec = FamiliaritySpec.parse(text)
    assert FamiliaritySpec.parse(str(spec)) == spec
    assert FamiliaritySpec.parse(spec.versioned) == spec
    assert spec.arguments == (fraction,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_k()", r"written min_k\(fraction\)"),
        ("knn_distance", r"written knn_distance\(k\)"),
        ("min_k(0)", r"a number in \(0, 1\]"),
        ("min_k(a)", "with numbers"),
        ("min_k(0.2)@9", "version 1 here, got version 9"),
        ("ngram_coverage(2.5)", "a whole number from 1 on"),
        ("ngram_coverage(0)", "a whole number from 1 on"),
        ("min_k((", "a measure is written"),
    ],
)
def test_what_is_not_a_measure_is_one_line(text, message):
    with pytest.raises(InputError, match=message):
        FamiliaritySpec.parse(text)


def test_an_unknown_name_suggests_and_a_double_one_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'bits_per_byte'"):
        FamiliaritySpec.parse("bit_per_byte")
    with pytest.raises(InputError, match=r"min_k\(0.2\) is asked for twice"):
        parse_familiarity(["min_k(0.2)", "min_k(.20)"])
    assert len(parse_familiarity(["min_k(0.2)", "answer.min_k(0.2)"])) == 2


def test_a_bare_name_stands_for_the_published_value():
    bare = parse_familiarity(["min_k", "min_k_plus_plus", "answer.min_k", "ngram_coverage", "bits_per_byte"])
    assert [str(spec) for spec in bare] == [
        "min_k(0.2)", "min_k_plus_plus(0.2)", "answer.min_k(0.2)", "ngram_coverage(13)", "bits_per_byte",
    ]  # fmt: skip
    with pytest.raises(InputError, match="asked for twice"):
        parse_familiarity(["min_k", "min_k(0.2)"])


def test_whole_numbers():
    assert 1 in WholeNumber()
    assert 13.0 in WholeNumber()
    assert 0.5 not in WholeNumber()
    assert "1" not in WholeNumber()
