"""Twins are what they say, estimates what an independent computation gives, and the shipped table can be made again."""

import dataclasses
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from probes.errors import InputError
from probes.lab import TrainingRecord, read_record
from probes.lab.paired_runs import measure_twin, train_twins
from probes.lab.paired_table import CONDITIONS, MEASURED, Twin, read_twins, summarise, write_twins
from probes.lab.recipe import TINY, Recipe
from probes.lab.training import prepare
from tests.samples import ERRORS, of_correlation

# A training on another CPU is another draw (probes.lab.paired_table), and one more of n draws lies within
# t sd sqrt(1 + 1/n) of their mean. In 1 % of runs chance may make one of twelve comparisons miss (two seeds, two
# conditions, three measures).
ONE_MISSES = 0.01 / 12

MINIATURE = Recipe(
    multiples=(0, 1, 2, 4),
    unit=12,
    n_tails=3,
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_mlp=32,
    batch_size=20,
    learning_rate=1e-2,
    warmup_steps=5,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("twins")
    return out, train_twins(out, n_seeds=2, recipe=MINIATURE)


def test_every_kind_is_made_with_every_seed_and_written_down(made):
    out, found = made
    assert [(twin.seed, twin.condition) for twin in found] == [(s, name) for s in range(2) for name in CONDITIONS]
    again = read_twins(out / "twins.csv")
    for twin, other in zip(found, again, strict=True):
        for value, written in zip(dataclasses.astuple(twin), dataclasses.astuple(other), strict=True):
            assert str(written) == str(float(f"{value:.5f}") if isinstance(value, float) else value)  # NaN is "nan"


def test_models_that_are_there_are_not_trained_again(made, monkeypatch):
    out, found = made

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("probes.lab.paired_runs.train", refuse)
    again = train_twins(out, n_seeds=2, recipe=MINIATURE)
    for twin, other in zip(found, again, strict=True):
        assert dataclasses.astuple(other) == pytest.approx(dataclasses.astuple(twin), nan_ok=True)
    with pytest.raises(InputError, match="another recipe"):
        train_twins(out, n_seeds=1, recipe=replace(MINIATURE, learning_rate=1e-3))


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="no condition is called 'evil'; there are adamw"):
        train_twins(tmp_path, n_seeds=1, conditions=("evil",), recipe=MINIATURE)


def test_correlations_are_those_of_an_independent_computation(made):
    """States by a hook on the final norm, Hoyer and projection written out, ranks by scipy."""
    out, found = made
    for twin in found[:2]:
        course = prepare(replace(MINIATURE, seed=twin.seed, **CONDITIONS[twin.condition].changes))
        path = out / f"{twin.condition}-{twin.seed}"
        course.module.load_state_dict(load_file(path / "model.safetensors"))
        record = read_record(path)
        kept = []
        handle = course.module.model.norm.register_forward_hook(lambda *args, kept=kept: kept.append(args[2][:, -1]))
        with torch.inference_mode():
            course.module(input_ids=course.sentences[:, :-2])
        handle.remove()
        states = kept[0].double().numpy()
        rows = course.module.lm_head.weight.detach().double().numpy()[course.sentences[:, -2].numpy()]
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        without = states - (states * units).sum(1, keepdims=True) * units
        assert np.allclose((without * units).sum(1), 0)
        root = states.shape[1] ** 0.5
        hoyer, other = ((root - np.abs(x).sum(1) / np.linalg.norm(x, axis=1)) / (root - 1) for x in (states, without))
        exposure = np.array(record.presented)
        known = np.array(record.known) & (exposure > 0)
        assert twin.n_mastered == known.sum()
        assert twin.all_facts == pytest.approx(stats.spearmanr(exposure, hoyer).statistic)
        assert twin.mastered == pytest.approx(stats.spearmanr(exposure[known], hoyer[known]).statistic)
        assert twin.all_facts_without_answer == pytest.approx(stats.spearmanr(exposure, other).statistic)
        assert twin.unseen_excess < hoyer.max()


def test_the_untrained_model_knows_nothing_and_has_nothing_presented(made):
    untrained = [twin for twin in made[1] if twin.condition == "untrained"]
    for twin in untrained:
        assert twin.n_mastered == 0
        assert np.isnan(twin.mastered)
        assert np.isnan(twin.recency_given_exposure)
        assert abs(twin.all_facts) < of_correlation(len(prepare(MINIATURE).world.facts))


def test_recency_is_told_from_exposure(monkeypatch):
    """Planted: Hoyer follows the step of the last presentation and nothing else, in a world that crosses the two."""
    course = prepare(replace(MINIATURE, unit=24, n_tails=8, order="early_late"))
    n_facts = len(course.world.facts)
    last = np.zeros(n_facts, int)
    for place, fact in enumerate(course.stream):
        last[fact] = place
    record = TrainingRecord(
        recipe=course.recipe,
        world=course.world,
        presented=tuple(fact.exposure for fact in course.world.facts),
        last_seen=tuple(int(place) or None for place in last),
        known=(True,) * n_facts,
        surprisals=(0.0,) * n_facts,
        losses=(),
        n_threads=1,
        torch_version="",
    )
    monkeypatch.setattr("probes.lab.paired_runs._hoyer", lambda _: 0.2 + 1e-6 * last)
    found = measure_twin("early_late", course, record)
    assert found.recency_given_exposure > 0.95
    assert abs(found.exposure_given_recency) < of_correlation(n_facts)


def test_the_interval_is_students(made):
    found = [replace(made[1][0], seed=seed, all_facts=value) for seed, value in enumerate((-0.4, -0.3, -0.5, np.nan))]
    estimate = summarise(found, "adamw", "all_facts")
    low, high = stats.t.interval(0.95, 2, loc=-0.4, scale=0.1 / 3**0.5)
    assert estimate == pytest.approx((-0.4, low, high, 3))
    assert np.isnan(summarise(found[:1], "adamw", "all_facts").low)


@pytest.mark.parametrize("content", [None, "", "condition,seed\nadamw,x\n", "a,b\n1,2\n"])
def test_what_is_no_table_of_twins_is_named(content, tmp_path):
    path = tmp_path / "twins.csv"
    if content is not None:
        path.write_text(content)
    if content == "":
        assert read_twins(path) == []
        return
    with pytest.raises(InputError, match="is not a table of paired trainings"):
        read_twins(path)


def test_a_table_survives_writing(tmp_path):
    twin = Twin(condition="adamw", seed=3, **{**dict.fromkeys(MEASURED, np.nan), "n_mastered": 2})
    write_twins(tmp_path / "twins.csv", [twin])
    (again,) = read_twins(tmp_path / "twins.csv")
    assert dataclasses.astuple(again) == pytest.approx(dataclasses.astuple(twin), nan_ok=True)


def test_the_table_is_read_without_torch():
    code = "import sys; from probes.lab.paired_table import read_twins; read_twins(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["adamw", "equivariant", "untrained"])
def test_the_shipped_table_has_the_same_eight_seeds_of_each(name):
    assert [twin.seed for twin in read_twins() if twin.condition == name] == list(range(8))


def test_what_the_shipped_table_shows():
    """Under AdamW the more presented are denser, not so under the twin, nor once the answer's row is projected out."""
    found = read_twins()
    assert summarise(found, "adamw", "all_facts").high < 0
    assert summarise(found, "adamw", "most_seen_excess").high < 0
    for name, measure in (
        ("equivariant", "all_facts"),
        ("equivariant", "mastered"),
        ("adamw", "mastered_without_answer"),
    ):
        told = summarise(found, name, measure)
        assert abs(told.mean) < ERRORS * (told.high - told.low) / (2 * stats.t.ppf(0.975, 7)), (name, measure)


@pytest.mark.long
def test_the_shipped_table_is_made_again(tmp_path, proof):
    """Not to the digit: on another CPU each training is another draw, from the law that the shipped rows are of."""
    shipped = read_twins()
    again = train_twins(tmp_path, n_seeds=2, conditions=("adamw", "equivariant"), recipe=TINY)
    for twin in again:
        for measure in ("all_facts", "mastered", "all_facts_without_answer"):
            rows = np.array([getattr(each, measure) for each in shipped if each.condition == twin.condition])
            reach = stats.t.ppf(1 - ONE_MISSES / 2, len(rows) - 1) * rows.std(ddof=1) * np.sqrt(1 + 1 / len(rows))
            assert abs(getattr(twin, measure) - rows.mean()) < reach, (twin, measure)
    for seed in range(2):
        adamw, equivariant = (twin for twin in again if twin.seed == seed)
        assert adamw.all_facts < equivariant.all_facts
    for name in ("adamw", "equivariant"):
        n_seeds = sum(twin.condition == name for twin in shipped)
        said = [
            f"{measure.replace('_', ' ')} {mean:.3f} [{low:.3f}, {high:.3f}]"
            for measure in ("all_facts", "mastered", "all_facts_without_answer", "mastered_without_answer", "rotated")
            for mean, low, high, _ in [summarise(shipped, name, measure)]
        ]
        proof(
            f"lab twins, {name}, {n_seeds} seeds, Spearman of exposure with Hoyer at final_norm: {'; '.join(said)}; "
            "two seeds retrained here lie among the shipped rows"
        )
