"""TransformerLens's bridge against plain hooks: the same weights, the same numbers."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import probes
import sparsity
from probes.capture import capture_states, collect, encode, read_batch
from probes.capture.verification.verdict import verify
from probes.errors import InputError
from probes.models import LoadedModel, load_model
from probes.vocabulary.sites import HOOKS, SiteKind, resolve_sites
from sparsity import parse_metrics
from tests.probes.models.families import FAMILIES, NEOX, build
from tests.probes.models.test_families import prompts_of
from tests.tolerances import LOGITS, NEAR_ZERO, REBATCHED, TWO_ROUTES

WRAPPED = ["gpt2", "gpt_neox", "llama", "gemma2", "qwen3", "phi3", "bloom", "opt", "mixtral", "mamba", "t5"]
METRICS = ["gini", "hoyer", "participation_ratio", "l2_norm"]
# largest relative difference of a metric seen over these families: 3e-6 (kernels differ); other weights: 1e-1
AGREE = REBATCHED
OUTCOMES = ["next_token_entropy", "mean_next_token_entropy"]


def bridge_of(module):
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    with contextlib.redirect_stdout(io.StringIO()):
        return build_bridge_from_module(module, architecture=type(module).__name__, hf_config=module.config)


@cache
def pair_of(name: str) -> tuple[LoadedModel, object]:
    with torch.random.fork_rng():
        return load_model(build(name)), bridge_of(build(name))


@pytest.mark.parametrize("name", WRAPPED)
def test_a_bridge_and_its_model_give_the_same_numbers(name):
    plain, bridge = pair_of(name)
    wrapped = load_model(bridge)
    assert wrapped.attention == "transformer_lens"
    assert list(wrapped.sites) == list(plain.sites)
    ids = [list(prompt.ids) for prompt in prompts_of(plain)]
    sites = [str(site) for site in wrapped.sites]
    one, other = (collect(model, ids, sites, ["last", "mean"], METRICS) for model in (plain, bridge))
    assert one.drop(columns=["run_id", "value"]).equals(other.drop(columns=["run_id", "value"]))
    np.testing.assert_allclose(other.value, one.value, rtol=AGREE, atol=NEAR_ZERO)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_outcomes_come_through_the_bridges_own_unembedding(family):
    plain, bridge = pair_of(family)
    found = []
    for model in (plain, load_model(bridge)):
        prompts = prompts_of(model)
        sites = resolve_sites(model, ["final_norm"])
        options = {"positions": "last", "metrics": parse_metrics(["gini"]), "outcomes": OUTCOMES}
        found.append(read_batch(model, prompts, sites=sites, **options).outcomes)
    for name in OUTCOMES:
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=REBATCHED)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_hook_names_lead_to_the_tensors_that_the_bridge_caches_under_them(name):
    _, bridge = pair_of(name)
    loaded = load_model(bridge)
    ids = list(prompts_of(loaded)[1].ids)
    _, cache_ = bridge.run_with_cache(torch.tensor([ids]))
    checked = set()
    for hook in HOOKS:
        key = hook if hook in {"hook_embed", "ln_final.hook_out"} else f"blocks.1.{hook}"
        if key not in cache_:
            continue
        states = capture_states(loaded, [ids], key, "all")
        theirs = cache_[key][0].reshape(len(ids), -1).numpy()
        ours = np.stack(states.sort_values(["token", "unit"]).vector.to_list()).reshape(len(ids), -1)
        np.testing.assert_allclose(ours, theirs, rtol=REBATCHED, atol=NEAR_ZERO, err_msg=key)
        checked.update(states.site)
    assert {"resid_pre", "resid_post", "attn_z", "attn_out", "mlp_post", "mlp_out", "final_norm"} <= checked
    assert ("mlp_gate" in checked) == (name in {"llama", "gemma2"})


def test_a_hook_name_that_this_model_has_not_is_an_error_like_any_other_site():
    plain, _ = pair_of("gpt_neox")
    with pytest.raises(InputError, match=r"no site 'blocks.0.hook_resid_mid' \(attention and MLP read the same"):
        resolve_sites(plain, ["blocks.0.hook_resid_mid"])
    with pytest.raises(InputError, match=r"its resid_post layers are 0\.\.2"):
        resolve_sites(plain, ["blocks.3.hook_resid_post"])
    with pytest.raises(InputError, match="is not written like"):
        resolve_sites(plain, ["blocks.0.hook_nothing"])
    assert [site.kind for site in resolve_sites(plain, ["blocks.0.mlp.hook_pre"])] == [SiteKind.MLP_PRE]


def test_processed_weights_are_refused_because_they_are_another_networks_states():
    plain, _ = pair_of("llama")
    module = build("llama")
    bridge = bridge_of(module)
    bridge.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(InputError, match="weights are processed"):
        load_model(bridge)
    with pytest.raises(InputError, match="weights are processed"):
        collect(bridge, [[1, 2, 3]])
    # the refusal is no formality: what the bridge calls the final norm has moved, and the predictions have not
    ids = torch.tensor([prompts_of(plain)[1].ids])
    logits, cache_ = bridge.run_with_cache(ids)
    with torch.inference_mode():
        torch.testing.assert_close(
            logits.log_softmax(-1), plain.module(ids).logits.log_softmax(-1), rtol=TWO_ROUTES, atol=LOGITS
        )
    ours = collect(plain, ids.tolist(), "final_norm", "last", "hoyer").value[0]
    theirs = float(sparsity.hoyer(cache_["ln_final.hook_out"][0, -1].numpy()))
    assert abs(theirs - ours) > 0.01


def test_compatibility_mode_without_processing_is_the_same_model():
    plain, _ = pair_of("gpt2")
    bridge = bridge_of(build("gpt2"))
    bridge.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    ids = [list(prompt.ids) for prompt in prompts_of(plain)]
    one, other = (collect(model, ids, "resid_post", "mean", METRICS) for model in (plain, bridge))
    np.testing.assert_allclose(other.value, one.value, rtol=AGREE)


def test_a_model_that_a_bridge_has_taken_over_is_asked_for_as_the_bridge():
    module = build("gpt2")
    bridge = bridge_of(module)
    with pytest.raises(InputError, match="hand in the bridge"):
        load_model(module)
    assert load_model(bridge).module is module


def test_hooks_of_the_users_own_are_in_force_and_left_alone():
    plain, bridge = pair_of("gpt2")
    ids = [list(prompt.ids) for prompt in prompts_of(plain)]
    untouched = collect(bridge, ids, "resid_post", "last", "gini")
    with bridge.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", lambda tensor, hook: tensor * 0)]):  # noqa: ARG005  the name is theirs
        states = capture_states(bridge, ids, ["resid_mid.1", "resid_post.1"], "last")
    mid, post = (np.stack(states[states.site == kind].vector.to_list()) for kind in ("resid_mid", "resid_post"))
    np.testing.assert_array_equal(post, mid)
    again = collect(bridge, ids, "resid_post", "last", "gini")
    np.testing.assert_array_equal(again.value, untouched.value)


def test_bridges_that_compute_something_else_than_their_model_are_refused():
    import transformers

    gpt1 = transformers.OpenAIGPTConfig(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    falcon = transformers.FalconConfig(**NEOX, alibi=True)
    for module in (transformers.OpenAIGPTLMHeadModel(gpt1), transformers.FalconForCausalLM(falcon)):
        with pytest.raises(InputError, match="hand in the model itself"):
            load_model(bridge_of(module.eval()))
    assert "falcon_sequential" in FAMILIES, "the bare model has a table of its own"


def test_a_bridge_around_anything_else_than_a_transformers_model_is_refused():
    from transformer_lens.model_bridge import TransformerBridge

    settings = {"d_model": 32, "n_layers": 2, "n_heads": 4, "d_head": 8, "d_mlp": 64, "n_ctx": 32, "d_vocab": 99}
    bridge = TransformerBridge.boot_native(settings | {"act_fn": "gelu", "normalization_type": "LN", "seed": 0})
    with pytest.raises(InputError, match="around a transformers model"):
        load_model(bridge)


def test_a_bridge_passes_the_self_checks(stories):
    from transformer_lens.model_bridge import TransformerBridge

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        bridge = TransformerBridge.boot_transformers(stories.name)
    wrapped = load_model(bridge)
    assert wrapped.tokenizer is bridge.tokenizer
    text = "Once upon a time there was a little girl"
    assert encode(wrapped, text).ids == encode(stories, text).ids
    assert {check.name for check in verify(wrapped) if check.verdict == "fail"} == set()
    one, other = (collect(model, [text], ["resid_post", "final_norm"], "mean", METRICS) for model in (stories, bridge))
    np.testing.assert_allclose(other.value, one.value, rtol=AGREE)


def test_transformer_lens_is_imported_by_nobody_but_the_user():
    package = Path(probes.__file__).parent
    importing = re.compile(r"^\s*(import|from) transformer_lens", re.MULTILINE)
    assert [path.name for path in package.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))] == []
