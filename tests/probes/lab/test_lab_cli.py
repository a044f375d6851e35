"""The laboratory on the command line: results on stdout, faults in one line, and nothing half-made."""

import json
import sys

import pytest
from transformers import AutoModelForCausalLM

from analyses.cli import main
from probes.lab import graded_path, read_record, reference_path
from probes.lab.recipe import RECIPES, SIZES, Recipe

BYTES_AND_MARKS = 259  # the smallest vocabulary there is
ROUNDED = 0.05 / 0.3  # sizes are named by their first digit, which of the smallest is a sixth of it either way

MINIATURE = Recipe(
    multiples=(0, 1, 2),
    unit=10,
    n_tails=3,
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_mlp=32,
    batch_size=20,
    learning_rate=1e-2,
    warmup_steps=5,
)


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "tiny", MINIATURE)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["sparsity", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return int(raised.value.code or 0), capsys.readouterr()

    return command


def test_a_model_is_trained_with_its_checkpoints(run, tmp_path):
    status, said = run("lab", "train", "--out", tmp_path / "model", "--recipe", "tiny", "--checkpoints", 3, "--seed", 4)
    assert status == 0
    record = read_record(tmp_path / "model")
    assert record.recipe.seed == 4
    assert f"{record.accuracy[20]:.3f}" in said.out
    assert len(list((tmp_path / "model" / "checkpoints").iterdir())) == 3


def test_an_interrupted_training_says_how_to_go_on(run, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("probes.lab.training.save_state", interrupt)
    status, said = run("lab", "train", "--out", tmp_path / "model", "--recipe", "tiny", "--checkpoints", 3)
    assert status == 130
    assert said.err.count("\n") == 1
    assert "the same command goes on" in said.err
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "huge"), "no recipe is called 'huge'; there are reference, graded, small, tiny"),
        (("--size", "7B"), "no size is called '7B'; there are 0.01M, 0.03M, 0.1M, 0.3M, 1M, 3M, 10M, 30M"),
        (("--family", "rnn"), "no family is called 'rnn'; there are llama, gpt2, mixture, mamba, grouped, sliding"),
        (("--optimizer", "sgd"), "no optimizer is called 'sgd'; there are adamw, equivariant"),
    ],
)
def test_an_unknown_choice_is_one_line_and_status_2(options, message, run, tmp_path):
    status, said = run("lab", "train", "--out", tmp_path / "model", *options)
    assert status == 2
    assert said.err.strip().removeprefix("sparsity: ") == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_size_has_as_many_weights_as_it_says(size):
    from probes.lab.families import build_model, n_parameters
    from probes.lab.recipe import changed

    if size in ("10M", "30M"):
        pytest.skip("the arithmetic is the same and the weights are drawn slowly")
    module = build_model(changed(RECIPES["tiny"], size=size), vocabulary=BYTES_AND_MARKS, seed=0)
    assert n_parameters(module) == pytest.approx(float(size[:-1]) * 1e6, rel=ROUNDED)


def test_the_world_is_shown_and_written_down_once(run, tmp_path):
    status, said = run("lab", "world")
    assert status == 0
    assert "8 of 2048 facts" in said.out
    status, _ = run("lab", "world", "--out", tmp_path / "facts.jsonl")
    assert status == 0
    rows = [json.loads(line) for line in (tmp_path / "facts.jsonl").read_text().splitlines()]
    facts = read_record(reference_path()).world.facts
    assert [(row["prompt"], row["tail"], row["presented"]) for row in rows] == [
        (fact.prompt, fact.tail, fact.exposure) for fact in facts
    ]
    status, said = run("lab", "world", "--out", tmp_path / "facts.jsonl")
    assert status == 2
    assert "is there already" in said.err


def test_twins_are_tabulated(run, tmp_path):
    status, said = run(
        "lab", "twins", "--recipe", "tiny", "--seeds", 2, "--conditions", "adamw,untrained", "--out", tmp_path / "twins"
    )
    assert status == 0
    assert "adamw" in said.out
    assert "untrained" in said.out
    assert len((tmp_path / "twins" / "twins.csv").read_text().splitlines()) == 5


def test_a_text_is_learned(run, tmp_path):
    (tmp_path / "corpus.txt").write_text("the cat sat on the mat. " * 40)
    status, said = run(
        *("lab", "text", tmp_path / "corpus.txt", "--out", tmp_path / "model", "--steps", 3),
        *("--context-length", 32, "--batch-size", 2),
    )
    assert status == 0
    assert "960 tokens of corpus read 0.19 times" in said.out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True).config.vocab_size == 259


def test_a_model_is_graded_beside_shortcuts(run):
    status, said = run("lab", "grade", graded_path(), "--limit", 4)
    assert status == 0
    for name in ("lab_recall", "lab_chains_matched", "lab_conflict", "recency"):
        assert name in said.out


def test_a_suite_is_frozen_as_a_sweep_would_ask_it(run, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"models: [{reference_path()}]\nsuites: [lab_exposure, lab_addition]\n")
    status, said = run("freeze", spec, "lab_addition", "--out", tmp_path / "sums.jsonl")
    assert status == 0
    assert "600 items" in said.out
    assert len((tmp_path / "sums.jsonl").read_text().splitlines()) == 601
    status, said = run("freeze", spec, "nothing", "--out", tmp_path / "other.jsonl")
    assert status == 2
    assert "it has lab_exposure, lab_addition" in said.err
    assert not (tmp_path / "other.jsonl").exists()
