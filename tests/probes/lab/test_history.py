"""A training on its way: what is written of it is what the next start goes on from."""

import torch

from probes.lab.history import load_state, save_state
from tests.probes.conftest import tiny_llama


def test_tied_weights_come_back_as_they_were(tmp_path):
    module = tiny_llama(tie_word_embeddings=True)
    weights = {name: weight.clone() for name, weight in module.state_dict().items()}
    assert module.lm_head.weight.data_ptr() == module.model.embed_tokens.weight.data_ptr()
    save_state(tmp_path, {"task": 1}, module.state_dict(), {}, {"losses": torch.zeros(2)})
    with torch.no_grad():
        module.lm_head.weight.zero_()
    state = load_state(tmp_path, {"task": 1})
    assert state is not None
    module.load_state_dict(state.weights)
    assert all(torch.equal(weight, weights[name]) for name, weight in module.state_dict().items())
