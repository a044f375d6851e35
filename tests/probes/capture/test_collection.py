import json
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import sparsity
from probes.capture import collect, encode, read_batch
from probes.capture.prompts import pad
from probes.capture.reading import RAW, Basis, Picks, Profiler
from probes.errors import InputError
from probes.models import load_model
from probes.models.hooks import CaptureError, watching
from probes.records.schema import SCHEMAS
from probes.vocabulary.positions import Selector, parse_positions
from probes.vocabulary.sites import Site, resolve_sites
from tests.probes.conftest import tiny_llama
from tests.tolerances import LOGITS, REBATCHED, STORED

SITES = ("resid_pre", "resid_post", "final_norm")
METRICS = sparsity.DEFAULT_METRICS


def hooks_of(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def read(model, prompts, positions="all", sites=SITES, **options):
    encoded = [encode(model, prompt) for prompt in prompts]
    options = {"metrics": METRICS} | options
    return read_batch(model, encoded, sites=resolve_sites(model, sites), positions=positions, **options)


def values(result, item):
    """Everything read about one prompt, in a fixed order."""
    return np.concatenate([reading.values[reading.item == item].ravel() for reading in result.readings])


def hidden_states(model, ids):
    with torch.inference_mode():
        return model.base(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_is_read_is_the_metric_of_the_state_that_transformers_shows(name, request, prompts):
    model = request.getfixturevalue(name)
    frame = collect(model, prompts, sites=SITES, positions="all", metrics="gini")
    for index, ids in enumerate(prompts):
        states = hidden_states(model, ids)
        for site, layer, shown in [
            *(("resid_pre", layer, states[layer]) for layer in range(3)),
            *(("resid_post", layer, states[layer + 1]) for layer in range(2)),
            ("final_norm", 3, states[3]),
        ]:
            rows = frame[(frame.example_id == str(index)) & (frame.site == site) & (frame.layer == layer)]
            np.testing.assert_allclose(rows.value, sparsity.gini(shown[0]).numpy(), rtol=REBATCHED)
            assert rows.token.tolist() == list(range(len(ids)))
        last = frame[(frame.example_id == str(index)) & (frame.site == "resid_post") & (frame.layer == 2)]
        assert not np.allclose(last.value, sparsity.gini(states[3][0]).numpy(), rtol=REBATCHED), "not normed"


@pytest.mark.numeric
def test_batching_padding_and_order_change_no_value(llama, prompts):
    together = read(llama, prompts)
    backwards = read(llama, prompts[::-1])
    for index, ids in enumerate(prompts):
        alone = values(read(llama, [ids]), 0)
        np.testing.assert_allclose(values(together, index), alone, rtol=REBATCHED)
        np.testing.assert_allclose(values(backwards, len(prompts) - 1 - index), alone, rtol=REBATCHED)


def test_padding_tokens_do_not_matter(prompts):
    module = tiny_llama()
    default = read(load_model(module), prompts)
    module.config.pad_token_id = 42
    assert load_model(module).pad_id == 42
    other = read(load_model(module), prompts)
    for index in range(len(prompts)):
        np.testing.assert_array_equal(values(default, index), values(other, index))


def test_a_target_changes_nothing_about_its_prompt(stories):
    plain = [encode(stories, "Once upon a time")]
    asked = [encode(stories, "Once upon a time", target="there was a cat")]
    sites = resolve_sites(stories, ["resid_post"])
    for positions in ("last", "mean", "all"):
        one = read_batch(stories, plain, sites=sites, positions=positions, metrics=METRICS)
        two = read_batch(stories, asked, sites=sites, positions=positions, metrics=METRICS)
        np.testing.assert_allclose(values(one, 0), values(two, 0), rtol=REBATCHED)


@pytest.mark.numeric
def test_mean_last_slice_and_selector_follow_from_all(llama, prompts):
    even = Selector("even", lambda prompt: range(0, prompt.end, 2), each=True)
    result = read(llama, prompts, positions=["all", "mean", "last", "1:3", even])
    for site in resolve_sites(llama, SITES):
        own = {reading.position: reading for reading in result.readings if reading.site == site}
        for index, ids in enumerate(prompts):
            every = own["all"].values[own["all"].item == index]
            assert every.shape == (len(ids), len(METRICS))
            np.testing.assert_allclose(own["mean"].values[index], every[1:].mean(0), rtol=REBATCHED)
            np.testing.assert_allclose(own["1:3"].values[index], every[1:3].mean(0), rtol=REBATCHED)
            np.testing.assert_array_equal(own["last"].values[index], every[-1])
            assert own["last"].token[index] == len(ids) - 1
            np.testing.assert_array_equal(own["even"].values[own["even"].item == index], every[::2])
        assert (own["mean"].token == -1).all()


def test_an_empty_choice_is_undefined_and_counted(llama, prompts):
    (reading,) = read(llama, prompts, positions="10:", sites=["final_norm"]).readings
    short = np.array([len(ids) <= 10 for ids in prompts])
    assert short.any()
    np.testing.assert_array_equal(np.isnan(reading.values).all(1), short)
    np.testing.assert_array_equal(reading.n_undefined, np.repeat(short[:, None], len(METRICS), 1))


def test_one_item_with_nan_states_leaves_the_others_alone(prompts):
    module = tiny_llama()
    clean = read(load_model(module), prompts, positions="mean")
    poison = prompts[3][4]
    assert not any(poison in ids for index, ids in enumerate(prompts) if index != 3)
    with torch.no_grad():
        module.model.embed_tokens.weight[poison] = torch.nan
    dirty = read(load_model(module), prompts, positions=["mean", "all"])
    by_place = {(reading.site, reading.position): reading for reading in dirty.readings}
    for reading in clean.readings:
        found = by_place[reading.site, "mean"]
        others = np.arange(len(prompts)) != 3
        np.testing.assert_array_equal(found.values[others], reading.values[others])
        assert (found.n_undefined[others] == 0).all()
    # before attention one token is undefined and the mean leaves just that out; attention spreads it over the item
    first = by_place[Site.parse("resid_pre.0"), "mean"]
    assert (first.n_undefined[3] == 1).all()
    assert np.isfinite(first.values[3]).all()
    last = by_place[Site.parse("resid_post.2"), "mean"]
    assert (last.n_undefined[3] == len(prompts[3]) - 1).all(), "all tokens of a mean, which leaves the first one out"
    assert np.isnan(last.values[3]).all()


def test_typical_leaves_out_a_sink_wherever_it_stands_and_counts_it(prompts):
    module = tiny_llama()
    sink = 0
    assert not any(sink in ids for ids in prompts)
    prompts[1][9] = sink
    with torch.no_grad():
        module.model.embed_tokens.weight[sink] *= 30
    model = load_model(module)
    site = resolve_sites(model, ["resid_pre.0"])[0]
    result = read(
        model,
        prompts,
        positions=["all", "mean", "typical"],
        sites=["resid_pre.0"],
        bases=[RAW, Basis("half", lambda _s, x: x[:, :16])],
    )
    for basis in ("raw", "half"):
        own = {
            reading.position: reading for reading in result.readings if (reading.site, reading.basis) == (site, basis)
        }
        for index, ids in enumerate(prompts):
            every = own["all"].values[own["all"].item == index]
            calm = np.array([False, *(token != sink for token in ids[1:])])
            np.testing.assert_allclose(own["typical"].values[index], every[calm].mean(0), rtol=REBATCHED)
            assert (own["typical"].n_undefined[index] == (~calm[1:]).sum()).all()
            assert (own["mean"].n_undefined[index] == 0).all()
        assert not np.allclose(own["mean"].values[1, -1], own["typical"].values[1, -1], rtol=LOGITS)
    without_norm = read(
        model, prompts, positions="typical", sites=["resid_pre.0"], metrics=sparsity.parse_metrics("gini")
    )
    np.testing.assert_array_equal(without_norm.readings[0].n_undefined[:, 0], [0, 1, 0, 0, 0, 0])


def test_every_head_of_every_token_has_its_own_value(stories):
    texts, seen = ["Once upon a time, there was a little girl"], []
    output = stories.module.model.layers[1].self_attn.o_proj
    hook = output.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    try:
        frame = collect(stories, texts, "attn_z.1", "all", "gini")
    finally:
        hook.remove()
    heads = stories.module.config.num_attention_heads
    expected = sparsity.gini(seen[-1].reshape(len(seen[-1]), heads, -1)).numpy()
    found = frame.pivot_table(index="token", columns="unit", values="value")
    np.testing.assert_allclose(found.to_numpy(), expected[found.index], rtol=STORED)


def test_an_expression_is_a_position_of_a_model_with_a_tokenizer(stories, llama):
    frame = collect(stories, ["the cat and the dog saw the bird"], "resid_post.0", ["/^the$/", "all"], "gini")
    ids = encode(stories, "the cat and the dog saw the bird").ids
    chosen = [token for token, one in enumerate(ids) if stories.word(one).strip() == "the"]
    assert len(chosen) == 3
    every = frame[frame.position == "all"].set_index("token").value
    one = frame[frame.position == "/^the$/"]
    np.testing.assert_allclose(one.value.item(), every[chosen].mean(), rtol=STORED)
    with pytest.raises(InputError, match="without a tokenizer"):
        collect(llama, [[1, 2]], positions="/a/")


def test_hooks_are_gone_after_success_and_after_a_fault_and_change_no_output(llama, prompts):
    before = hooks_of(llama.module)
    ids = torch.tensor([prompts[1]])
    with torch.inference_mode():
        bare = llama.module(input_ids=ids).logits
        seen: list[Site] = []
        with watching(llama.taps, tuple(llama.sites), lambda site, _: seen.append(site)):
            watched = llama.module(input_ids=ids).logits
    assert torch.equal(bare, watched)
    assert seen
    assert hooks_of(llama.module) == before
    failing = Basis("failing", lambda _site, _vectors: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(llama, prompts, bases=[failing])
    assert hooks_of(llama.module) == before


def test_reducing_a_view_of_a_state_leaves_the_state_alone(llama):
    """With neither padding nor special tokens the metrics read the model's own memory."""
    batch = pad([encode(llama, [5, 7, 9]), encode(llama, [6, 8, 10])], llama.pad_id)
    picks = Picks.of([encode(llama, [5, 7, 9])] * 2, parse_positions("all"))
    profiler = Profiler(llama.taps, picks, METRICS, [RAW], 2, tuple(llama.sites))
    bare = llama.run(batch).last_hidden_state
    with watching(llama.taps, tuple(llama.sites), profiler.look):
        watched = llama.run(batch).last_hidden_state
    assert torch.equal(bare, watched)


def test_what_a_pass_leaves_behind_was_given_room_before_it(llama, prompts):
    """Small arrays that outlive the activations around them keep the heap from using that memory again."""
    sites = tuple(llama.sites)
    encoded = [encode(llama, prompt) for prompt in prompts] * 8
    batch = pad(encoded, llama.pad_id)
    picks = Picks.of(encoded, parse_positions("all"))

    def left_behind() -> tuple[int, int]:
        profiler = Profiler(llama.taps, picks, METRICS, [RAW], len(encoded), sites)
        before, _ = tracemalloc.get_traced_memory()
        with watching(llama.taps, sites, profiler.look):
            llama.run(batch)
        after, _ = tracemalloc.get_traced_memory()
        return after - before, sum(reading.values.nbytes for reading in profiler.readings())

    tracemalloc.start()
    try:
        # what a first pass imports and what other threads allocate is traced too, and only adds
        left, values = min(left_behind() for _ in range(3))
    finally:
        tracemalloc.stop()
    assert left < values / 4


def test_a_site_that_is_not_seen_or_seen_twice_fails_the_batch(prompts):
    module = tiny_llama()
    model = load_model(module)
    module.model.layers[1] = tiny_llama().model.layers[1]
    with pytest.raises(CaptureError, match=r"but: resid_post\.1 0 times$"):
        read(model, prompts, sites=["resid_post"])
    twice = tiny_llama()
    twice.model.layers[1] = twice.model.layers[0]
    with pytest.raises(CaptureError, match=r"resid_post\.0 2 times"):
        read(load_model(twice), prompts, sites=["resid_post.0"])


def test_vectors_that_are_not_one_per_token_fail_the_batch(prompts):
    module = tiny_llama()
    model = load_model(module)  # sites are proved when a model is loaded; what is broken later is found when it is read
    module.model.norm.register_forward_hook(lambda _module, _args, output: output[:, :-1])
    with pytest.raises(CaptureError, match="final_norm showed"):
        read(model, prompts, sites=["final_norm"])


def test_half_precision_states_are_measured_in_float32(prompts):
    model = load_model(tiny_llama().bfloat16())
    (reading,) = read(model, prompts[:1], sites=["resid_post.1"]).readings
    state = hidden_states(model, prompts[0])[2][0]
    assert state.dtype == torch.bfloat16
    np.testing.assert_array_equal(reading.values[:, 0], sparsity.gini(state.float().numpy()).astype(np.float32))


def test_a_basis_is_any_function_of_the_vectors(llama, prompts):
    widen = Basis("relu_features", lambda _site, x: torch.relu(torch.cat([x, -x], -1)))
    result = read(llama, prompts, bases=[RAW, widen], metrics=sparsity.parse_metrics(["l2_norm", "gini"]))
    by_place = {(reading.site, reading.basis): reading.values for reading in result.readings}
    for site in resolve_sites(llama, SITES):
        raw, wide = by_place[site, "raw"], by_place[site, "relu_features"]
        np.testing.assert_allclose(raw[:, 0], wide[:, 0], rtol=REBATCHED)
        # half of the doubled coordinates are zero: G' = 1 - (1 - G) / 2
        np.testing.assert_allclose(wide[:, 1], 1 - (1 - raw[:, 1]) / 2, rtol=REBATCHED)


def test_the_table_has_the_columns_of_measurements_in_input_order(llama, prompts):
    frame = collect(llama, prompts, ["resid_post", "final_norm"], ["last", "mean"], ["gini", "hoyer"], batch_size=2)
    assert list(frame.columns) == SCHEMAS["measurements"].names
    assert len(frame) == len(prompts) * 4 * 2 * 2
    assert frame.example_id.astype(int).is_monotonic_increasing
    one = frame[frame.example_id == "0"]
    assert one.metric.tolist() == ["gini", "hoyer"] * 8
    assert list(zip(one.site, one.layer, strict=True))[::4] == [
        ("resid_post", 0),
        ("resid_post", 1),
        ("resid_post", 2),
        ("final_norm", 3),
    ]
    whole = collect(llama, prompts, ["resid_post", "final_norm"], ["last", "mean"], ["gini", "hoyer"])
    np.testing.assert_allclose(frame.value, whole.value, rtol=REBATCHED)
    assert frame.drop(columns="value").equals(whole.drop(columns="value"))


def test_collect_says_which_prompt_cannot_be_read(llama):
    with pytest.raises(InputError, match=r"prompt 1: 65 tokens, but .* reads at most 64; set max_tokens"):
        collect(llama, [[1, 2], [3] * 65])
    assert len(collect(llama, [[1, 2], [3] * 65], max_tokens=64, metrics="gini")) == 2 * 3
    with pytest.raises(InputError, match="no prompts"):
        collect(llama, [])
    with pytest.raises(InputError, match="batch size"):
        collect(llama, [[1]], batch_size=0)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_memory_does_not_hold_is_halved_and_says_so(llama, prompts, monkeypatch, error):
    whole = collect(llama, prompts, SITES, ["mean", "all"], batch_size=6)
    bare = type(llama).run

    def small(self, batch):
        if len(batch.ids) > 3:
            raise error
        return bare(self, batch)

    monkeypatch.setattr(type(llama), "run", small)
    with pytest.warns(UserWarning, match="out of memory on a batch of 6 prompts; reading 3 at a time") as said:
        halved = collect(llama, prompts, SITES, ["mean", "all"], batch_size=6)
    assert len(said) == 1
    with pytest.warns(UserWarning, match="reading 3 at a time") as said:
        collect(llama, prompts * 3, SITES, "mean", batch_size=6)
    assert len(said) == 1, "what did not fit once is not tried again"
    assert halved.drop(columns="value").equals(whole.drop(columns="value"))
    np.testing.assert_allclose(halved.value, whole.value, rtol=REBATCHED)


def test_one_prompt_that_memory_does_not_hold_is_an_error_and_other_faults_pass_through(llama, prompts, monkeypatch):
    def failing(error):
        def run(_self, _batch):
            raise error

        return run

    monkeypatch.setattr(type(llama), "run", failing(torch.OutOfMemoryError("no")))
    with pytest.raises(CaptureError, match="out of memory on one prompt of 5 tokens"):
        collect(llama, prompts[:1])
    monkeypatch.setattr(type(llama), "run", failing(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        collect(llama, prompts)


def test_stories260k_gives_the_reference_numbers(stories260k, assets):
    """Per-text means over positions 1.. of the first 96 tokens; texts with fewer are left out."""
    expected = {
        ("text/tinystories.jsonl", "text"): ("0.2858", "0.3575"),
        ("tasks/gsm8k.jsonl", "question"): ("0.349", "0.383"),
        ("text/wikitext.jsonl", "text"): ("0.367", "0.386"),
    }
    for (file, field), (resid, norm) in expected.items():
        with (assets / file).open(encoding="utf-8") as lines:
            texts = [json.loads(line)[field] for _, line in zip(range(150), lines, strict=False)]
        prompts = [encode(stories260k, text, max_tokens=96).ids for text in texts]
        whole = [ids for ids in prompts if len(ids) == 96]
        assert 114 <= len(whole) <= 150
        frame = collect(stories260k, whole, ["resid_post.0", "resid_post.4", "final_norm"], "mean", "hoyer")
        means = frame.groupby(["site", "layer"], observed=True)["value"].mean()
        for place, printed in ((("resid_post", 4), resid), (("final_norm", 5), norm)):
            assert f"{means[place]:.{len(printed) - 2}f}" == printed
        assert 0.245 <= means["resid_post", 0] <= 0.275
