"""Tiny models of random weights, and a small sweep over one; the trained model is in tests/conftest.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from probes.models import LoadedModel, load_model
from probes.sweep.spec import SweepSpec, parse_spec

MakeSpec = Callable[..., SweepSpec]


@pytest.fixture
def make_spec(tmp_path: Path, tiny_model: Path) -> MakeSpec:
    """Write ``n`` items of growing length and give the spec over them, with changes."""

    def make(n: int = 7, **changes: Any) -> SweepSpec:
        nouns = ("cat", "dog", "mat", "tree")
        rows = [
            {
                "id": str(i),
                "text": "the cat sat on the mat and saw " + " ".join(nouns[j % 4] for j in range(i + 1)),
                "answer": nouns[i % 4],
                "level": i % 3,
                "split": "in" if i % 2 else "shifted",
            }
            for i in range(n)
        ]
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
        suite = {
            "file": "items.jsonl",
            "name": "items",
            "id": "id",
            "answer": "answer",
            "level": "level",
            "split": "split",
            "axis": "steps",
        }
        content = {
            "models": [str(tiny_model)],
            "suites": [suite],
            "metrics": ["gini", "hoyer"],
            "positions": ["last", "mean", "all"],
            "controls": "none",  # tests of the controls ask for them
        }
        return parse_spec(content | changes, folder=tmp_path)

    return make


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_llama(**changes) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings = {
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    return uneven(LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval())


def uneven(module: PreTrainedModel) -> PreTrainedModel:
    """Give norms the uneven gains of trained models: with gains of one an RMS norm leaves most metrics as they are."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 and ("norm" in name.lower() or "ln" in name.lower()):
                parameter.copy_(parameter + 0.5 * torch.randn(parameter.shape, generator=rng))
    return module


@pytest.fixture(scope="session")
def llama() -> LoadedModel:
    return load_model(tiny_llama())


@pytest.fixture(scope="session")
def gpt2() -> LoadedModel:
    torch.manual_seed(0)
    return load_model(GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=64)))


@pytest.fixture
def prompts() -> list[list[int]]:
    """Token ids of mixed lengths, the longest not first."""
    rng = torch.Generator().manual_seed(3)
    return [torch.randint(1, 99, (n,), generator=rng).tolist() for n in (5, 17, 2, 11, 17, 8)]


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> LoadedModel:
    return load_model(str(tiny_model))
