"""Measures of the model's own probabilities, against their definitions on numbers chosen by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probes.familiarity import FamiliaritySpec
from probes.familiarity.compressors import Compressor
from probes.familiarity.measures.surprise import LogitsEvidence
from probes.familiarity.surprisals import Surprisals, describe
from tests.tolerances import FLOAT64

BITS = [1.0, 0.5, 3.0, 2.0, 0.25, 8.0]


def evidence(bits=BITS, *, opens=False, n_unknown=0, text="a text of some bytes", **fields) -> LogitsEvidence:
    surprisal = np.array(bits, dtype=np.float64)
    z = -surprisal + 1
    tokens = Surprisals(surprisal, z, np.exp2(surprisal), surprisal / 2, -surprisal)
    n_bytes = float(len(text.encode())) if text else math.nan
    return LogitsEvidence(tokens, opens, text, n_bytes, 512, n_unknown, **fields)


def value(spec: str, of: LogitsEvidence) -> float:
    found = FamiliaritySpec.parse(spec).measure(of)
    assert bool(found.reason) == math.isnan(found.item)
    return found.item


def test_values_are_those_of_the_definitions():
    own = evidence()
    assert value("bits_per_byte", own) == pytest.approx(sum(BITS) / 20, abs=FLOAT64)
    assert value("surprisal", own) == pytest.approx(sum(BITS) / 6)
    assert value("min_k(0.5)", own) == pytest.approx(-(8 + 3 + 2) / 3)
    assert value("min_k_plus_plus(0.3)", own) == pytest.approx(1 - (8 + 3) / 2)  # two of six: rounded up
    assert value("zlib_ratio", own) == pytest.approx(sum(BITS) / Compressor("zlib").bits("a text of some bytes"))
    assert value("true_token_rank", own) == pytest.approx(2 ** (sum(BITS) / 6))
    assert value("next_token_entropy", own) == 4.0
    assert value("energy", own) == -8.0


def test_a_first_token_that_nothing_predicts_costs_log_of_the_vocabulary_and_is_else_left_out():
    own = evidence([math.nan, 1.0, 3.0], opens=True)
    assert value("bits_per_byte", own) == pytest.approx((9 + 4) / 20)
    assert value("surprisal", own) == 2.0
    assert value("min_k(1)", own) == -2.0


@given(st.integers(1, 30), st.floats(0.01, 1))
def test_a_short_text_keeps_at_least_one_token(n, fraction):
    own = evidence([1.0] * n)
    assert value(f"min_k({fraction!r})", own) == -1.0


def test_min_k_of_everything_is_the_mean():
    assert value("min_k(1)", evidence()) == -value("surprisal", evidence())


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (evidence([1.0, math.nan, 2.0]), "logits of 1 tokens are not finite"),
        (evidence([]), "no tokens"),
        (evidence(n_unknown=2), "2 tokens stand for text"),
        (evidence(text=""), "only its token ids"),
    ],
)
def test_no_code_length_has_a_reason(own, reason):
    assert reason in FamiliaritySpec.parse("bits_per_byte").measure(own).reason
    assert math.isnan(value("bits_per_byte", own))


def test_non_finite_logits_leave_no_min_k():
    for spec in ("min_k(0.2)", "min_k_plus_plus(0.2)"):
        assert math.isnan(value(spec, evidence([1.0, math.nan, 2.0])))


def test_uniform_predictions_are_left_out_of_min_k_plus_plus():
    logits = torch.zeros(3, 8)
    logits[1, 2] = 5.0
    found = describe(logits, torch.tensor([0, 2, 3])).numpy()
    own = LogitsEvidence(Surprisals(*found), opens=False, text="abc", n_bytes=3.0, vocabulary=8, n_unknown=0)
    assert value("min_k_plus_plus(1)", own) == found[1, 1]
    flat = describe(torch.zeros(3, 8), torch.tensor([0, 2, 3])).numpy()
    uniform = LogitsEvidence(Surprisals(*flat), opens=False, text="abc", n_bytes=3.0, vocabulary=8, n_unknown=0)
    assert math.isnan(value("min_k_plus_plus(1)", uniform))
    assert value("bits_per_byte", uniform) == 3.0


def test_a_reference_is_another_coder_given_the_same_text_before():
    text = "a text of some bytes"
    own = evidence(text=text, reference=Compressor("zlib"), before="a text of some bytes and ")
    longer = Compressor("zlib").bits(own.before + text) - Compressor("zlib").bits(own.before)
    assert value("reference_ratio", own) == pytest.approx(sum(BITS) / longer)
    assert value("reference_ratio", evidence(reference=Compressor("zlib"))) == value("zlib_ratio", evidence())
    assert math.isnan(value("reference_ratio", evidence()))
