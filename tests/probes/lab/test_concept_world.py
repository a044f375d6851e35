"""A world of graded categories: what is planted is there, arms differ in frequency alone, and a command writes it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from probes import open_run
from probes.cli import app
from probes.errors import InputError
from probes.lab.concept_world import FEATURES, MEMBERS, build_concepts, write_concepts
from probes.suites.concepts import ConceptSuite
from tests.samples import of_mean


def test_arms_differ_in_frequency_alone_and_members_have_as_much_said_of_them():
    coupled, free = (build_concepts(coupled=arm, seed=3) for arm in (True, False))
    assert [(m.item, m.features, m.typicality) for m in coupled.members] == [
        (m.item, m.features, m.typicality) for m in free.members
    ]
    assert coupled.coupling > 0.98
    assert abs(np.mean([build_concepts(coupled=False, seed=seed).coupling for seed in range(30)])) < of_mean(
        1 / np.sqrt(8 * 11), 30
    )
    for world in (coupled, free):
        assert {len(set(member.features)) for member in world.members} == {FEATURES}
        assert sum(member.weight for member in world.members) == pytest.approx(1.0)
        assert len({member.item for member in world.members}) == 8 * MEMBERS
    first = coupled.members[:MEMBERS]
    pool = set(first[0].features)  # of the most typical member, which has all of its category
    assert [len(pool & set(m.features)) / FEATURES for m in first] == [m.typicality for m in first]


def test_what_is_written_is_what_was_drawn_and_the_suite_reads_it(tmp_path):
    world = build_concepts(coupled=False, seed=1)
    write_concepts(world, tmp_path / "w", n_sentences=4000, seed=1)
    lines = (tmp_path / "w/corpus.txt").read_text().splitlines()
    with (tmp_path / "w/counts.csv").open(newline="") as file:
        counts = {row["word"]: int(row["count"]) for row in csv.DictReader(file)}
    words = [word for line in lines for word in line.split()]
    assert sum(counts.values()) == len(lines) == 4000
    assert all(words.count(item) == count for item, count in list(counts.items())[:20])
    weights = [member.weight for member in world.members]
    assert stats.pearsonr(weights, [counts[member.item] for member in world.members]).statistic > 0.95
    suite = ConceptSuite(norms=str(tmp_path / "w/norms.csv"), frequency=str(tmp_path / "w/counts.csv"),
                         templates=("a {item}",), polarity="higher")  # fmt: skip
    items = suite.suite().items(np.random.default_rng(0))
    assert len(items) == 8 * MEMBERS + 8
    with pytest.raises(InputError, match="new or empty directory"):
        write_concepts(world, tmp_path / "w", n_sentences=4000, seed=1)


def test_the_command_says_what_it_wrote_and_refuses_another_arm(tmp_path):
    out = tmp_path / "w"
    done = CliRunner().invoke(
        app, ["lab", "concepts", "--out", str(out), "--frequency", "coupled", "--sentences", "1000"]
    )
    assert done.exit_code == 0
    assert "96 members of 8 categories" in done.output
    wrong = CliRunner().invoke(app, ["lab", "concepts", "--out", str(tmp_path / "x"), "--frequency", "free"])
    assert wrong.exit_code != 0
    assert not (tmp_path / "x").exists()


def test_arms_are_trained_asked_about_their_own_members_and_not_made_twice(tmp_path):
    command = ["lab", "arms", "--out", str(tmp_path / "arms"), "--seeds", "1", "--steps", "2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "next: sparsity report" in done.output
    run = open_run(*sorted((tmp_path / "arms/sweeps").iterdir()))
    assert {Path(model).parts[-3:] for model in run.runs()["model"]} >= {
        (str(tmp_path / "arms").split("/")[-1], "models", f"{arm}-0") for arm in ("coupled", "decoupled")
    }
    assert set(run.runs()["step"]) == {0, 1, 2}
    assert len(run.failures()) == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "arms").rglob("*.safetensors")}
    assert CliRunner().invoke(app, command).exit_code == 0
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "arms").rglob("*.safetensors")}
