"""Tiny models, and the real one of ../shared/assets where it is there."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from probes.capture import LoadedModel, load_model

ASSETS = Path(__file__).parents[4] / "shared" / "assets"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def assets() -> Path:
    if not ASSETS.is_dir():
        pytest.skip("needs ../shared/assets, which is not part of the product")
    return ASSETS


@pytest.fixture(scope="session")
def stories(assets: Path) -> LoadedModel:
    return load_model(str(assets / "models" / "stories260K"))


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
