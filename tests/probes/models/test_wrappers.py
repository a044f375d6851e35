"""Causal models that also see: their text is read as that of any causal model, head included."""

import numpy as np
import pytest
import torch
import transformers

import sparsity
from probes.capture import capture_states, read_batch
from probes.models import load_model
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from tests.tolerances import LOGITS, NEAR_ZERO, REBATCHED

TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
SIGHT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,  # as many as the text has: which stack is which is not a matter of their number
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
PLACES = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
FAMILIES = {
    "Llava": {
        "text_config": {"model_type": "llama", **TEXT},
        "vision_config": {"model_type": "clip_vision_model", **SIGHT},
    },
    "Mistral3": {
        "text_config": {"model_type": "mistral", **TEXT},
        "vision_config": {"model_type": "pixtral", "head_dim": 8, **SIGHT},
        "image_token_index": 10,
    },
    "Gemma3": {
        "text_config": TEXT | {"sliding_window": 8},
        "vision_config": SIGHT,
        "mm_tokens_per_image": 4,
        "image_token_index": 98,
    },
    "Qwen2_5_VL": {
        "text_config": TEXT | PLACES,
        "vision_config": {
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
        },
    },
}


@pytest.mark.parametrize("name", FAMILIES)
def test_states_and_outcomes_are_those_of_the_text_model(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**FAMILIES[name])
    module = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    model = load_model(module)
    ids = [1, 5, 9, 4, 7, 3]
    with torch.no_grad():
        seen = module(input_ids=torch.tensor([ids]), output_hidden_states=True)
    states = capture_states(model, [ids], ["resid_post.0", "resid_post.1", "final_norm"], "last")
    for found, layer in zip(states["vector"], (1, 2, -1), strict=True):
        np.testing.assert_allclose(found, seen.hidden_states[layer][0, -1], rtol=REBATCHED, atol=NEAR_ZERO)
    prompt = Prompt(tuple(ids), 0, False, (-1,) * len(ids), 4)
    (nll,) = read_batch(
        model,
        [prompt],
        sites=resolve_sites(model, ["final_norm"]),
        positions="last",
        metrics=sparsity.parse_metrics("hoyer"),
        outcomes=["nll"],
    ).outcomes["nll"]
    log_p = seen.logits[0].double().log_softmax(-1)
    assert nll == pytest.approx(-float(log_p[3, 7] + log_p[4, 3]) / 2, rel=LOGITS)
