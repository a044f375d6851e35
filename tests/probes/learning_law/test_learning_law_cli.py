"""The command: a whole small experiment, gone on with after an interruption, and what it refuses."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses import analyse
from analyses.data.written_tables import beside, open_law
from probes.cli import app, at_the_edge
from probes.commands import learning_cli
from probes.compression.prequential import recall
from probes.learning_law import results, scales, scaling
from probes.learning_law.arms import DIRECT, ONLINE, POLICY, SHUFFLED, SMALL, UNIFORM, exchanged, milestones
from probes.learning_law.perceptron import Sizes
from probes.learning_law.scales import Plan
from probes.learning_law.search import Search
from tests.probes.compression.test_codec import OVERHEAD_BITS, OVERHEAD_SHARE

TINY = Plan(Sizes(4, 24, 32, 32), 8, 0.2, 6, 3)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(scales.PERCEPTRONS, "small", TINY)
    monkeypatch.setattr(scaling, "RESAMPLES", 2)


def run(*arguments: str) -> None:
    at_the_edge(lambda: app(["learning-law", *arguments], standalone_mode=False))


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_arm_is_trained_and_a_search_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("--out", str(whole), "--seeds", "2")
    table = pd.read_csv(whole / "perceptron" / "table.csv").set_index("arm")
    faster = [f"{UNIFORM}, steps x {times}" for times in (3, 10, 30)]
    assert list(table.index) == [UNIFORM, *faster, POLICY, SMALL, SHUFFLED, ONLINE, DIRECT]
    assert (table["n_seeds"] == 2).all()
    assert table.loc[POLICY, "desired_area"] < table.loc[UNIFORM, "desired_area"]
    assert table.loc[UNIFORM, "acceleration"] == table.loc[UNIFORM, "after_all_work"] == 1
    assert table.loc[faster[0], "area"] < table.loc[UNIFORM, "area"]
    assert table.loc[POLICY, "work"] > 3
    law = open_law(whole)
    assert (
        law.command == "sparsity learning-law --scale small --learner perceptron --seeds 2 --step 0.2 --epochs 3 --out"
    )
    found = analyse(beside(None, law.tables), "contributions")
    assert np.isfinite([found[0].estimate, *(effect.estimate for effect in found[0].effects[:3])]).all()
    assert sum(finding.plot is not None for finding in found) == 4
    curves = law.tables["curves"]["perceptron"]
    own = curves[(curves["seed"] == 1) & (curves["arm"] == POLICY)]
    assert own["held_out"].tolist() == results.read_seeds(whole / "perceptron")[1][POLICY].held_out
    course = json.loads((whole / "perceptron" / "seed-0" / "course-large.json").read_text())
    assert [one["epoch"] for one in course] == [*milestones(TINY.epochs, 10)] == [0, 1, 2, 3]
    assert course[-1]["compression"] >= course[0]["compression"]
    assert course[0]["acceleration"] == 1.0
    seeds = pd.read_csv(whole / "perceptron" / "seeds.csv").set_index(["seed", "arm"])
    assert course[-1]["acceleration"] == pytest.approx(seeds.loc[(0, POLICY), "acceleration"])
    laws = pd.read_csv(whole / "perceptron" / "scaling.csv").set_index("arm")
    assert list(laws.index) == [UNIFORM, POLICY, ONLINE]
    assert laws.loc[UNIFORM, "acceleration"] == pytest.approx(1)
    assert (laws["floor"] == laws.loc[UNIFORM, "floor"]).all()
    assert "equal weights" in capsys.readouterr().out

    saved = results.save_search

    def stop(path, state):
        saved(path, state)
        if state.epochs == 2:
            raise OSError("the disk is full")

    monkeypatch.setattr(results, "save_search", stop)
    with pytest.raises(SystemExit):
        run("--out", str(broken), "--seeds", "2")
    monkeypatch.setattr(results, "save_search", saved)
    run("--out", str(broken), "--seeds", "2")
    apart, again = contents(whole), contents(broken)
    assert [name for name in apart | again if apart.get(name) != again.get(name)] == []


def test_an_arm_is_read_as_it_was_written(tmp_path):
    run("--out", str(tmp_path / "o"), "--seeds", "1")
    folder = tmp_path / "o" / "perceptron"
    arm = results.read_seeds(folder)[0][POLICY]
    results.save_arm(tmp_path / "again.json", arm)
    again = results.load_arm(tmp_path / "again.json")
    assert again._replace(seen=None) == arm._replace(seen=None)
    assert again.seen.equality == pytest.approx(arm.seen.equality, nan_ok=True)
    np.testing.assert_array_equal(again.seen.exact, arm.seen.exact)
    state = results.load_search(folder / "seed-0" / "search-large.safetensors")
    shares = results.example_weights(state)
    assert shares.mean().item() == pytest.approx(1)
    other = exchanged(state.weights, np.random.default_rng(0))
    assert not other.equal(state.weights)
    assert other.sort(dim=1).values.equal(state.weights.sort(dim=1).values)


def test_the_area_under_the_loss_curve_is_the_length_of_the_stream(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learning_cli, "THEOREM", 160)
    run("theorem", "--out", str(tmp_path))
    said = re.search(r"160 bytes .* is ([\d.]+) bits, the stream has (\d+) bits", capsys.readouterr().out)
    area, bits = float(said[1]), int(said[2])
    assert 0 <= bits - area <= OVERHEAD_SHARE * area + OVERHEAD_BITS
    assert len(recall((tmp_path / "theorem.spz").read_bytes())) == 160


def test_what_cannot_be_used_is_one_line(tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "out")
    run("--out", out, "--seeds", "1")
    monkeypatch.setitem(scales.PERCEPTRONS, "paper", TINY._replace(few=0))
    capsys.readouterr()
    for said, *arguments in (
        ("there is `run`, `weights`, `theorem`, got 'other'", "other", "--out", out),
        ("holds no seed", "weights", "--out", out),
        ("no learner is called 'x'", "--out", out, "--learner", "x"),
        ("no scale is called 'large'", "--out", out, "--scale", "large"),
        ("was begun with epochs {'perceptron': 3}", "--out", out, "--epochs", "2"),
        ("every set needs an example", "--out", str(tmp_path / "other"), "--scale", "paper"),
    ):
        with pytest.raises(SystemExit) as left:
            run(*arguments)
        told = capsys.readouterr().err
        assert left.value.code == 2, told
        assert said in told
        assert len(told.splitlines()) == 1, told


def test_a_training_that_diverges_names_its_step_and_keeps_what_was_done(tmp_path, monkeypatch, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run("--out", str(whole), "--seeds", "2")
    drawn = scales.TRIALS["perceptron"][1]

    def broken(plan, seed):
        trial = drawn(plan, seed)
        return trial if seed == 0 else replace(trial, rate=math.inf)

    monkeypatch.setitem(scales.TRIALS, "perceptron", (scales.PERCEPTRONS, broken))
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run("--out", str(out), "--seeds", "2")
    said = capsys.readouterr().err.splitlines()[-1]
    assert left.value.code == 2
    assert "the desired loss is nan after step 1; take a smaller --step" in said
    kept = contents(out / "perceptron" / "seed-0")
    assert kept == contents(whole / "perceptron" / "seed-0")
    monkeypatch.setitem(scales.TRIALS, "perceptron", (scales.PERCEPTRONS, drawn))
    run("--out", str(out), "--seeds", "2")
    assert contents(out) == contents(whole)


def test_a_search_that_improves_nothing_is_named(tmp_path):
    weights = torch.full((2, 4), 0.25, dtype=torch.float64)
    for name, totals in (("large", (2.0, 2.0, 2.0)), ("small", (2.0, 1.5)), ("other", (2.0,))):
        results.save_search(tmp_path / "seed-3" / f"search-{name}.safetensors", Search(weights, 1.0, totals))
    assert results.idle(tmp_path) == ["seed-3, large desired set"]
