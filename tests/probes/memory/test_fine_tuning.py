"""A fine-tuned copy: its loss by another way, its states, the untouched model, kills and refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from analyses.cli import main
from probes.errors import InputError
from probes.memory import lessons
from probes.memory.fine_tuning import RECORD, fine_tune
from probes.memory.lessons import Plan
from tests.probes.memory.conftest import MINIATURE, TEXTS, make_model
from tests.tolerances import LOGITS

TOLD = [TEXTS["cat"], TEXTS["dog"]]
PLAN = Plan(
    alpha=0.0,
    n_steps=40,
    recipe=replace(MINIATURE, batch_size=2, context_length=24, learning_rate=1e-2, warmup_steps=4),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model"
    made = make_model()
    made.module.save_pretrained(path)
    made.tokenizer.save_pretrained(path)
    return path


def loss_of(folder, text):
    """Mean nats per byte of a text's first 40 tokens after <bos>, by transformers alone."""
    tokenizer, module = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"][:40]]])
    with torch.inference_mode():
        output = module(input_ids=ids, output_hidden_states=True)
    return float(cross_entropy(output.logits[0, :-1], ids[0, 1:])), output.hidden_states[-1][0].double().numpy()


def test_a_copy_learns_the_texts_its_states_move_and_the_model_stays(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    made = fine_tune(str(folder), [*TOLD, "  "], tmp_path / "copy", PLAN)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    own, states = loss_of(folder, TEXTS["cat"])
    learned, moved = loss_of(tmp_path / "copy", TEXTS["cat"])
    assert learned < 0.7 * own  # 40 steps over two sentences; the other text below is no part of them
    cosine = (states * moved).sum(-1) / np.linalg.norm(states, axis=-1) / np.linalg.norm(moved, axis=-1)
    assert cosine.max() < 0.99
    assert loss_of(tmp_path / "copy", TEXTS["sums"])[0] - loss_of(folder, TEXTS["sums"])[0] > learned - own
    record = json.loads((tmp_path / "copy" / RECORD).read_text())
    assert (record["n_texts"], record["steps"], record["losses"]) == (2, 40, list(made.losses))
    assert made.ends()[1] < made.ends()[0]


def test_the_first_loss_is_that_of_the_model_itself(folder, tmp_path):
    text = TEXTS["sums"][:20]
    plan = replace(PLAN, n_steps=1, recipe=replace(PLAN.recipe, batch_size=1))
    (first,) = fine_tune(str(folder), [text], tmp_path / "copy", plan).losses
    assert first == pytest.approx(loss_of(folder, text)[0], rel=LOGITS)


def gpt2_with_dropout(folder, tokenizer):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=32, resid_pdrop=0.5, embd_pdrop=0.5
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_kill_changes_nothing_and_a_seed_does(family, folder, tmp_path, monkeypatch):
    if family == "gpt2":  # tied embeddings, and dropout, which must not be drawn
        gpt2_with_dropout(tmp_path / "model", make_model().tokenizer)
        folder = tmp_path / "model"
    plan = replace(PLAN, n_steps=12)
    whole = fine_tune(str(folder), TOLD, tmp_path / "whole", plan)
    monkeypatch.setattr(lessons, "due", lambda _saved: True)

    def stop(done: int, _total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(str(folder), TOLD, tmp_path / "part", plan, stop)
    assert not (tmp_path / "part").exists()
    again = fine_tune(str(folder), TOLD, tmp_path / "part", plan)
    assert again.losses == whole.losses
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]
    other = fine_tune(str(folder), TOLD, tmp_path / "other", replace(plan, recipe=replace(plan.recipe, seed=5)))
    assert other.losses != whole.losses


def test_what_cannot_be_tuned_is_refused_in_one_line(folder, tmp_path):
    out = tmp_path / "copy"
    with pytest.raises(InputError, match="every one is empty"):
        fine_tune(str(folder), ["", " \n"], out, PLAN)
    with pytest.raises(InputError, match=f"reads {MINIATURE.context_length} tokens at most"):
        fine_tune(str(folder), TOLD, out, replace(PLAN, recipe=replace(PLAN.recipe, context_length=64)))
    with pytest.raises(InputError, match="smaller learning rate"):
        fine_tune(str(folder), TOLD, out, replace(PLAN, recipe=replace(PLAN.recipe, learning_rate=1e30)))
    encoder = tmp_path / "encoder"
    BertModel(BertConfig(vocab_size=259, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(
        encoder
    )
    with pytest.raises(InputError, match="without a tokenizer"):
        fine_tune(str(encoder), TOLD, out, PLAN)
    make_model().tokenizer.save_pretrained(encoder)
    with pytest.raises(InputError, match="predicts no next token"):
        fine_tune(str(encoder), TOLD, out, PLAN)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(InputError, match="is there already"):
        fine_tune(str(folder), TOLD, out, PLAN)


def test_the_command_says_what_it_made_and_what_comes_next(folder, tmp_path, monkeypatch, capsys):
    texts, out = tmp_path / "texts.jsonl", tmp_path / "copy"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TOLD))
    words = f"sparsity lab fine-tune {folder} --texts {texts} --out {out} --steps 8 --context-length 24 --seed 3"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    assert f"models: [{folder}, {out}]" in capsys.readouterr().out
    record = json.loads((out / RECORD).read_text())
    assert (record["seed"], record["steps"], record["warmup_steps"]) == (3, 8, 1)
