"""Routing measures against transformers' own router logits, and routers whose answer is known."""

import numpy as np
import pytest
import torch

from probes.capture.routing import collect_routing
from probes.errors import InputError
from probes.models import load_model
from probes.records.schema import SCHEMAS
from tests.probes.models.families import build
from tests.probes.models.test_families import model_of, prompts_of
from tests.tolerances import FLOAT64_SOLVED, NEAR_ZERO, REBATCHED, STORED

MIXTURES = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v2", "deepseek_v3", "jamba"]
EXPERTS, CHOSEN = 4, 2


def table(frame, metric):
    own = frame[frame.metric == metric]
    return own.pivot_table(index="layer", columns="unit", values="value")


@pytest.mark.parametrize("name", MIXTURES)
def test_measures_of_routing_are_in_their_ranges_and_batches_do_not_matter(name):
    model = model_of(name)
    prompts = [list(prompt.ids) for prompt in prompts_of(model)]
    frame = collect_routing(model, prompts)
    assert list(frame.columns) == SCHEMAS["populations"].names
    assert (frame.n_vectors == sum(map(len, prompts))).all()
    load = table(frame, "expert_load")
    np.testing.assert_allclose(load.sum(axis=1), CHOSEN)
    assert load.to_numpy().max() <= 1
    assert 0 < table(frame, "router_entropy").to_numpy().min() < np.log(EXPERTS)
    density = table(frame, "expert_density").to_numpy()
    assert ((density > 1 / EXPERTS) & (density <= CHOSEN / EXPERTS + 1e-9)).all()
    assert (frame.ci_low <= frame.value + 0.1).all()
    alone = collect_routing(model, prompts, batch_size=1)
    np.testing.assert_allclose(alone.value, frame.value, rtol=STORED)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "olmoe"])
def test_they_follow_from_the_router_logits_that_transformers_shows(name):
    model = model_of(name)
    prompts = [list(prompt.ids) for prompt in prompts_of(model)]
    layers = sorted(site.layer for site in model.sites if site.kind == "router_logits")
    logits = [[] for _ in layers]
    for ids in prompts:
        with torch.inference_mode():
            shown = model.module(torch.tensor([ids]), output_router_logits=True).router_logits
        for own, layer in zip(logits, shown, strict=True):
            own.append(layer.double())
    frame = collect_routing(model, prompts)
    for layer, own in zip(layers, map(torch.cat, logits), strict=True):
        p = own.softmax(-1)
        entropy = float(-(p * p.log()).sum(-1).mean())
        chosen = own.topk(CHOSEN).indices
        load = np.bincount(chosen.ravel().numpy(), minlength=EXPERTS) / len(own)
        ours = frame[frame.layer == layer].set_index(["metric", "unit"]).value
        assert ours["router_entropy", -1] == pytest.approx(entropy, rel=REBATCHED)
        np.testing.assert_allclose(ours["expert_load"], load)
        share = load / CHOSEN
        evenness = np.exp(-sum(s * np.log(s) for s in share if s)) / EXPERTS
        assert ours["load_evenness", -1] == pytest.approx(evenness)
        assert ours["unused_experts", -1] == np.mean(load == 0)


def test_a_router_that_always_says_the_same_has_no_entropy_and_uses_few_experts():
    module = build("gpt_oss")
    with torch.no_grad():
        for layer in module.model.layers:
            layer.mlp.router.weight.zero_()
            layer.mlp.router.bias.copy_(torch.tensor([100.0, -100.0, 50.0, -100.0]))
    frame = collect_routing(load_model(module), [[1, 2, 3], [4, 5]])
    for metric, value in (("router_entropy", 0), ("expert_density", 1 / EXPERTS), ("unused_experts", 0.5)):
        np.testing.assert_allclose(table(frame, metric), value, atol=NEAR_ZERO)
    np.testing.assert_allclose(table(frame, "load_evenness"), 0.5)
    np.testing.assert_allclose(table(frame, "expert_load"), [[1, 0, 1, 0]] * 3)
    np.testing.assert_allclose(frame.ci_low, frame.ci_high, atol=FLOAT64_SOLVED)
    with torch.no_grad():
        for layer in module.model.layers:
            layer.mlp.router.bias.zero_()
    undecided = collect_routing(load_model(module), [[1, 2, 3], [4, 5]])
    np.testing.assert_allclose(table(undecided, "router_entropy"), np.log(EXPERTS), rtol=STORED)
    np.testing.assert_allclose(table(undecided, "expert_density"), CHOSEN / EXPERTS, rtol=STORED)


def test_only_the_picked_tokens_count():
    model = model_of("mixtral")
    prompts = [list(prompt.ids) for prompt in prompts_of(model)]
    last = collect_routing(model, prompts, "last")
    assert (last.n_vectors == len(prompts)).all()
    loads = table(last, "expert_load").to_numpy() * len(prompts)
    np.testing.assert_allclose(loads, loads.round())
    with pytest.raises(InputError, match="picks no token"):
        collect_routing(model, prompts, "40:")


def test_a_dense_model_has_no_routing():
    with pytest.raises(InputError, match="no site 'router_logits'"):
        collect_routing(model_of("llama"), [[1, 2]])
