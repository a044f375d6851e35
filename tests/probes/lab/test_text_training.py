"""A model trained on a text has read all of it, evenly, and is loadable by anyone."""

import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.errors import InputError
from probes.lab import Recipe
from probes.lab.text_training import build_text_tokenizer, cut, train_on_text
from probes.lab.training_record import Lineage, lineage

TEXT = "The cat sat on the mat. A dog sat on a log; the naïve cat ran → off. " * 12
MINIATURE = Recipe(
    d_model=32, n_layers=1, n_heads=2, d_mlp=48, batch_size=4, context_length=24, warmup_steps=5, learning_rate=1e-2
)


@pytest.mark.parametrize("vocabulary", [None, 300])
def test_any_text_is_written_in_tokens_and_back(vocabulary):
    tokenizer = build_text_tokenizer([TEXT], vocabulary)
    for text in (TEXT, "something else: Ж\n\t\x00ß", "  spaces  "):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    n_tokens = len(tokenizer(TEXT)["input_ids"])
    assert n_tokens == len(TEXT.encode()) if vocabulary is None else n_tokens < 0.6 * len(TEXT.encode())
    assert len(tokenizer) <= (vocabulary or 259)


@pytest.mark.parametrize("length", [9, 24, 100])
def test_windows_hold_every_token_of_the_corpus_in_order(length):
    tokenizer = build_text_tokenizer([TEXT], None)
    tokens = tokenizer(TEXT)["input_ids"]
    windows = cut(tokens, length)
    assert set(windows[:, 0].tolist()) == {tokenizer.bos_token_id}
    body = windows[:, 1:].flatten().tolist()
    whole = len(tokens) // (length - 1) * (length - 1)
    assert body[:whole] == tokens[:whole]
    assert windows[-1, 1:].tolist() == tokens[-(length - 1) :]


def test_each_pass_reads_every_window_once_and_the_model_loads(tmp_path, monkeypatch):
    file = tmp_path / "corpus.txt"
    file.write_text(TEXT, encoding="utf-8")
    from transformers import LlamaForCausalLM

    read: list[tuple[int, ...]] = []
    forward = LlamaForCausalLM.forward

    def spy(self, *args, **kwargs):
        read.extend(map(tuple, kwargs["input_ids"].tolist()))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", spy)
    tokenizer = build_text_tokenizer([TEXT], None)
    windows = [tuple(row) for row in cut(tokenizer(TEXT)["input_ids"], 24)[:, :-1].tolist()]
    n_steps = 3 * len(windows) // 4 + 1
    made = train_on_text([file], tmp_path / "model", MINIATURE, n_steps=n_steps)
    for i in range(3):
        assert Counter(read[i * len(windows) : (i + 1) * len(windows)]) == Counter(windows)
    assert np.mean(made.losses[-5:]) < 0.7 * made.losses[0]
    assert made.n_tokens == len(TEXT.encode())
    assert made.epochs == n_steps * 4 / len(windows)
    loaded = AutoModelForCausalLM.from_pretrained(made.path, local_files_only=True)
    ids = AutoTokenizer.from_pretrained(made.path, local_files_only=True)(TEXT[:20], return_tensors="pt")["input_ids"]
    assert torch.isfinite(loaded(input_ids=ids).logits).all()


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import probes.lab.history as checkpoints
from probes.lab.text_training import train_on_text
from tests.probes.lab.test_text_training import MINIATURE
checkpoints.SECONDS_BETWEEN_STATES = 0.0
def die(step, *_):
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
train_on_text([Path(sys.argv[1])], Path(sys.argv[2]), MINIATURE, n_steps=40, vocabulary=300, on_step=die)
"""


def test_killed_and_started_again_it_ends_in_the_same_weights(tmp_path):
    file, out = tmp_path / "corpus.txt", tmp_path / "model"
    file.write_text(TEXT, encoding="utf-8")
    whole = train_on_text([file], tmp_path / "whole", MINIATURE, n_steps=40, vocabulary=300)
    died = subprocess.run([sys.executable, "-c", KILLED, str(file), str(out), "17"], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not out.exists()
    steps: list[int] = []
    with pytest.raises(InputError, match="another recipe"):
        train_on_text([file], out, MINIATURE, n_steps=41, vocabulary=300)
    made = train_on_text(
        [file], out, MINIATURE, n_steps=40, vocabulary=300, on_step=lambda step, *_: steps.append(step)
    )
    assert steps == list(range(18, 41))
    assert made.losses == whole.losses
    files = sorted(path.name for path in whole.path.iterdir())
    assert files == sorted(path.name for path in out.iterdir())
    for name in files:
        assert (whole.path / name).read_bytes() == (out / name).read_bytes(), name
    assert not out.with_name("model.unfinished").exists()


@pytest.mark.parametrize(
    ("content", "vocabulary", "message"),
    [
        (b"", None, "is empty"),
        (b"\xff\xfe", None, "not UTF-8"),
        (b"short", None, "take a shorter context or more text"),
        (TEXT.encode(), 100, "more than 259 entries"),
        (None, None, "cannot read"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_in_one_line(content, vocabulary, message, tmp_path):
    file = tmp_path / "corpus.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        train_on_text([file], tmp_path / "model", MINIATURE, n_steps=1, vocabulary=vocabulary)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_checkpoints_on_the_way_know_their_step_and_seed(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text(TEXT, encoding="utf-8")
    made = train_on_text([file], tmp_path / "model", MINIATURE, n_steps=8, n_checkpoints=3)
    kept = sorted((made.path / "checkpoints").iterdir())
    assert [lineage(str(path), None) for path in kept] == [Lineage(step, MINIATURE.seed) for step in (0, 1, 3)]
    assert lineage(str(made.path), None) == Lineage(8, MINIATURE.seed)
    first, last = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (kept[0], made.path))
    assert not torch.equal(first["lm_head.weight"], last["lm_head.weight"])
