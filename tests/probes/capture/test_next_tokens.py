"""Next-token distributions: the model's own, whatever stands in the same batch, kept by a sweep item by item."""

import numpy as np
import pytest
import torch

from probes import open_run, run_sweep
from probes.capture.next_tokens import OF_EACH
from probes.errors import InputError
from tests.tolerances import LOGITS

SUITE = {"name": "concepts", "limit": 2, "templates": ["Tom had a {item}"]}


@pytest.mark.numeric
def test_a_sweep_keeps_the_likeliest_tokens_after_the_item_itself(stories, tmp_path):
    spec = {"models": [stories.name], "suites": [SUITE], "sites": ["final_norm"], "positions": ["answer"]}
    spec |= {"metrics": ["hoyer"], "outcomes": ["nll", "next_tokens"], "controls": "none"}
    run_sweep(spec, tmp_path / "sweep")
    run, model = open_run(tmp_path / "sweep"), stories
    assert set(run.outcomes()["name"]) == {"nll"}  # a distribution is no number
    rows = run.next_tokens().set_index("example_id")
    inputs = run.inputs().set_index("example_id")
    assert set(rows.index) == set(inputs.index)
    for name, row in rows.iterrows():
        ids = torch.tensor([list(inputs.loc[name, "token_ids"])])
        whole = model.module(input_ids=ids).logits[0, -1].double().softmax(-1).detach().numpy()
        assert len(row["tokens"]) == min(OF_EACH, len(whole))
        np.testing.assert_allclose(row["chances"], whole[row["tokens"]], rtol=LOGITS)
        assert np.min(row["chances"]) >= np.sort(whole)[-len(row["tokens"])] * (1 - LOGITS)
    again = run_sweep(spec, tmp_path / "sweep")
    assert again.n_measured == 0


def test_tokens_are_not_kept_where_no_text_is(stories, tmp_path):
    spec = {"models": [stories.name], "suites": [SUITE], "outcomes": ["next_tokens"], "no_text": True}
    with pytest.raises(InputError, match="next_tokens keeps tokens, which no_text forbids"):
        run_sweep(spec, tmp_path / "sweep")
