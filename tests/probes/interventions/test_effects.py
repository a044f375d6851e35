import json
from itertools import islice

import numpy as np
import pytest
import torch

from probes.capture import capture_states, collect
from probes.errors import InputError
from probes.interventions.changes import editing, final_norm_of
from probes.interventions.edits import ablate, pin, swap
from probes.interventions.effects import intervene, patch_layers
from probes.models import load_model
from probes.models.hooks import CaptureError
from tests.probes.conftest import tiny_llama, uneven
from tests.samples import of_mean
from tests.tolerances import LOGITS, REBATCHED, STORED, TWO_ROUTES

# Two digits were printed, rounded or cut: one unit of the last. A difference of two rounded ones is off by as much.
PRINTED = 0.01


def hooks_of(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.module.modules())


def table(frame, name, column="edited"):
    return frame[frame.name == name][column].to_numpy()


def pinned_stories(stories260k, assets, n) -> dict[str, np.ndarray]:
    """Outcomes of wikitext with coordinate 20 as it is, and at its mean on children's stories under either norm.

    Means over the tokens after the first of the text, as in the study that printed them.
    """

    def texts(group: str) -> list[str]:
        lines = (assets / "text" / f"{group}.jsonl").read_text(encoding="utf-8").splitlines()
        found = (json.loads(line)["text"] for line in lines)
        long = (text for text in found if len(stories260k.tokenizer(text, verbose=False)["input_ids"]) >= 96)
        return list(islice(long, n))

    usual = capture_states(stories260k, texts("tinystories"), "resid_post.4", "all", max_tokens=96)
    mean = np.stack(list(usual.vector)).mean(axis=0)
    edit = pin("resid_post.4", [20], mean[[20]])
    outcomes = ["mean_next_token_entropy", "mean_nll"]
    found: dict[str, np.ndarray] = {}
    for norm in ("recomputed", "frozen"):
        whole, first = (
            intervene(stories260k, texts("wikitext"), edit, norm=norm, max_tokens=most, outcomes=outcomes).outcomes
            for most in (96, 2)  # BOS included
        )
        for name in outcomes:
            for column, called in (("clean", "clean"), ("edited", norm)):
                found[f"{name} {called}"] = (95 * table(whole, name, column) - table(first, name, column)) / 94
    return found


def test_pinning_the_carrying_coordinate_of_stories_acts_as_a_temperature(stories260k, assets):
    found = pinned_stories(stories260k, assets, 30)
    seen = {"entropy": {"recomputed": -0.28, "frozen": 0.04}, "nll": {"recomputed": 0.39, "frozen": -0.10}}  # 150 texts
    for outcome, changes in seen.items():
        for norm, change in changes.items():
            name = "mean_next_token_entropy" if outcome == "entropy" else "mean_nll"
            moved = found[f"{name} {norm}"] - found[f"{name} clean"]
            assert moved.mean() == pytest.approx(change, abs=of_mean(moved.std(), len(moved)) + PRINTED), (name, norm)


@pytest.mark.long
def test_pinning_the_carrying_coordinate_of_stories_on_150_texts(stories260k, assets, proof):
    found = {key: float(values.mean()) for key, values in pinned_stories(stories260k, assets, 150).items()}
    assert found["mean_next_token_entropy clean"] == pytest.approx(2.15, abs=PRINTED)
    assert found["mean_next_token_entropy recomputed"] == pytest.approx(1.87, abs=PRINTED)
    assert found["mean_next_token_entropy frozen"] == pytest.approx(2.19, abs=PRINTED)
    assert found["mean_nll clean"] == pytest.approx(5.10, abs=PRINTED)
    assert found["mean_nll recomputed"] == pytest.approx(5.49, abs=PRINTED)
    assert found["mean_nll frozen"] == pytest.approx(4.99, abs=PRINTED)
    assert f"{found['mean_nll clean']:.4f}" == "5.0957"  # by plain transformers
    proof("Pinned coordinate of stories260K: " + ", ".join(f"{key} {value:.2f}" for key, value in found.items()))


@pytest.mark.parametrize("norm", ["recomputed", "frozen"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_edit_that_changes_nothing_changes_no_number(request, prompts, family, norm):
    model = request.getfixturevalue(family)
    own = capture_states(model, prompts, "resid_post.1", "last").vector
    found = intervene(model, prompts, swap("resid_post.1", list(own)), norm=norm, sites="resid_post", metrics="hoyer")
    np.testing.assert_allclose(found.outcomes.clean, found.outcomes.edited, rtol=2 * REBATCHED)
    np.testing.assert_allclose(found.measurements.clean, found.measurements.edited, rtol=REBATCHED)


def test_the_clean_side_is_what_collect_gives(llama, prompts):
    found = intervene(llama, prompts, ablate("resid_post.0", [3]), sites=["resid_post", "final_norm"], metrics="hoyer")
    frame = collect(llama, prompts, ["resid_post", "final_norm"], "last", "hoyer")
    assert found.measurements.example_id.tolist() == frame.example_id.tolist()
    np.testing.assert_allclose(found.measurements.clean, frame.value, rtol=STORED)


def test_an_edit_is_seen_at_its_site_and_after_it_and_not_before(llama, prompts):
    found = intervene(llama, prompts, ablate("resid_post.1", [3, 7]), sites="resid_post", metrics="hoyer").measurements
    moved = (found.clean != found.edited).groupby(found.layer).mean()
    assert moved[0] == 0
    assert moved[1] == moved[2] == 1


def test_the_edited_states_are_those_of_a_model_edited_by_hand(llama, prompts):
    edit = pin("resid_post.1", [3], 2.5, "0:")
    found = intervene(llama, prompts, edit, outcomes=["next_token_entropy"], batch_size=3).outcomes.edited
    layer = llama.base.layers[1]

    def change(_module, _args, output):
        output[..., 3] = 2.5
        return output

    handle = layer.register_forward_hook(change)
    try:
        for ids, entropy in zip(prompts, found, strict=True):
            with torch.inference_mode():
                log_p = llama.module(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert entropy == pytest.approx(-(log_p.exp() * log_p).sum().item(), rel=REBATCHED)
    finally:
        handle.remove()


@pytest.mark.parametrize("site", ["resid_pre.1", "resid_post.2", "attn_out.1", "mlp_out.0", "mlp_post.1", "embed"])
@pytest.mark.parametrize("norm", ["recomputed", "frozen"])
def test_batches_and_padding_change_no_outcome(llama, prompts, site, norm):
    edit = pin(site, [1, 5], [0.5, -2.0])
    alone = intervene(llama, prompts, edit, norm=norm, batch_size=1).outcomes
    padded = intervene(llama, prompts, edit, norm=norm, batch_size=6).outcomes
    np.testing.assert_allclose(alone.edited, padded.edited, rtol=REBATCHED)
    assert not np.allclose(alone.edited, alone.clean, rtol=LOGITS, equal_nan=True)


def test_a_frozen_norm_is_the_norm_over_the_clean_scale(llama, gpt2, prompts):
    for model, centred in ((llama, False), (gpt2, True)):
        site = "resid_post.2"
        clean = np.stack(list(capture_states(model, prompts, site, "last").vector))
        edited = clean.copy()
        edited[:, 4] = 3.0
        norm = final_norm_of(model)
        assert norm.centred is centred
        shown = norm.with_scale(torch.from_numpy(edited), norm.scale(torch.from_numpy(clean)))
        found = intervene(model, prompts, pin(site, [4], 3.0, "last"), norm="frozen", sites="final_norm", metrics="rms")
        np.testing.assert_allclose(found.measurements.edited, shown.square().mean(-1).sqrt().numpy(), rtol=LOGITS)


def test_freezing_undoes_what_a_change_of_length_alone_does(llama, prompts):
    own = capture_states(llama, prompts, "resid_post.2", "last").vector
    doubled = swap("resid_post.2", [2 * vector for vector in own])
    recomputed = intervene(llama, prompts, doubled, outcomes=["next_token_entropy"]).outcomes
    np.testing.assert_allclose(recomputed.clean, recomputed.edited, rtol=TWO_ROUTES)
    frozen = intervene(llama, prompts, doubled, norm="frozen", outcomes=["next_token_entropy"]).outcomes
    assert (frozen.edited < frozen.clean - 1e-4).all()  # twice the logits: a lower temperature


def test_hooks_are_gone_after_success_and_after_an_exception(llama, prompts):
    before = hooks_of(llama)
    intervene(llama, prompts, ablate("mlp_post.1", [0]), norm="frozen")
    with pytest.raises(ZeroDivisionError), editing(llama, {llama_site(llama): lambda v: v / (1 // 0)}, rows=3):
        llama.base(input_ids=torch.tensor([[1, 2, 3]]))
    assert hooks_of(llama) == before


def llama_site(model):
    return next(site for site in model.sites if str(site) == "resid_post.1")


def test_a_pass_that_does_not_meet_the_site_once_is_refused(llama):
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(CaptureError, match="0 times"), editing(llama, {llama_site(llama): lambda v: v}, rows=3):
        pass
    with pytest.raises(CaptureError, match="2 times"), editing(llama, {llama_site(llama): lambda v: v}, rows=3):
        [llama.base(input_ids=ids) for _ in range(2)]
    with (
        pytest.raises(CaptureError, match="3 vectors for 4 tokens"),
        editing(llama, {llama_site(llama): lambda v: v}, rows=4),
    ):
        llama.base(input_ids=ids)


def test_an_outcome_of_the_target_is_undefined_without_one(llama, prompts):
    found = intervene(llama, prompts, ablate("resid_post.0", range(8)), outcomes=["nll"])
    assert found.outcomes.clean.isna().all()


def test_patching_a_prompt_with_itself_does_nothing_and_at_the_last_layer_gives_the_source(llama, prompts):
    partners = [ids[::-1] for ids in prompts]
    frame = patch_layers(llama, prompts, partners, "resid_post", "last", outcomes=["next_token_entropy"])
    assert frame.columns.tolist() == ["site", "layer", "example_id", "name", "clean", "source", "patched"]
    last = frame[frame.layer == 2]
    np.testing.assert_allclose(last.patched, last.source, rtol=REBATCHED)
    assert not np.allclose(last.patched, last.clean, rtol=REBATCHED)
    same = patch_layers(llama, prompts, prompts, "attn_z", "all", outcomes=["mean_nll"], batch_size=2)
    np.testing.assert_allclose(same.patched, same.clean, rtol=LOGITS)


def test_a_module_that_returns_a_tuple_is_edited_too(prompts):
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=99,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global"], 2]],
        intermediate_size=48,
    )
    try:
        model = load_model(uneven(GPTNeoForCausalLM(config)))
    except InputError as error:
        pytest.skip(str(error))
    found = intervene(model, prompts, ablate("resid_post.0", [1, 2]), sites="resid_post", metrics="hoyer")
    assert (found.measurements.clean != found.measurements.edited).all()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: ablate("resid_mid.1", [0]), "cannot be edited"),
        (lambda: ablate("resid_post", [0]), "one site"),
        (lambda: ablate("resid_post.1", [32]), "0 to 31"),
        (lambda: ablate("resid_post.1", [1, 1]), "distinct"),
        (lambda: pin("resid_post.1", [1, 2], [1.0, 2.0, 3.0]), "one per coordinate"),
        (lambda: pin("resid_post.1", [1], np.nan), "finite"),
        (lambda: [ablate("resid_post.1", [1]), ablate("resid_post.1", [2])], "two edits"),
        (lambda: swap("resid_post.1", [np.zeros(32)]), "one entry each"),
        (lambda: swap("resid_post.1", [np.zeros(31)] * 6), "width 32"),
        (lambda: swap("resid_post.1", [np.zeros((2, 32))] * 6), "1 edited tokens"),
    ],
)
def test_bad_edits_are_refused_in_one_line(llama, prompts, edit, message):
    with pytest.raises(InputError, match=message) as raised:
        intervene(llama, prompts, edit())
    assert "\n" not in str(raised.value)


def test_half_precision_models_are_edited_in_their_own_dtype(prompts):
    model = load_model(tiny_llama().bfloat16())
    found = intervene(
        model, prompts, pin("resid_post.1", [2], 8.0), norm="frozen", sites="resid_post.1", metrics="max_abs"
    )
    assert (found.measurements.edited >= 8.0).all()


def test_an_edit_may_name_its_tokens_by_an_expression(stories):
    texts = ["Once upon a time, Lily saw a dog.", "Tom ran to the big dog and sat."]
    named = ablate("resid_post.1", [3, 4], positions="/Lily|the/")
    read = {"sites": "resid_post.1", "metrics": "l2_norm", "positions": "all"}
    found = intervene(stories, texts, named, **read).measurements
    words = [
        stories.word(stories.tokenizer(texts[int(i)])["input_ids"][t])
        for i, t in found[["example_id", "token"]].to_numpy()
    ]
    named_so = np.array([word.strip() in {"Lily", "the"} for word in words])
    assert 0 < named_so.sum() < len(found)
    np.testing.assert_array_equal(found["clean"] != found["edited"], named_so)
    states = [own[None] for own in capture_states(stories, texts, "resid_post.1", "last").vector]
    swapped = intervene(stories, texts, swap("resid_post.1", states, positions="/Lily|the/"), **read).measurements
    np.testing.assert_array_equal(swapped["clean"] != swapped["edited"], named_so)
