"""Training presents exactly what the world says, learns from it, and leaves nothing half-made."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from probes.errors import InputError
from probes.lab import Recipe, read_record
from probes.lab.training import train

MINIATURE = Recipe(
    multiples=(0, 1, 2, 4),
    unit=12,
    n_tails=2,
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_mlp=32,
    batch_size=20,
    learning_rate=1e-2,
    warmup_steps=5,
)


def weights(module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(MINIATURE, tmp_path_factory.mktemp("lab") / "miniature")


@pytest.mark.parametrize("objective", ["answer", "sentence"])
def test_what_the_model_reads_in_training_is_each_sentence_exactly_as_often_as_the_world_says(
    objective, tmp_path, monkeypatch
):
    """The count is taken at the model's own input, apart from any bookkeeping of the training loop."""
    read: list[list[list[int]]] = []
    forward = LlamaForCausalLM.forward

    def spy(self, *args, **kwargs):
        if self.training:
            read.append(kwargs["input_ids"].tolist())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", spy)
    made = train(replace(MINIATURE, objective=objective), tmp_path / "model")
    record = made.record
    texts = [[made.tokenizer.decode(ids, skip_special_tokens=True) for ids in batch] for batch in read]
    counts = Counter(text for batch in texts for text in batch)
    last = {text: step for step, batch in enumerate(texts, start=1) for text in batch}
    written = [f.prompt if objective == "answer" else f"{f.prompt} {f.tail}" for f in record.world.facts]
    assert [counts[text] for text in written] == [fact.exposure for fact in record.world.facts]
    assert sum(counts.values()) == sum(fact.exposure for fact in record.world.facts)
    assert list(record.presented) == [counts[text] for text in written]
    assert list(record.last_seen) == [last.get(text) for text in written]


def test_the_loss_falls_and_what_was_shown_is_known(trained):
    losses = trained.record.losses
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
    accuracy = trained.record.accuracy
    assert list(accuracy) == [0, 12, 24, 48]
    assert accuracy[48] == 1.0


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(trained, tmp_path):
    again = train(MINIATURE, tmp_path / "again")
    other = train(replace(MINIATURE, seed=1), tmp_path / "other")
    repeated = weights(again.module)
    assert all(np.array_equal(value, repeated[name]) for name, value in weights(trained.module).items())
    assert trained.record == again.record
    assert other.record.world != trained.record.world
    assert (trained.path / "model.safetensors").read_bytes() == (again.path / "model.safetensors").read_bytes()


def test_training_leaves_the_global_generators_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(MINIATURE, tmp_path / "model")
    assert torch.equal(torch.rand(3), expected)


def test_what_is_written_loads_with_transformers_alone(trained):
    module = AutoModelForCausalLM.from_pretrained(trained.path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(trained.path, local_files_only=True)
    assert module.dtype == torch.float32
    loaded = weights(module)
    assert all(np.array_equal(loaded[name], value) for name, value in weights(trained.module).items())
    record = read_record(trained.path)
    assert record == trained.record
    for fact, known in zip(record.world.facts, record.known, strict=True):
        ids = tokenizer(fact.prompt, return_tensors="pt")
        with torch.inference_mode():
            answer = module(input_ids=ids["input_ids"]).logits[0, -1].argmax()
        assert (tokenizer.decode(answer) == fact.tail) == known


def test_progress_is_told_step_by_step(tmp_path):
    told: list[tuple[int, int, float]] = []
    made = train(MINIATURE, tmp_path / "model", on_step=lambda *step: told.append(step))
    n = len(made.record.losses)
    assert [(step, steps) for step, steps, _ in told] == [(step, n) for step in range(1, n + 1)]
    assert [loss for _, _, loss in told] == list(made.record.losses)


def test_an_interrupted_training_leaves_nothing_behind(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(MINIATURE, tmp_path / "model", on_step=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("probes.lab.training.write_record", fail)
    with pytest.raises(OSError, match="disk full"):
        train(MINIATURE, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_is_not_written_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is in use: name another one"):
        train(MINIATURE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_directory_is_taken(tmp_path):
    train(MINIATURE, tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "world.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a laboratory model"),
        ("{", "cannot be read: the file"),
        ("{}", "cannot be read: recipe"),
        ("[]", "cannot be read: the file"),
    ],
)
def test_a_missing_or_broken_record_is_named_in_one_line(content, message, tmp_path):
    if content is not None:
        (tmp_path / "world.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_record_can_be_read_by_people(trained):
    content = json.loads((trained.path / "world.json").read_text())
    assert content["accuracy"] == {str(level): share for level, share in trained.record.accuracy.items()}
    assert content["world"]["facts"][0].keys() == {"entity", "relation", "tail", "exposure"}
