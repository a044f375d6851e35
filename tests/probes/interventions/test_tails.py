"""Tails of neurons: the longest that fits its error, neuron by neuron, and a model that runs without it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from probes.capture import capture_states, encode
from probes.cli import app
from probes.errors import InputError
from probes.interventions.tails import (
    cett_sparsity,
    critical_sparsity,
    density_curve,
    down_projection,
    mlp_sites,
    tails,
)
from probes.models import load_model
from probes.models.loading import LoadedModel
from probes.records import open_run
from probes.sweep.run import run_sweep
from probes.vocabulary import names
from tests.probes.conftest import MakeSpec, tiny_llama
from tests.tolerances import FLOAT64_SOLVED, LOGITS, TWO_ROUTES

ERROR = 0.2


def errors_by_hand(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Error of every tail of one token, neuron by neuron; entry k is that of the k smallest."""
    parts = a[:, None].astype(np.float64) * w.astype(np.float64)
    order = np.argsort(np.linalg.norm(parts, axis=1), kind="stable")
    sums = np.vstack([np.zeros(w.shape[1]), np.cumsum(parts[order], axis=0)])
    return np.linalg.norm(sums, axis=1) / np.linalg.norm(sums[-1])


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(tiny_llama(hidden_size=16, intermediate_size=40, num_hidden_layers=2))


def test_the_tail_fits_and_a_longer_one_does_not(model: LoadedModel) -> None:
    site = mlp_sites(model)[1]
    down = down_projection(model, site)
    a = np.stack(list(capture_states(model, [[1, 5, 9, 4, 7, 3]], str(site), "all")["vector"]))
    gone = tails(torch.from_numpy(a), down, ERROR).numpy()
    found = cett_sparsity(torch.from_numpy(a), down, ERROR)
    for row, mask, share in zip(a, gone, found, strict=True):
        by_hand = errors_by_hand(row, down.rows.numpy())
        length = int(mask.sum())
        assert share == length / 40
        assert 0 < length < 40
        assert by_hand[length] <= ERROR * (1 + LOGITS)
        assert by_hand[length + 1] > ERROR * (1 - LOGITS)
        rows = down.rows.numpy().astype(np.float64)
        left = row.astype(np.float64) @ rows - np.where(mask, 0, row).astype(np.float64) @ rows
        error = np.linalg.norm(left) / np.linalg.norm(row.astype(np.float64) @ rows)
        assert error == pytest.approx(by_hand[length], rel=FLOAT64_SOLVED)  # a difference of sums, and a sum


def test_planted_neurons_are_all_that_is_kept() -> None:
    rows = torch.eye(10)
    down = type(down_projection(load_model(tiny_llama()), mlp_sites(load_model(tiny_llama()))[0]))(rows, torch.ones(10))
    vectors = torch.full((1, 10), 0.01)
    vectors[0, 3] = 1.0
    assert cett_sparsity(vectors, down, ERROR).tolist() == [0.9]
    assert math.isnan(cett_sparsity(torch.zeros(1, 10), down, ERROR)[0])


def test_the_model_runs_on_with_its_tails_cut(model: LoadedModel) -> None:
    prompts = [encode(model, [1, 5, 9, 4, 7, 3]), encode(model, [2, 8, 6])]
    whole, small, large = density_curve(model, prompts, [0.05, 0.6])
    assert (whole.sparsity, whole.error) == (0.0, 0.0)
    assert 0 < small.sparsity < large.sparsity < 1
    nats = []
    for ids in ([1, 5, 9, 4, 7, 3], [2, 8, 6]):  # plain transformers
        with torch.no_grad():
            log_p = model.module(torch.tensor([ids])).logits[0].log_softmax(-1)
        nats += [-float(log_p[at, token]) for at, token in enumerate(ids[1:])]
    assert whole.nll == pytest.approx(np.mean(nats), rel=TWO_ROUTES)
    hooks = []
    taken = []
    for site in mlp_sites(model):
        down = down_projection(model, site)

        def cut(_module, arguments, down=down):
            (a,) = arguments
            keep = np.stack([_kept(row, down.rows.numpy()) for row in a[0].numpy()])
            taken.append(1 - keep.mean())
            return (a * torch.from_numpy(keep),)

        hooks.append(model.taps.points[site].module.register_forward_pre_hook(cut))
    edited = []
    for ids in ([1, 5, 9, 4, 7, 3], [2, 8, 6]):
        with torch.no_grad():
            log_p = model.module(torch.tensor([ids])).logits[0].log_softmax(-1)
        edited += [-float(log_p[at, token]) for at, token in enumerate(ids[1:])]
    for hook in hooks:
        hook.remove()
    assert large.nll == pytest.approx(np.mean(edited), rel=TWO_ROUTES)
    assert large.sparsity == pytest.approx(np.average(taken, weights=[6, 6, 3, 3]))


def _kept(row: np.ndarray, w: np.ndarray, error: float = 0.6) -> np.ndarray:
    parts = np.linalg.norm(row[:, None] * w, axis=1)
    rank = np.argsort(np.argsort(parts, kind="stable"), kind="stable")
    by_hand, low, high = errors_by_hand(row, w), 0, len(row)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if by_hand[middle] <= error else (low, middle)
    return (rank >= low).astype(np.float32)


def test_a_sweep_measures_the_share_of_every_item(make_spec: MakeSpec, tmp_path: Path) -> None:
    asked = {"sites": ["mlp_post"], "positions": ["last", "mean"], "metrics": ["hoyer"], "density": [0.1, ERROR]}
    spec = make_spec(**asked)
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    rows = run.measurements(basis=names.TAILS)
    assert set(rows["metric"]) == {"cett_sparsity(0.1)", "cett_sparsity(0.2)"}
    own = load_model(spec.models[0].name)
    texts = run.examples().set_index("example_id")["text"]
    site = mlp_sites(own)[1]
    weight = down_projection(own, site).rows.numpy()
    for position in ("last", "mean"):
        found = rows[(rows["layer"] == 1) & (rows["position"] == position) & (rows["metric"] == "cett_sparsity(0.2)")]
        states = capture_states(own, list(texts[found["example_id"]]), str(site), position)
        by_hand = states["vector"].map(lambda a: 1 - _kept(a, weight, ERROR).mean())
        expected = by_hand.groupby(states["example_id"].astype(int)).mean()
        np.testing.assert_allclose(found["value"], expected, atol=1.01 / weight.shape[0])  # a tie may fall either way
    assert run_sweep(spec, tmp_path / "run").n_measured == 0
    with pytest.raises(InputError, match="density is about the neurons of MLPs; add mlp_post to sites"):
        make_spec(density=[0.2], sites=["resid_post"])


def test_the_command_prints_and_writes_the_curve(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Dr. Frederick Miller lives in\n\nThe capital of the land is\n")
    asked = ["density", "lab-reference", "--texts", str(tmp_path / "texts.txt"), "--max-tokens", "24"]
    result = CliRunner().invoke(app, [*asked, "--errors", "0.1 0.5", "--out", str(tmp_path / "curve.json")])
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "curve.json").read_text())
    assert [point["error"] for point in told["curve"]] == [0.0, 0.1, 0.5]
    assert f"{told['curve'][1]['perplexity']:.3f}" in result.output


def test_what_cannot_be_cut_is_said(tmp_path: Path, model: LoadedModel) -> None:
    (tmp_path / "empty.txt").write_text("one\n\nword\n")
    for arguments, message in (
        (["--texts", str(tmp_path / "empty.txt")], "has no passage of two words or more"),
        (["--texts", str(tmp_path / "no.txt")], "cannot read"),
        (["--texts", str(tmp_path / "empty.txt"), "--errors", "2"], "--errors should be numbers between 0 and 1"),
    ):
        result = CliRunner().invoke(app, ["density", "lab-reference", *arguments])
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)
    with pytest.raises(InputError, match="between 0 and 1, not at 1"):
        density_curve(model, [encode(model, [1, 2])], [1.0])
    assert math.isnan(critical_sparsity(density_curve(model, [encode(model, [1, 2, 3])], [0.01]), 10.0))
