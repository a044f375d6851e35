"""Five numbers per token: against the definitions in exact arithmetic, and the same in whatever batch or window."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from probes.capture import encode
from probes.capture.logits import reduce_logits
from probes.capture.prompts import pad
from probes.familiarity.surprisals import describe, read_surprisals, surprisal_reader, surprisals_of, windows
from probes.models import LoadedModel, load_model
from tests.tolerances import FLOAT64_SOLVED, LOGITS, REBATCHED, STORED


def finished(model, output, prompt):
    """Surprisals from a pass that is over."""
    (table,) = reduce_logits(model, output, [surprisal_reader([prompt])])
    return surprisals_of([prompt], table)[0]


def reference(logits: np.ndarray, following: int) -> list[float]:
    p = np.exp(logits.astype(np.float64) - np.logaddexp.reduce(logits.astype(np.float64)))
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    there = p > 0
    mean = (p[there] * log_p[there]).sum()
    sd = np.sqrt((p[there] * (log_p[there] - mean) ** 2).sum())
    own = log_p[following]
    above, level = (logits > logits[following]).sum(), (logits == logits[following]).sum()
    return [
        -own / np.log(2),
        (own - mean) / sd,
        above + (level + 1) / 2,
        -mean,
        -np.logaddexp.reduce(logits.astype(np.float64)),
    ]


@given(arrays.arrays(np.float32, (3, 7), elements=st.integers(-60, 60).map(lambda n: n / 4)), st.integers(0, 6))
def test_numbers_are_those_of_the_definition(logits, token):
    if (np.ptp(logits, axis=1) == 0).any():
        return
    found = describe(torch.from_numpy(logits), torch.full((3,), token))
    expected = np.array([reference(row, token) for row in logits]).T
    np.testing.assert_allclose(found.numpy(), expected, rtol=FLOAT64_SOLVED, atol=FLOAT64_SOLVED)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 40.0])
def test_z_has_mean_0_and_variance_1_under_the_models_own_samples(scale):
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * scale
    p = logits.double().softmax(-1)[0]
    z = describe(logits.expand(50, 50), torch.arange(50))[1]
    assert (p * z).sum().item() == pytest.approx(0, abs=FLOAT64_SOLVED)
    assert (p * z**2).sum().item() == pytest.approx(1, rel=FLOAT64_SOLVED)


@pytest.mark.parametrize("apart", [1e-3, 1.0, 10.0, 30.0])
def test_z_survives_one_token_before_many_that_are_alike_where_moments_about_the_maximum_cancel_most(apart):
    n = 250_000
    logits = torch.full((1, n), -apart, dtype=torch.float64)
    logits[0, 0] = 0
    p = 1 / (1 + (n - 1) * np.exp(-apart))
    first, other = describe(logits.expand(2, n), torch.tensor([0, 1]))[1].tolist()
    assert first == pytest.approx(np.sqrt((1 - p) / p), rel=FLOAT64_SOLVED)
    assert other == pytest.approx(-np.sqrt(p / (1 - p)), rel=FLOAT64_SOLVED)


def test_z_survives_a_prediction_that_is_nearly_certain_where_second_moments_cancel():
    logits = torch.zeros(1, 50, dtype=torch.float32)
    logits[0, 3] = 40.0
    p = logits.double().softmax(-1)[0]
    z = describe(logits.expand(50, 50), torch.arange(50))[1]
    assert (p * z**2).sum().item() == pytest.approx(1, rel=STORED)
    naive = (p * p.log() ** 2).sum() - (p * p.log()).sum() ** 2
    half = logits.half().log_softmax(-1)
    assert naive > 0
    assert (half.exp() * half**2).sum() - (half.exp() * half).sum() ** 2 <= 0


def test_a_uniform_prediction_has_no_z_and_a_middle_rank():
    surprisal, z, rank, entropy, _ = describe(torch.full((1, 8), 2.5), torch.tensor([5]))[:, 0].tolist()
    assert (surprisal, rank, entropy) == (3.0, 4.5, pytest.approx(np.log(8)))
    assert np.isnan(z)


def test_impossible_tokens_cost_infinitely_much_and_leave_the_rest_alone():
    logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]]).expand(2, 4)
    found = describe(logits, torch.tensor([1, 2])).T.tolist()
    assert found[0][:4] == [1.0, pytest.approx(np.nan, nan_ok=True), 1.5, pytest.approx(np.log(2))]
    assert found[1][0] == np.inf


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_give_nan_in_their_row_only(bad):
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    logits[1, 2] = bad
    found = describe(logits, torch.tensor([0, 1, 2]))
    assert found[:, 1].isnan().all()
    assert found[:, [0, 2]].isfinite().all()


def test_a_row_that_nothing_follows_has_only_its_own_numbers():
    found = describe(torch.randn(1, 6), torch.tensor([-1]))[:, 0]
    assert found[:3].isnan().all()
    assert found[3:].isfinite().all()


def test_rows_and_tokens_are_one_apart(tiny: LoadedModel):
    prompt = encode(tiny, "the cat sat on the mat")
    batch = pad([prompt], tiny.pad_id)
    own = finished(tiny, tiny.run(batch), prompt)
    with torch.inference_mode():
        log_p = tiny.module(input_ids=batch.ids).logits[0].double().log_softmax(-1)
    assert np.isnan([own.surprisal[0], own.z[0], own.rank[0]]).all()
    for t in range(1, len(prompt.ids)):
        assert own.surprisal[t] == pytest.approx(-log_p[t - 1, prompt.ids[t]].item() / np.log(2), rel=REBATCHED)
    for t in range(len(prompt.ids)):
        assert own.entropy[t] == pytest.approx(-(log_p[t].exp() * log_p[t]).sum().item(), rel=REBATCHED)


def test_batches_change_nothing(tiny: LoadedModel):
    texts = ["the cat sat", "a dog ran under the tree and saw one cat", "two", "three dog five six on the mat"]
    prompts = [encode(tiny, text) for text in texts]
    for alone, together in zip(
        read_surprisals(tiny, prompts, batch_size=1), read_surprisals(tiny, prompts, batch_size=4), strict=True
    ):
        np.testing.assert_allclose(alone, together, rtol=LOGITS, atol=LOGITS)


@given(st.integers(1, 60), st.integers(0, 1), st.integers(3, 20))
def test_windows_answer_for_every_row_once_with_half_a_context_before_it(n, n_special, context):
    from probes.vocabulary.prompt import Prompt

    prompt = Prompt(tuple(range(n)), min(n_special, n), False, (-1,) * n, None)
    rows = []
    for window in windows(prompt, context):
        ids = window.prompt.ids
        assert len(ids) <= context
        own = list(range(window.local, len(ids)))
        assert [ids[local] for local in own] == list(range(window.row, window.row + len(own)))
        assert window.row == 0 or window.local - n_special >= (context - n_special) // 2
        rows += range(window.row, window.row + len(own))
    assert rows == list(range(n))


def test_a_long_text_is_read_in_windows(tiny: LoadedModel):
    from probes.familiarity.texts import read_text

    words = "the cat sat on a mat and saw one dog under two three four five six"
    prompt = read_text(tiny, " ".join([words] * 5)).prompt
    assert tiny.context_length is not None
    assert len(prompt.ids) > 2 * tiny.context_length
    found = read_surprisals(tiny, [prompt])[0]
    assert np.isfinite(found.surprisal[1:]).all()
    assert np.isfinite(found.entropy).all()
    second = windows(prompt, tiny.context_length)[1]
    alone = finished(tiny, tiny.run(pad([second.prompt], tiny.pad_id)), second.prompt)
    np.testing.assert_allclose(
        found.surprisal[second.row + 1 : second.row + 4],
        alone.surprisal[second.local + 1 : second.local + 4],
        rtol=LOGITS,
    )


def test_a_model_without_a_head_is_refused():
    from transformers import LlamaConfig, LlamaModel

    from probes.errors import InputError

    shape = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    model = load_model(LlamaModel(LlamaConfig(num_attention_heads=1, **shape)))
    with pytest.raises(InputError, match="does not predict"):
        read_surprisals(model, [encode(model, [1, 2, 3])])
