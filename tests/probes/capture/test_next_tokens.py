"""Next-token distributions: the model's own, whatever stands in the same batch, and the rest as one outcome."""

import numpy as np
import pytest
import torch

from probes import load_model
from probes.capture.next_tokens import next_token_chances
from probes.errors import InputError
from tests.tolerances import FLOAT64, LOGITS

TEXTS = ["Once upon a time", "Tom had a red ball and", "She"]


@pytest.mark.numeric
def test_chances_are_those_of_a_pass_of_each_prompt_alone(stories):
    model = load_model(stories)
    found = next_token_chances(model, TEXTS, kept=6)
    assert found.chances.sum(axis=1) == pytest.approx(np.ones(3))
    whole = []
    for text in TEXTS:
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        whole.append(model.module(input_ids=ids).logits[0, -1].double().softmax(-1).detach().numpy())
    likeliest = np.sort(np.argsort(-np.mean(whole, axis=0))[:6])
    assert found.ids.tolist() == likeliest.tolist()
    np.testing.assert_allclose(found.chances[:, :-1], np.array(whole)[:, likeliest], rtol=LOGITS)
    one_by_one = next_token_chances(model, TEXTS, kept=6, batch_size=1)
    np.testing.assert_allclose(found.chances, one_by_one.chances, rtol=LOGITS, atol=LOGITS)


def test_a_vocabulary_smaller_than_what_is_kept_leaves_nothing_over_and_none_is_refused(stories):
    model = load_model(stories)
    found = next_token_chances(model, TEXTS, kept=10**6)
    assert found.chances.shape == (3, len(found.ids) + 1)
    assert found.chances[:, -1] == pytest.approx(np.zeros(3), abs=FLOAT64)
    with pytest.raises(InputError, match="expected 1 token or more, got 0"):
        next_token_chances(model, TEXTS, kept=0)
