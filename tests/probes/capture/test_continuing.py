"""A beginning that a batch shares is read once, and every reader sees what it would have seen of whole prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from probes.capture import read_batch
from probes.capture.continuing import FEWEST_SAVED, SHORTEST_BEGINNING, shared_beginning
from probes.capture.prompts import pad
from probes.models import LoadedModel, load_model
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from sparsity import parse_metrics
from tests.tolerances import LOGITS, NEAR_ZERO

SITES = ("resid_post", "mlp_post", "attn_z", "final_norm")


def llama() -> LoadedModel:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return load_model(LlamaForCausalLM(LlamaConfig(**shape, vocab_size=64, max_position_embeddings=256)))


def gpt2() -> LoadedModel:
    return load_model(GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=256)))


def opt() -> LoadedModel:
    shape = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    return load_model(OPTForCausalLM(OPTConfig(**shape, max_position_embeddings=1024, word_embed_proj_dim=32)))


def asked(*, shared: int = 100, own: tuple[int, ...] = (9, 14, 11, 9, 20)) -> list[Prompt]:
    """Prompts of unequal length behind one beginning, each with a target of two tokens."""
    rng = np.random.default_rng(0)
    first = rng.integers(2, 64, shared).tolist()
    found = []
    for length in own:
        ids = [*first, *rng.integers(2, 64, length + 2).tolist()]
        found.append(Prompt(tuple(ids), 0, False, (-1,) * len(ids), shared + length, span=(0, shared + length)))
    return found


@pytest.mark.parametrize("family", [llama, gpt2, opt])
def test_states_and_outcomes_are_those_of_whole_prompts(family, monkeypatch) -> None:
    torch.manual_seed(0)
    model = family()
    sites = resolve_sites(model, SITES)
    ask = {
        "sites": sites,
        "positions": ["last", "mean", "all", "answer"],
        "metrics": parse_metrics(["hoyer", "l2_norm"]),
        "outcomes": ("nll", "mean_nll", "next_token_entropy", "correct"),
        "states": [(sites[-1], "last"), (sites[0], "mean")],
    }
    prompts = asked()
    assert shared_beginning(pad(prompts, model.pad_id)) == 100
    once = read_batch(model, prompts, **ask)
    monkeypatch.setattr("probes.capture.continuing.shared_beginning", lambda _: 0)
    whole = read_batch(model, prompts, **ask)
    for one, other in zip(once.readings, whole.readings, strict=True):
        assert (one.site, one.position) == (other.site, other.position)
        assert (one.item.tolist(), one.token.tolist()) == (other.item.tolist(), other.token.tolist())
        np.testing.assert_allclose(one.values, other.values, rtol=LOGITS, atol=NEAR_ZERO)
    for name, values in whole.outcomes.items():
        np.testing.assert_allclose(once.outcomes[name], values, rtol=LOGITS, atol=NEAR_ZERO)
    for one, other in zip(once.kept, whole.kept, strict=True):
        vectors, expected = (part.data.view(np.float32) for part in (one, other))
        np.testing.assert_allclose(vectors, expected, rtol=LOGITS, atol=NEAR_ZERO)


def test_a_beginning_counts_when_it_saves_something() -> None:
    model = llama()

    def shared(prompts: list[Prompt]) -> int:
        return shared_beginning(pad(prompts, model.pad_id))

    assert shared(asked()[:1]) == 0  # alone
    assert shared(asked(shared=SHORTEST_BEGINNING - 1, own=(9,) * 40)) == 0
    assert shared(asked(shared=SHORTEST_BEGINNING, own=(9,) * (FEWEST_SAVED // SHORTEST_BEGINNING))) == 0
    assert (
        shared(asked(shared=SHORTEST_BEGINNING, own=(9,) * (FEWEST_SAVED // SHORTEST_BEGINNING + 1)))
        == SHORTEST_BEGINNING
    )
    same = asked(own=(30,)) * 5
    assert shared(same) == len(same[0].ids) - 1  # one token is left to read
    short = [*asked(), Prompt(asked()[0].ids[:3], 0, False, (-1,) * 3, None)]
    assert shared(short) == 0


def test_the_beginning_is_read_once() -> None:
    model, seen = llama(), []
    prompts = asked()
    ask = {"sites": resolve_sites(model, ["final_norm"]), "positions": "last", "metrics": parse_metrics(["hoyer"])}
    read_batch(model, prompts, **ask)  # tries once per model that it can go on

    def note(_: torch.nn.Module, __: object, arguments: dict[str, torch.Tensor]) -> None:
        seen.append(tuple(arguments["input_ids"].shape))

    with model.base.register_forward_pre_hook(note, with_kwargs=True):
        read_batch(model, prompts, **ask)
    assert seen == [(1, 100), (5, 22)]
