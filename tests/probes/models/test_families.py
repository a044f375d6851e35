"""Every family's sites, derived or from a table, against what transformers itself shows, on tiny random weights."""

from functools import cache

import numpy as np
import pytest
import torch

import sparsity
from probes.capture import read_batch
from probes.capture.prompts import encode, pad
from probes.models import LoadedModel, load_model
from probes.models.hooks import watching
from probes.models.taps.table import FAMILIES as TABLES
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import EMBED_LAYER, Site, SiteKind, resolve_sites
from tests.probes.models.families import FAMILIES, build
from tests.tolerances import NEAR_ZERO, REBATCHED, STORED

PARALLEL = {"gpt_neox", "gptj", "falcon", "falcon_new", "phi", "stablelm_parallel", "cohere", "cohere2"}
POST_NORM = {"opt_post_norm", "bert", "roberta", "bart"}
RECURRENT = {"mamba", "mamba2", "falcon_mamba", "rwkv", "zamba", "zamba2"}
SHIFTED = {"mamba", "mamba2", "falcon_mamba", "rwkv"}  # their hidden_states[i] is the output of block i, not its input
TWO_STACKS = {"t5", "t5_gated", "bart"}
NO_MLP = {"mamba", "mamba2", "falcon_mamba", "zamba", "zamba2"}  # or none that adds to the residual stream
EXPERTS = {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v2", "deepseek_v3", "jamba"}
LENGTHS = (5, 13, 2, 9)


@cache
def model_of(name: str) -> LoadedModel:
    with torch.random.fork_rng():
        return load_model(build(name))


def prompts_of(model: LoadedModel) -> list[Prompt]:
    rng = torch.Generator().manual_seed(5)
    return [encode(model, torch.randint(3, 99, (n,), generator=rng).tolist()) for n in LENGTHS]


def states_of(model: LoadedModel, prompts: list[Prompt]) -> dict[Site, torch.Tensor]:
    """Every state of every site, ``(prompts, longest, width)``."""
    batch = pad(prompts, model.pad_id)
    kept: dict[Site, torch.Tensor] = {}

    def keep(site: Site, vectors: torch.Tensor) -> None:
        kept[site] = vectors.clone().reshape(*batch.ids.shape, -1)

    with watching(model.taps, tuple(model.sites), keep, rows=batch.ids.numel()):
        model.run(batch)
    return kept


def shown_by_transformers(model: LoadedModel, prompt: Prompt) -> dict[str, tuple[torch.Tensor, ...]]:
    ids = torch.tensor([prompt.ids])
    extra = {"decoder_input_ids": ids} if model.module.config.is_encoder_decoder else {}
    with torch.inference_mode():
        output = model.base(input_ids=ids, output_hidden_states=True, use_cache=False, **extra)
    if extra:
        return {"encoder": output.encoder_hidden_states, "decoder": output.decoder_hidden_states}
    return {"": output.hidden_states}


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=STORED, atol=NEAR_ZERO * float(other.abs().max()))


families = pytest.mark.parametrize("name", FAMILIES)


@families
def test_block_outputs_are_hidden_states_and_the_last_of_these_is_normed(name):
    model = model_of(name)
    prompt = prompts_of(model)[1]
    states = states_of(model, [prompt])
    for stack, shown in shown_by_transformers(model, prompt).items():
        depth = 1 + max(s.layer for s in states if s.kind is SiteKind.RESID_POST and s.stack == stack)
        shift = 0 if name in SHIFTED else 1
        for layer in range(depth - 1):
            post = states[Site(SiteKind.RESID_POST, layer, stack)]
            following = states[Site(SiteKind.RESID_PRE, layer + 1, stack)]
            assert torch.equal(post, following)
            assert close(post, shown[layer + shift]), (stack, layer)
        last = states[Site(SiteKind.RESID_POST, depth - 1, stack)]
        norm = states.get(Site(SiteKind.FINAL_NORM, depth, stack))
        if name in POST_NORM:
            assert norm is None
            assert name == "opt_post_norm" or close(last, shown[-1])
        else:
            assert norm is not None
            assert close(norm, shown[-1])
            assert not close(last, shown[-1]), "post-norm taken for resid_post"


@families
def test_attention_and_mlp_add_up_to_the_residual(name):
    """resid_pre + attn_out = resid_mid and resid_mid + mlp_out = resid_post, or all at once in parallel blocks."""
    model = model_of(name)
    states = states_of(model, prompts_of(model)[:2])
    checked = 0
    for site, post in states.items():
        if site.kind is not SiteKind.RESID_POST:
            continue
        own = {kind: states.get(Site(kind, site.layer, site.stack)) for kind in SiteKind}
        pre, mid, attn, mlp = (
            own[k] for k in (SiteKind.RESID_PRE, SiteKind.RESID_MID, SiteKind.ATTN_OUT, SiteKind.MLP_OUT)
        )
        if name in NO_MLP:
            assert (mid, attn, mlp) == (None, None, None)
            continue
        checked += 1
        if name in POST_NORM:
            assert not close(mid + mlp, post)
            centred = mid + mlp - (mid + mlp).mean(-1, keepdim=True)
            block = model.taps.points[Site(SiteKind.RESID_POST, site.layer, site.stack)].module
            norm = block.output.LayerNorm if hasattr(block, "output") else block.final_layer_norm
            rebuilt = centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias
            assert torch.allclose(rebuilt, post, atol=REBATCHED)
        elif name in PARALLEL:
            assert mid is None
            assert close(pre + attn + mlp, post)
        else:
            assert close(mid + mlp, post)
            if attn is not None and site.stack != "decoder":
                assert close(pre + attn, mid)
    assert checked or name in NO_MLP


@pytest.mark.numeric
@families
def test_padding_batch_and_order_change_no_metric(name):
    model = model_of(name)
    prompts = prompts_of(model)
    options = {
        "sites": tuple(model.sites),
        "positions": "all",
        "metrics": sparsity.parse_metrics(["gini", "participation_ratio", "l2_norm"]),  # order, energy, size
    }
    together = read_batch(model, prompts, **options).readings
    order = [2, 0, 3, 1]
    mixed = read_batch(model, [prompts[i] for i in order], **options).readings
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index].ids))
    for index in (by_length[0], by_length[-1]):  # the one with the most padding and the one with none
        alone = read_batch(model, [prompts[index]], **options).readings
        for a, b, c in zip(alone, together, mixed, strict=True):
            assert a.site == b.site == c.site
            within = {"rtol": REBATCHED, "atol": NEAR_ZERO, "err_msg": str(a.site)}
            np.testing.assert_allclose(b.values[b.item == index], a.values, **within)
            np.testing.assert_allclose(c.values[c.item == order.index(index)], a.values, **within)


@families
def test_every_kind_of_site_is_there_or_said_to_be_absent(name):
    model = model_of(name)
    there = {site.kind for site in model.sites}
    assert there | set(model.lacks) == set(SiteKind)
    assert not there & set(model.lacks)
    assert {SiteKind.RESID_PRE, SiteKind.RESID_POST} <= there
    assert (SiteKind.RESID_MID in there) == (name not in PARALLEL | NO_MLP)
    assert (SiteKind.ROUTER_LOGITS in there) == (name in EXPERTS)
    assert (SiteKind.SSM_STATE in there) == (name in RECURRENT | {"recurrent_gemma", "jamba"})
    assert (SiteKind.MLP_OUT in there) == (name not in NO_MLP)
    stacks = {site.stack for site in model.sites}
    assert stacks == ({"encoder", "decoder"} if name in TWO_STACKS else {""})


@families
def test_widths_are_those_of_the_configuration(name):
    model = model_of(name)
    for site in model.sites:
        width = model.width(site)
        if site.kind in {SiteKind.RESID_PRE, SiteKind.RESID_POST, SiteKind.FINAL_NORM, SiteKind.MLP_OUT}:
            assert width == 32
        elif site.kind is SiteKind.ATTN_Z:
            assert width == (16 if name in {"zamba", "zamba2"} else 8)
        elif site.kind is SiteKind.ROUTER_LOGITS:
            assert width == 4
        elif site.kind is SiteKind.EMBED:
            assert site.layer == EMBED_LAYER
            assert width == (16 if name == "opt_post_norm" else 32)


def test_heads_are_read_one_by_one():
    model = model_of("llama")
    prompt = prompts_of(model)[1]
    sites = resolve_sites(model, ["attn_z.1"])
    result = read_batch(model, [prompt], sites=sites, positions="last", metrics=sparsity.parse_metrics(["gini"]))
    whole = states_of(model, [prompt])[sites[0]][0, -1].reshape(4, 8)
    assert [reading.unit for reading in result.readings] == [0, 1, 2, 3]
    np.testing.assert_allclose([r.values[0, 0] for r in result.readings], sparsity.gini(whole).numpy(), rtol=STORED)


@pytest.mark.parametrize(
    ("name", "activation"),
    [("llama", torch.nn.functional.silu), ("phi3", torch.nn.functional.silu), ("modernbert", torch.nn.functional.gelu)],
)
def test_what_enters_the_down_projection_is_the_gated_product(name, activation):
    """The halves of a fused projection are told apart: the wrong way round gives another product."""
    states = states_of(model_of(name), prompts_of(model_of(name)))
    pre, gate, post = (states[Site(k, 1)] for k in (SiteKind.MLP_PRE, SiteKind.MLP_GATE, SiteKind.MLP_POST))
    assert pre.shape == gate.shape == post.shape
    assert close(activation(gate) * pre, post)
    assert not close(activation(pre) * gate, post)


@pytest.mark.parametrize("name", sorted(EXPERTS))
def test_router_logits_are_what_the_routers_weights_give_before_any_softmax(name):
    model = model_of(name)
    prompt = prompts_of(model)[1]
    states = states_of(model, [prompt])
    for site in (site for site in states if site.kind is SiteKind.ROUTER_LOGITS):
        router, seen = model.taps.points[site].module, []
        handle = router.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].reshape(-1, 32)))
        model.run(pad([prompt], model.pad_id))
        handle.remove()
        with torch.inference_mode():
            logits = torch.nn.functional.linear(seen[0], router.weight, getattr(router, "bias", None))
        assert close(logits, states[site][0]), site


def test_every_table_is_tested():
    assert set(TABLES) <= {model_of(name).taps.family for name in FAMILIES} | {"xlm-roberta", "camembert"}


def test_sites_of_half_precision_are_those_of_float32():
    """Proofs are up to rounding, and rounding is coarse there; at 0.02 the contributions are near it."""
    for name in ("gpt2", "gemma2", "olmo2", "bloom", "mixtral", "jamba"):
        with torch.random.fork_rng():
            half = load_model(build(name).to(torch.bfloat16))
        assert list(half.sites) == list(model_of(name).sites), name
