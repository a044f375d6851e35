"""A sound model passes every check, and each planted fault fails the checks that are there to catch it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.capture import reading
from probes.capture.verification import verdict
from probes.models import LoadedModel, load_model
from probes.models.batch import Batch
from probes.models.taps import Point, Taps
from probes.models.taps.table import descend
from probes.vocabulary import positions
from probes.vocabulary.sites import Site
from tests.probes.conftest import tiny_llama
from tests.probes.models.families import build
from tests.tolerances import REBATCHED

JUDGED = [
    "hooks leave no trace",
    "hidden states",
    "residual identity",
    "final norm",
    "alone or padded",
    "eager or sdpa",
]


def verdicts(model: LoadedModel, *asked: str) -> dict[str, str]:
    """Verdicts of the asked checks, or of all of them."""
    names = asked or tuple(verdict.CHECKS)
    prompts = verdict._prompts(model)
    return {name: verdict._judge(name, verdict.CHECKS[name], model, prompts).verdict for name in names}


def moved(model: LoadedModel, site: str, point: Point) -> LoadedModel:
    """The same model with one site's hook in another place."""
    points = dict(model.taps.points)
    points[Site.parse(site, n_layers=model.n_layers)] = point
    taps = Taps(points, model.taps.n_layers, model.taps.lacks, model.taps.family)
    return replace(model, taps=taps, _widths={})


def test_a_trained_model_passes_with_states_that_agree_to_float32_rounding(stories):
    found = verdict.verify(stories)
    assert [check.name for check in found] == list(verdict.CHECKS)
    assert [check.verdict for check in found] == ["pass"] * 6 + ["described"] * 2
    judged = found[:6]
    assert all(check.states < REBATCHED for check in judged)
    assert all(value < 2 * REBATCHED for check in judged for value in check.metrics.values())
    assert {check.name for check in judged if check.metrics} == {"hidden states", "alone or padded", "eager or sdpa"}
    assert stories.module.config._attn_implementation == "sdpa", "verifying changes nothing about the model"


@pytest.mark.parametrize("name", ["bert", "mamba", "t5"])
def test_sound_models_of_other_families_pass(name):
    with torch.random.fork_rng():
        found = verdicts(load_model(build(name)))
    assert "fail" not in found.values()


def test_half_precision_passes_within_its_own_tolerance(stories):
    model = load_model(stories.name, dtype="bfloat16")
    found = verdict.verify(model)
    assert "fail" not in {check.verdict for check in found}
    assert found[2].states > REBATCHED, "sums in bfloat16 cannot agree to float32 rounding"


def test_sites_without_a_finite_token_are_said_to_be_unchecked():
    module = tiny_llama()
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[:] = torch.inf
    model = load_model(module)
    found = {check.name: check for check in verdict.verify(model)}
    assert "not checked, since no token is finite there" in found["hidden states"].detail
    assert "resid_post.1" in found["hidden states"].detail
    assert found["final norm"].verdict == "skipped", "nothing was compared, so nothing has passed"
    assert found["hooks leave no trace"].verdict == "pass", "NaN in the same places is the same output"


@pytest.mark.parametrize(
    ("site", "path", "caught_by"),
    [
        ("resid_post.1", "layers.1.mlp", {"hidden states", "residual identity"}),
        ("resid_post.1", "layers.2", {"hidden states", "residual identity"}),
        ("resid_post.2", "norm", {"residual identity", "final norm"}),
        ("final_norm", "layers.2", {"hidden states", "final norm"}),
        ("attn_out.1", "layers.1.self_attn.q_proj", {"residual identity"}),
        ("mlp_out.0", "layers.0.mlp.act_fn", {"residual identity"}),
        ("resid_mid.2", "layers.2.self_attn", {"residual identity"}),
    ],
)
def test_a_hook_on_the_wrong_module_is_caught(llama, site, path, caught_by):
    module = descend(llama.base, path)
    assert module is not None
    found = verdicts(moved(llama, site, Point(module, "out")), *JUDGED[:4])
    assert {name for name, verdict in found.items() if verdict == "fail"} == caught_by


def test_a_hook_on_the_wrong_side_is_caught(llama):
    block = llama.taps.points[Site.parse("resid_post.1")].module
    found = verdicts(moved(llama, "resid_post.1", Point(block, "in")), *JUDGED[:4])
    assert found["hidden states"] == found["residual identity"] == "fail"


def test_the_mildest_wrong_module_is_far_outside_the_tolerance(llama):
    block = llama.taps.points[Site.parse("resid_post.1")].module
    check = verdict.CHECKS["hidden states"](moved(llama, "resid_post.1", Point(block, "in")), verdict._prompts(llama))
    assert check.states > 0.2
    assert check.where == "resid_post.1"


def test_an_off_by_one_position_is_caught(llama, monkeypatch):
    before = positions.Selector("last", lambda prompt: range(max(prompt.end - 2, 0), prompt.end - 1), each=True)
    monkeypatch.setitem(positions.SELECTORS, "last", before)
    assert verdicts(llama, "hidden states") == {"hidden states": "fail"}


def test_a_mean_that_takes_the_special_token_along_is_caught(stories, monkeypatch):
    everything = positions.Selector("mean", lambda prompt: range(prompt.end))
    monkeypatch.setitem(positions.SELECTORS, "mean", everything)
    assert verdicts(stories, "hidden states") == {"hidden states": "fail"}


def test_padding_taken_for_tokens_is_caught(llama, monkeypatch):
    original = reading.Picks.of.__func__

    def shifted(cls, prompts, selectors):
        longest = max(len(prompt.ids) for prompt in prompts)
        padded = [replace(p, ids=p.ids + (0,) * (longest - len(p.ids)), target_start=None) for p in prompts]
        return original(cls, padded, selectors)

    monkeypatch.setattr(reading.Picks, "of", classmethod(shifted))
    assert verdicts(llama, "alone or padded") == {"alone or padded": "fail"}


def test_an_ignored_mask_is_caught(monkeypatch):
    with torch.random.fork_rng():
        model = load_model(build("bert"))
    monkeypatch.setattr(
        LoadedModel, "run", lambda self, batch, run=LoadedModel.run: run(self, Batch(batch.ids, batch.mask * 0 + 1))
    )
    assert verdicts(model, "alone or padded") == {"alone or padded": "fail"}


def test_a_hook_that_changes_the_output_is_caught():
    module = tiny_llama()
    model = load_model(module)
    original = module.model.layers[0].forward

    def nosy(*args, **kwargs):
        """Answers differently as soon as anybody watches."""
        output = original(*args, **kwargs)
        return output * 1.001 if module.model.layers[0]._forward_hooks else output

    module.model.layers[0].forward = nosy
    assert verdicts(model, "hooks leave no trace") == {"hooks leave no trace": "fail"}


def test_a_silent_hook_is_a_failed_check_with_its_reason():
    module = tiny_llama()
    model = load_model(module)
    module.model.layers[1] = tiny_llama().model.layers[1]
    found = {check.name: check for check in verdict.verify(model)}
    assert found["hidden states"].verdict == "fail"
    assert "resid_post.1 0 times" in found["hidden states"].detail
    assert np.isnan(found["hidden states"].states)


def test_what_does_not_apply_is_skipped_with_its_reason():
    with torch.random.fork_rng():
        model = load_model(build("gptj"))
    check = next(check for check in verdict.verify(model) if check.name == "eager or sdpa")
    assert check.verdict == "skipped"
    assert "eager, not sdpa" in check.detail
