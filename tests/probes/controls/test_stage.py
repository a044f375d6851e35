import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

import sparsity
from probes.capture import capture_states, encode
from probes.capture.routing import collect_routing
from probes.controls import pinning
from probes.controls.basis_panel import views
from probes.controls.control_cells import OUTLIERS, READOUT, cells_of
from probes.controls.member_states import Sample
from probes.controls.readout import Unread, unembedding_of
from probes.controls.request import Ask
from probes.controls.reservoir import Member
from probes.controls.stage import control, open_stage
from probes.interventions.edits import pin
from probes.interventions.effects import intervene
from probes.models import load_model
from probes.vocabulary import names
from probes.vocabulary.axes import Axis
from probes.vocabulary.names import Intervened
from probes.vocabulary.sites import Site, SiteKind, resolve_sites
from sparsity import parse_metrics
from tests.probes.conftest import tiny_llama, uneven
from tests.probes.models.families import build
from tests.samples import of_mean
from tests.tolerances import LOGITS, NEAR_ZERO, REBATCHED, TWO_ROUTES

DOMAIN = Axis(name="domain", unit="", kind="nominal", harder=None)
N = 40


@pytest.fixture(scope="module")
def llama():
    return load_model(tiny_llama(hidden_size=16, num_hidden_layers=2))


def ask(model, *, positions=("last", "mean"), sites=("resid_post", "final_norm"), targets=True, shifted=True):
    rng = np.random.default_rng(0)
    prompts, members = [], []
    for i in range(2 * N):
        ids = rng.integers(1, 99, 9).tolist()
        prompt = encode(model, ids)
        if targets:
            prompt = type(prompt)(prompt.ids, 0, False, prompt.char_starts, 8)  # the last token is the answer
        split = "shifted" if shifted and i >= N else "in"
        prompts.append(prompt)
        members.append(Member(f"s:{i}", f"s/{split}/x", split == "shifted", math.nan))
    return Ask(
        run_id="r",
        members=members,
        prompts=prompts,
        axis=DOMAIN,
        suite="s",
        sites=resolve_sites(model, sites),
        positions=positions,
        metrics=parse_metrics(["hoyer", "l2_norm"]),
        seed=0,
    )


@pytest.fixture(scope="module")
def found(llama):
    return control(llama, ask(llama))


def frames(controls):
    return {name: table.to_pandas() for name, table in controls.tables.items()}


def values(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame.set_index("example_id")["value"].sort_index()


def test_every_name_is_one_that_readers_know(found):
    tables = frames(found)
    assert set(tables["measurements"].basis) == set(names.BASES)
    assert {"last", "mean"} == set(tables["measurements"].position)
    substitution = {name for name in tables["populations"].metric if name.startswith("substitution")}
    assert substitution == {
        getattr(names, f"SUBSTITUTION_{n}") for n in ("FORWARD", "BACKWARD", "CURVE", "K50", "CHANGE")
    }
    plain = {name for name in tables["outcomes"].name if Intervened.parse(name) is None}
    assert plain == {*names.READOUT, *(f"{names.MEAN}{name}" for name in names.READOUT)}
    assert set(tables["populations"].group) == {"s/in/x", "s/shifted/x", "s"}  # s: all of the suite, for outliers
    assert found.skipped == {}


def test_bases_are_what_they_say(llama, found):
    rows = frames(found)["measurements"]
    asked = ask(llama)
    ids = [list(prompt.ids[:8]) for prompt in asked.prompts]
    x = np.stack(list(capture_states(llama, ids, "resid_post.1", "last").vector)).astype(np.float64)
    names_in_order = [one.example_id for one in asked.members]

    def measured(basis, site="resid_post", metric="hoyer"):
        return values(
            rows, basis=basis, site=site, layer=1 if site == "resid_post" else 2, position="last", metric=metric
        )

    centred = x - x[:N].mean(axis=0)
    np.testing.assert_allclose(
        measured("centred")[names_in_order], sparsity.hoyer(centred), rtol=2 * LOGITS, atol=NEAR_ZERO
    )
    largest = int(np.square(x[:N]).sum(axis=0).argmax())
    np.testing.assert_allclose(
        measured("without_top(1)")[names_in_order],
        sparsity.hoyer(np.delete(x, largest, axis=1)),
        rtol=2 * LOGITS,
        atol=NEAR_ZERO,
    )
    # an orthogonal basis keeps lengths: pca those of the centred vectors (up to the other half's mean), the others all
    np.testing.assert_allclose(
        measured("pca_pooled", metric="l2_norm")[names_in_order], np.linalg.norm(x, axis=1), rtol=LOGITS
    )
    assert measured("pca", metric="l2_norm").mean() == pytest.approx(np.linalg.norm(centred, axis=1).mean(), rel=2 / N)
    final = np.stack(list(capture_states(llama, ids, "final_norm", "last").vector))
    lengths = measured("unembed", "final_norm", "l2_norm")[names_in_order]
    np.testing.assert_allclose(lengths, np.linalg.norm(final, axis=1), rtol=LOGITS)
    # before the final norm the gain is applied and the scale is not: the same direction as after it
    np.testing.assert_allclose(measured("unembed"), measured("unembed", "final_norm"), rtol=TWO_ROUTES, atol=REBATCHED)


def test_the_principal_axes_are_not_fitted_to_the_vectors_they_describe(llama, found):
    # both groups are the same random ids: axes fitted in sample would make the reference sparser
    rows = frames(found)["measurements"]
    hoyer = values(rows, basis="pca", site="resid_post", layer=1, position="mean", metric="hoyer")
    inside = [one.example_id for one in ask(llama).members if not one.shifted]
    gap = hoyer[inside].mean() - hoyer.drop(inside).mean()
    assert abs(gap) < of_mean(hoyer.std() * math.sqrt(2), N)


def test_axes_of_the_reference_favour_it_and_pooled_axes_favour_nobody():
    # two groups alike but for the directions they vary in
    rng = np.random.default_rng(0)
    spread = np.geomspace(1, 0.05, 8)
    turns = [np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(2)]
    x = np.concatenate([rng.standard_normal((400, 8)) * spread @ turn for turn in turns]).astype(np.float32)
    item = np.arange(800, dtype=np.int32)
    sample = Sample(Site(SiteKind.RESID_POST, 0), "last", item, item, x)
    gaps = {
        basis: np.diff([sparsity.hoyer(seen[:400]).mean(), sparsity.hoyer(seen[400:]).mean()])
        for basis, seen in views(sample, item < 400, np.repeat(["in", "far"], 400), Unread("none"), Unread("none"))
        if not isinstance(seen, Unread)
    }
    assert gaps["pca"] < -0.15
    assert abs(gaps["pca_pooled"]) < of_mean(sparsity.hoyer(x).std() * math.sqrt(2), 400)


def test_readout_is_the_geometry_of_the_head(llama, found):
    outcomes = frames(found)["outcomes"]
    asked = ask(llama)
    ids = [list(prompt.ids[:8]) for prompt in asked.prompts]
    h = torch.from_numpy(np.stack(list(capture_states(llama, ids, "final_norm", "last").vector)))
    rows = llama.module.lm_head.weight.detach()
    order = [one.example_id for one in asked.members]
    answers = torch.tensor([prompt.ids[8] for prompt in asked.prompts])
    cosine = torch.cosine_similarity(h, rows[answers], dim=-1)
    np.testing.assert_allclose(values(outcomes, name="answer_alignment")[order], cosine, atol=REBATCHED)
    argmax = (h @ rows.T).argmax(-1)
    cosine = torch.cosine_similarity(h, rows[argmax], dim=-1)
    np.testing.assert_allclose(values(outcomes, name="argmax_alignment")[order], cosine, atol=REBATCHED)
    np.testing.assert_allclose(
        values(outcomes, name="argmax_row_hoyer")[order], sparsity.hoyer(rows[argmax].numpy()), atol=REBATCHED
    )
    top = (h @ rows.T).topk(10).indices
    for n in range(3):
        basis, _ = torch.linalg.qr(rows[top[n]].T)
        expected = (basis.T @ h[n]).norm() / h[n].norm()
        assert values(outcomes, name="top10_alignment")[order[n]] == pytest.approx(float(expected), abs=LOGITS)
    null = unembedding_of(llama).null
    logits = rows @ null
    assert logits.std() < min((rows @ torch.eye(16)[j]).std() for j in range(16))
    np.testing.assert_allclose(
        values(outcomes, name="null_share")[order], (h @ null) ** 2 / (h * h).sum(-1), atol=REBATCHED
    )


def test_the_direction_that_changes_the_softmax_least_is_blind_to_what_all_rows_share():
    module = tiny_llama()
    with torch.no_grad():
        module.lm_head.weight.add_(3 * torch.eye(32)[0])  # a change of all logits at once, which no softmax sees
    logits = module.lm_head.weight.detach() @ unembedding_of(load_model(module)).null
    rows = module.lm_head.weight.detach() - module.lm_head.weight.detach().mean(dim=0)
    least = float(torch.linalg.svdvals(rows)[-1]) / len(rows) ** 0.5
    assert float(logits.std(correction=0)) == pytest.approx(least, rel=LOGITS)


def test_without_the_row_the_state_says_nothing_of_the_token(llama):
    from probes.controls.readout import without_row

    rows = llama.module.lm_head.weight.detach()[:5]
    left = without_row(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), rows)
    assert (left * rows).sum(-1).abs().max() < REBATCHED


def test_pins_are_those_of_the_hooks(llama, found):
    outcomes = frames(found)["outcomes"]
    asked = ask(llama)
    ids = [list(prompt.ids[:8]) for prompt in asked.prompts]
    coordinate = found.pinned["coordinates"]["last"][:1]
    x = np.stack(list(capture_states(llama, ids, "resid_post.1", "last").vector))
    edit = pin("resid_post.1", coordinate, x[:N].mean(axis=0)[coordinate], "last")
    order = [one.example_id for one in asked.members]
    for norm in ("recomputed", "frozen"):
        hooks = intervene(llama, ids, edit, norm=norm, outcomes=["next_token_entropy"]).outcomes
        own = values(outcomes, name=f"next_token_entropy|pin(resid_post.1, 1, {norm})")
        np.testing.assert_allclose(own[order], hooks.edited, rtol=LOGITS)
        np.testing.assert_allclose(values(outcomes, name="next_token_entropy|clean")[order], hooks.clean, rtol=LOGITS)


def test_random_coordinates_are_moved_as_far_as_the_pinned_ones():
    from probes.controls.pinning import moved

    states = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    pinned = moved(states, torch.zeros(16), [3], None).of(states)
    length = (pinned - states).norm(dim=-1, keepdim=True)
    other = moved(states, torch.zeros(16), [5, 9], length).of(states)
    torch.testing.assert_close((other - states).norm(dim=-1, keepdim=True), length)
    assert (pinned[:, 3] == 0).all()
    assert (other[:, 3] == states[:, 3]).all()


def test_a_cell_is_the_same_again_whatever_else_is_asked(llama, found):
    """Whatever other sites are asked for: a cell depends on its own name alone."""
    with open_stage(llama, ask(llama, sites=("resid_post.1",))) as stage:
        again = frames(stage.cell("resid_post.1"))
    for name, keys in (
        ("measurements", ["basis", "position", "metric", "example_id"]),
        ("populations", ["group", "position", "metric", "unit"]),
    ):
        whole = frames(found)[name]
        whole = whole[(whole["site"] == "resid_post") & (whole["layer"] == 1) & (whole.get("group") != "s")]
        one, other = (
            rows.astype(dict.fromkeys(keys[:-1], str)).set_index(keys)["value"] for rows in (again[name], whole)
        )
        assert len(one)
        np.testing.assert_array_equal(one.sort_index(), other.sort_index())


def test_outliers_are_told_from_the_states_themselves(llama, found):
    rows = frames(found)["populations"]
    rows = rows[(rows["group"] == "s") & (rows["site"] == "resid_post") & (rows["layer"] == 1)]
    ids = [list(prompt.ids[:8]) for prompt in ask(llama).prompts]
    states = capture_states(llama, ids, "resid_post.1", "0:8").groupby("example_id")["vector"].apply(np.stack)
    lengths = np.stack([np.linalg.norm(own, axis=1) for own in states])
    ratio = lengths / np.median(lengths, axis=1, keepdims=True)
    value = rows.set_index(["metric", "basis"])["value"]
    assert value["first_token_norm", "raw"] == pytest.approx(np.median(ratio[:, 0]), rel=REBATCHED)
    assert value["largest_token_norm", "raw"] == pytest.approx(np.median(ratio[:, 1:].max(axis=1)), rel=REBATCHED)
    assert value["massive_tokens", "raw"] == pytest.approx((ratio > 5).mean())
    x = np.stack(list(states))[:, 1:].astype(np.float64)[ratio[:, 1:] <= 5]  # nothing precedes the first token
    energy = np.square(x).sum(axis=0)
    assert value["top_coordinate_energy", "raw"] == pytest.approx(energy.max() / energy.sum(), rel=REBATCHED)
    assert rows.loc[rows["metric"] == "top_coordinate_energy", "unit"].item() == energy.argmax()
    assert value["mean_hoyer", "raw"] == pytest.approx(sparsity.hoyer(x).mean(), rel=REBATCHED)
    without = np.delete(x, energy.argmax(), axis=1)
    assert value["mean_hoyer", "without_top(1)"] == pytest.approx(sparsity.hoyer(without).mean(), rel=REBATCHED)


@pytest.mark.parametrize("asked", ["made", "asked"])
def test_pins_of_a_head_that_is_not_linear_are_asked_of_it(llama, found, monkeypatch, asked):
    """Both ways give one result where the head is linear, so that either holds for the other."""
    if asked == "asked":
        monkeypatch.setattr(pinning, "LINEAR", -1.0)
    with open_stage(llama, ask(llama, positions=("last",))) as stage:
        own = frames(stage.cell(READOUT))["outcomes"]
    for name in ("nll|pin(resid_post.1, 1, frozen)", "next_token_entropy|random(resid_post.1, 1, recomputed)"):
        whole = values(frames(found)["outcomes"], name=name)
        np.testing.assert_allclose(values(own, name=name)[whole.index], whole, rtol=REBATCHED, atol=NEAR_ZERO)


def test_what_is_asked_for_is_what_is_done(llama):
    asked = replace(ask(llama, positions=("last",)), controls=("substitution",))
    tables = frames(control(llama, asked))
    assert {name.split("_")[0] for name in tables["populations"].metric} == {"substitution"}
    assert len(tables["measurements"]) == len(tables["outcomes"]) == 0


def test_cells_come_in_the_order_of_what_matters(llama):
    assert cells_of(llama, ask(llama).sites, names.CONTROLS) == (
        *(OUTLIERS, "final_norm", READOUT),
        *("resid_post.1", "resid_post.0"),
    )


def test_without_targets_and_without_a_reference_what_is_missing_is_said(llama):
    controls = control(llama, ask(llama, targets=False, shifted=False, positions=("last",)))
    assert "substitution" in controls.skipped
    assert controls.skipped["without_answer_row at final_norm, last"] == "no item has an answer"
    tables = frames(controls)
    assert "answer_alignment" not in set(tables["outcomes"].name)
    assert not any("|" in name for name in tables["outcomes"].name)
    assert set(tables["populations"][tables["populations"].group != "s"].unit) == {-1}


def test_an_encoder_has_bases_and_no_readout():
    torch.manual_seed(0)
    config = BertConfig(vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    model = load_model(BertModel(config))
    controls = control(model, ask(model, sites=("resid_post",), targets=False))
    assert set(frames(controls)["measurements"].basis) == {"centred", "pca", "pca_pooled", *names.WITHOUT_TOP}
    assert "next-token head" in controls.skipped["readout"]
    assert len(frames(controls)["outcomes"]) == 0


def test_a_layer_norm_with_a_bias_and_heads_and_wide_sites():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=99, n_embd=16, n_layer=2, n_head=4, n_positions=32)
    model = load_model(uneven(GPT2LMHeadModel(config)))
    controls = control(model, ask(model, sites=("attn_z.0", "mlp_post.1", "final_norm"), positions=("last",)))
    skipped = controls.skipped
    assert skipped["attn_z.0"] == "it has one vector per head"  # of outliers; units have rows of their own
    units = frames(controls)["populations"].query("site == 'attn_z'")
    assert set(units.unit) == {-1, 0, 1, 2, 3, 4}
    assert "more than those" in skipped["pca at mlp_post.1, last"]
    assert "not in the coordinates" in skipped["unembed at mlp_post.1, last"]
    assert set(frames(controls)["measurements"].site) == {"mlp_post", "final_norm"}
    assert any(name.startswith("nll|pin(resid_post.1") for name in frames(controls)["outcomes"].name)


def test_a_vector_that_is_not_finite_is_left_out_and_counted(llama):
    asked = ask(llama, positions=("last",))
    before = llama.module.model.embed_tokens.weight[98].clone()
    with torch.no_grad():
        llama.module.model.embed_tokens.weight[98] = torch.nan
    try:
        controls = control(llama, asked)
    finally:
        with torch.no_grad():
            llama.module.model.embed_tokens.weight[98] = before
    # a masked value of NaN still reaches earlier rows: the attention kernel multiplies it by zero
    n = sum(98 in prompt.ids for prompt in asked.prompts)
    assert n > 0
    assert controls.skipped["vectors at final_norm, last"] == f"{n} are not finite"
    assert not frames(controls)["measurements"].value.isna().any()


def test_a_mixture_of_experts_has_its_routing_measured_group_by_group():
    with torch.random.fork_rng():
        model = load_model(build("mixtral"))
    asked = ask(model, sites=("router_logits.0", "final_norm"), positions=("mean",))
    controls = control(model, asked)
    rows = frames(controls)["populations"]
    rows = rows[rows["basis"] == names.ROUTING]
    assert set(rows["group"]) == {"s/in/x", "s/shifted/x"}
    assert set(rows["run_id"]) == {"r"}
    assert set(zip(rows["site"], rows["layer"], strict=True)) == {("router_logits", 0)}
    shifted = [list(prompt.ids[: prompt.end]) for prompt in asked.prompts[N:]]
    alone = collect_routing(model, shifted, "mean")
    alone = alone[alone["layer"] == 0].set_index(["metric", "unit"])["value"]
    ours = rows[rows["group"] == "s/shifted/x"].set_index(["metric", "unit"])["value"]
    np.testing.assert_allclose(ours.loc[alone.index], alone, rtol=REBATCHED)
    dense = load_model(tiny_llama(hidden_size=16, num_hidden_layers=2))
    assert not (frames(control(dense, ask(dense)))["populations"]["basis"] == names.ROUTING).any()
