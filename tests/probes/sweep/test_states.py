"""Kept states: the right vectors in the right rows, from the pass that measures, and a cell like every other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sparsity
from probes.capture import capture_states, encode
from probes.capture.collection import read_batch
from probes.errors import InputError
from probes.models import load_model
from probes.models.loading import LoadedModel
from probes.records import compaction, open_run, tensors
from probes.records.compaction import compact
from probes.records.integrity import check
from probes.records.stored_states import StoredPlace
from probes.sweep import measurement
from probes.sweep.calibration import calibrate
from probes.sweep.interface import Options
from probes.sweep.planning.surveys import survey
from probes.sweep.run import run_sweep
from probes.sweep.spec import SweepSpec
from probes.vocabulary.sites import Site
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_kills import kill_somewhere, n_commits, start
from tests.probes.sweep.test_run import assert_same
from tests.tolerances import NEAR_ZERO, REBATCHED, STORED

SITES = ["resid_post", "final_norm"]


def assert_same_states(one: Path, other: Path) -> None:
    mine, theirs = open_run(one), open_run(other)
    assert mine.stored_states() == theirs.stored_states() != ()
    for site, layer, position in mine.stored_states():
        first, second = (run.states(site, layer=layer, position=position) for run in (mine, theirs))
        assert first.keys.equals(second.keys)
        np.testing.assert_array_equal(first.vectors, second.vectors)


def by_hand(model: str, texts: list[str], site: str) -> list[np.ndarray]:
    """States of every token but the BOS, text by text, through a hook of torch's own."""
    loaded = load_model(model)
    layer = Site.parse(site).layer
    found: list[np.ndarray] = []

    def see(_module: object, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        found.append((output if isinstance(output, torch.Tensor) else output[0])[0].detach().numpy())

    handle = loaded.module.model.layers[layer].register_forward_hook(see)
    try:
        for text in texts:
            loaded.module(torch.tensor([encode(loaded, text).ids]))
    finally:
        handle.remove()
    return [states[1:] for states in found]


def test_every_token_has_its_state_in_order(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(positions=["all", "last"], states=["resid_post"]), tmp_path / "run", Options(batch_size=3))
    run = open_run(tmp_path / "run")
    keys, vectors = run.states("resid_post", layer=1, position="all")
    texts = run.examples().set_index("example_id")["text"]
    ids = sorted(texts.index)
    expected = by_hand(make_spec().models[0].name, list(texts[ids]), "resid_post.1")
    assert list(zip(keys["example_id"], keys["token"], strict=True)) == [
        (name, token + 1) for name, own in zip(ids, expected, strict=True) for token in range(len(own))
    ]
    np.testing.assert_allclose(vectors, np.concatenate(expected), rtol=REBATCHED, atol=NEAR_ZERO)
    # the measures of the same pass are those of the same vectors, token by token
    rows = run.token_measurements(site="resid_post", layer=1).set_index(["example_id", "token"])
    own = rows.loc[list(zip(keys["example_id"], keys["token"], strict=True)), "hoyer"]
    np.testing.assert_allclose(sparsity.hoyer(vectors), own.to_numpy(), rtol=STORED)
    last = run.states("resid_post", layer=1, position="last")
    assert set(last.keys["token"]) == {-1}
    ends = keys.groupby("example_id")["token"].idxmax()[last.keys["example_id"]].to_numpy()
    np.testing.assert_array_equal(last.vectors, vectors[ends])


def test_skipped_and_sliced_tokens_are_left_out_of_states(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(positions=["all", "3:10", "12:30"], states=["resid_post.1"], skip_first=4)
    run_sweep(spec, tmp_path / "run", Options(batch_size=3))
    run = open_run(tmp_path / "run")
    keys, vectors = run.states("resid_post", position="all")
    assert set(keys.groupby("example_id")["token"].min()) == {4}
    texts = run.examples().set_index("example_id")["text"]
    ids = sorted(texts.index)
    expected = by_hand(spec.models[0].name, list(texts[ids]), "resid_post.1")
    np.testing.assert_allclose(vectors, np.concatenate([own[3:] for own in expected]), rtol=REBATCHED, atol=NEAR_ZERO)
    slices = run.states("resid_post", position="3:10")  # of the prompt, whatever is skipped
    np.testing.assert_allclose(
        slices.vectors, np.stack([own[2:9].mean(axis=0) for own in expected]), rtol=REBATCHED, atol=NEAR_ZERO
    )
    none = run.inputs().set_index("example_id")["n_tokens"][ids].to_numpy() <= 12
    np.testing.assert_array_equal(np.isnan(run.states("resid_post", position="12:30").vectors).all(axis=1), none)


def test_parts_are_bounded_and_hold_every_vector_once(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(positions=["all"], states=SITES)
    run_sweep(spec, tmp_path / "whole")
    bound = 4000  # bytes: about two items at one of the three sites
    monkeypatch.setattr(tensors, "PART_BYTES", bound)
    monkeypatch.setattr(compaction, "PART_BYTES", bound)
    run_sweep(spec, tmp_path / "cut")
    for _ in range(2):
        files = list((tmp_path / "cut" / "states").iterdir())
        assert len(files) > 3
        for file in files:
            assert sum(own.n_vectors * own.width * 4 for own in tensors.tensors_of(file)) <= bound
        assert_same_states(tmp_path / "whole", tmp_path / "cut")
        run = open_run(tmp_path / "cut")
        parts = list(run.states_in_parts("resid_post.1"))
        assert len(parts) > 1
        assert max(part.vectors.nbytes for part in parts) <= bound
        keys = pd.concat([part.keys for part in parts], ignore_index=True)
        order = keys.sort_values(["example_id", "token"], kind="stable").index
        whole = run.states("resid_post.1")
        assert keys.loc[order].reset_index(drop=True).equals(whole.keys)
        np.testing.assert_array_equal(np.concatenate([part.vectors for part in parts])[order], whole.vectors)
        both = open_run(tmp_path / "whole", tmp_path / "cut")  # of two sweeps each vector is there once
        assert sum(len(part.vectors) for part in both.states_in_parts("resid_post.1")) == len(whole.vectors)
        compact(tmp_path / "cut")


@pytest.fixture
def spec(make_spec: MakeSpec) -> SweepSpec:
    return make_spec(states=SITES)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_those_of_their_items(spec: SweepSpec, tmp_path: Path, dtype: str) -> None:
    entry = spec.models[0].model_copy(update={"dtype": dtype})
    run_sweep(spec.model_copy(update={"models": (entry,)}), tmp_path / "run", Options(batch_size=3))
    run = open_run(tmp_path / "run")
    places = [("final_norm", 2), ("resid_post", 0), ("resid_post", 1)]
    assert run.stored_states() == tuple(
        StoredPlace(*place, position) for place in places for position in ("all", "last", "mean")
    )
    model = load_model(entry.name, dtype=dtype)
    states = run.states("resid_post", layer=1, position="last")
    texts = run.examples().set_index("example_id")
    own = capture_states(model, list(texts["text"][states.keys["example_id"]]), "resid_post.1", "last", batch_size=3)
    np.testing.assert_allclose(
        states.vectors, np.stack(list(own.vector)), rtol=2**-8 if dtype == "bfloat16" else 0, atol=NEAR_ZERO
    )
    assert list(states.keys["level"]) == list(texts["level"][states.keys["example_id"]])
    assert list(states.keys["example_id"]) == sorted(states.keys["example_id"])
    assert set(states.keys["model"]) == {entry.name}
    # rows and vectors are of one pass: the measure of the vector is the measure that was stored
    rows = run.measurements(site="resid_post", layer=1, metric="hoyer", position="last").set_index("example_id")
    np.testing.assert_allclose(
        sparsity.hoyer(states.vectors), rows["value"][states.keys["example_id"]].to_numpy(), rtol=STORED
    )


def test_a_mean_is_over_the_tokens_of_the_position(spec: SweepSpec, tmp_path: Path) -> None:
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    states = run.states("final_norm", position="mean")
    texts = run.examples().set_index("example_id")["text"]
    each = capture_states(load_model(spec.models[0].name), list(texts[states.keys["example_id"]]), "final_norm", "mean")
    means = each.groupby(each["example_id"].astype(int))["vector"].apply(
        lambda own: np.mean(np.stack(list(own)), axis=0)
    )
    np.testing.assert_allclose(states.vectors, np.stack(list(means)), rtol=REBATCHED, atol=NEAR_ZERO)


def test_an_item_without_such_a_token_has_no_number(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(positions=["last", "12:30"], states=["final_norm"]), tmp_path / "run")
    run = open_run(tmp_path / "run")
    states = run.states("final_norm", position="12:30")
    n_tokens = run.inputs().set_index("example_id")["n_tokens"][states.keys["example_id"]].to_numpy()
    assert len(states.vectors) == 7
    np.testing.assert_array_equal(np.isnan(states.vectors).all(axis=1), n_tokens <= 12)
    assert 0 < (n_tokens <= 12).sum() < 7


def test_adding_states_computes_them_alone_and_once(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[int, int, int, int]] = []

    def spying(model: LoadedModel, prompts: list[object], **asked: list[object]) -> object:
        passes.append((len(prompts), len(asked["sites"]), len(asked["outcomes"]), len(asked["states"])))
        return read_batch(model, prompts, **asked)

    monkeypatch.setattr(measurement, "read_batch", spying)
    run_sweep(make_spec(), tmp_path / "run")
    with pytest.raises(InputError, match=r"no states are stored of these runs; add `states: .resid_post.`"):
        open_run(tmp_path / "run").states("resid_post")
    run_sweep(make_spec(states=["final_norm"]), tmp_path / "run")
    run_sweep(make_spec(states=["final_norm"]), tmp_path / "run")
    run_sweep(make_spec(states=SITES), tmp_path / "run")
    run_sweep(make_spec(), tmp_path / "run")
    run_sweep(make_spec(n=9, states=SITES), tmp_path / "run")
    assert passes == [(7, 3, 3, 0), (7, 0, 0, 3), (7, 0, 0, 6), (2, 3, 3, 9)]
    assert check(tmp_path / "run") == []
    run_sweep(make_spec(n=9, states=SITES), tmp_path / "whole")
    assert len(open_run(tmp_path / "run").states("final_norm", position="last").keys) == 9
    first, second = (open_run(tmp_path / name).states("final_norm", position="mean") for name in ("run", "whole"))
    np.testing.assert_allclose(first.vectors, second.vectors, rtol=REBATCHED, atol=NEAR_ZERO)


def test_states_are_one_sweep_across_shards_and_a_compaction(spec: SweepSpec, tmp_path: Path) -> None:
    run_sweep(spec, tmp_path / "whole", Options(batch_size=1))
    for index in range(2):
        run_sweep(spec, tmp_path / "parts", Options(batch_size=1, shard=(index, 2)))
    assert_same_states(tmp_path / "whole", tmp_path / "parts")
    compact(tmp_path / "parts")
    assert [path.name for path in (tmp_path / "parts" / "states").iterdir()] != []
    for index in range(2):
        shutil.rmtree(tmp_path / "parts" / f"shard-{index}")
    assert check(tmp_path / "parts") == []
    assert_same_states(tmp_path / "whole", tmp_path / "parts")
    assert run_sweep(spec, tmp_path / "parts").n_measured == 0


def test_a_damaged_or_foreign_part_is_found(spec: SweepSpec, tmp_path: Path) -> None:
    run_sweep(spec, tmp_path / "run")
    (part,) = (tmp_path / "run" / "states").iterdir()
    (tmp_path / "run" / "states" / "stray.safetensors").write_bytes(part.read_bytes())
    part.write_bytes(part.read_bytes()[:-1])
    assert [fault.what.split(":")[0] for fault in check(tmp_path / "run")] == [
        "truncated or changed",
        "no commit lists it",
    ]


@pytest.mark.usefixtures("eager_commits")
def test_a_killed_sweep_keeps_each_vector_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(n=6, states=SITES)
    run_sweep(spec, tmp_path / "whole", Options(batch_size=2))
    rng = np.random.default_rng(0)
    kills = trial = 0
    while kills < 2:
        out = tmp_path / f"killed-{trial}"
        trial += 1
        at_commit = int(rng.integers(1, n_commits(tmp_path / "whole")))
        kills += kill_somewhere(start(spec, out, Options(batch_size=2)), out, at_commit, float(rng.uniform(0, 0.01)))
        run_sweep(spec, out, Options(batch_size=2))
        assert_same(tmp_path / "whole", out)
        assert_same_states(tmp_path / "whole", out)


def test_what_cannot_be_kept_or_found_is_said(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"states: final_norm is not among the sites of this sweep"):
        run_sweep(make_spec(sites=["resid_post"], states=["final_norm"]), tmp_path / "no")
    assert not (tmp_path / "no").exists()
    run_sweep(make_spec(states=SITES), tmp_path / "run")
    run = open_run(tmp_path / "run")
    with pytest.raises(
        InputError,
        match=r"states at resid_post 0 .* is several of them; there are resid_post 0 all, resid_post 0 last, ",
    ):
        run.states("resid_post", layer=0)
    with pytest.raises(InputError, match=r"states at mlp_out .*: that is not stored; there are final_norm 2 all, "):
        run.states("mlp_out")


def test_a_dry_run_counts_them(make_spec: MakeSpec, tmp_path: Path) -> None:
    costs = []
    for kept in ([], ["final_norm"]):
        spec = make_spec(states=kept)
        plans, model = survey(spec, tmp_path / "run", Options())
        (cost,) = calibrate(spec, plans, model)
        costs.append(cost.n_bytes)
    n_tokens = sum(8 + item + 1 for item in range(7))
    vectors = (7 * 2 + n_tokens) * 16 * 4  # one per item at two positions and one per token, of width 16
    assert vectors < costs[1] - costs[0] < 5 * vectors


def test_typical_leaves_massive_tokens_out(tiny_model: Path) -> None:
    model = load_model(str(tiny_model))
    embedding = model.module.get_input_embeddings()
    with torch.no_grad():
        embedding.weight[5] *= 1000  # one word is a sink
    ids = [1, 3, 4, 5, 6, 7, 3, 4]
    prompt = encode(model, ids)
    site = Site.parse("embed")
    found = read_batch(
        model, [prompt], sites=(), positions=(), metrics=(), states=[(site, "typical"), (site, "mean"), (site, "last")]
    )
    typical, mean, last = (kept.data.view(np.float32)[0] for kept in found.kept)
    table = embedding.weight.detach().numpy()
    np.testing.assert_allclose(typical, table[[3, 4, 6, 7, 3, 4]].mean(axis=0), rtol=REBATCHED)
    np.testing.assert_allclose(mean, table[ids[1:]].mean(axis=0), rtol=REBATCHED)
    np.testing.assert_array_equal(last, table[4])
