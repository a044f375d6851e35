import numpy as np
import pytest
import torch

import sparsity
from probes.capture import capture_states, collect
from probes.errors import InputError
from probes.models import load_model
from tests.probes.conftest import tiny_llama
from tests.tolerances import REBATCHED

INDEX = ["run_id", "example_id", "site", "layer", "unit", "basis", "position", "token"]


@pytest.mark.parametrize("positions", ["last", "all", "1:4"])
def test_metrics_of_the_states_are_those_that_collect_gives_at_the_same_index(llama, prompts, positions):
    sites = ["final_norm", "attn_z.1", "resid_post.1"]
    states = capture_states(llama, prompts, sites, positions, batch_size=2)
    states["value"] = [float(sparsity.hoyer(vector)) for vector in states.vector]
    frame = collect(llama, prompts, sites, positions, "hoyer")
    if positions == "1:4":
        states = states.groupby(INDEX[:-1], sort=False)["value"].mean().reset_index()
    assert len(states) == len(frame)
    for column in set(INDEX) & set(states.columns):
        assert states[column].tolist() == frame[column].tolist(), column
    np.testing.assert_allclose(states["value"], frame["value"], rtol=REBATCHED)


def test_states_of_half_precision_models_are_the_same_numbers_in_float32(prompts):
    model = load_model(tiny_llama().bfloat16())
    vector = capture_states(model, prompts[:1], "resid_post.1").vector[0]
    with torch.inference_mode():
        shown = model.base(input_ids=torch.tensor(prompts[:1]), output_hidden_states=True).hidden_states[2]
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, shown[0, -1].float().numpy())


def test_states_are_copies_that_later_passes_leave_alone(llama, prompts):
    first = capture_states(llama, prompts, "resid_post", "all")
    before = [vector.copy() for vector in first.vector]
    capture_states(llama, prompts[::-1], "resid_post", "all")
    for one, other in zip(first.vector, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_text_is_not_a_list_of_prompts(llama):
    with pytest.raises(InputError, match="must be a list of texts"):
        capture_states(llama, "one text")
