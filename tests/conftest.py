"""What every test relies on: no network, one thread, a tiny model on disk, and hypothesis without a clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.kernels import EXPECTED, running
from tests.trained import MODEL

if TYPE_CHECKING:
    from probes.models import LoadedModel

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("gate", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("kernel", deadline=None, max_examples=5, derandomize=True)
settings.load_profile("kernel" if os.environ.get(EXPECTED) else "gate")

ASSETS = Path(__file__).resolve().parents[2] / "shared" / "assets"
"""Real models, texts and tasks that are no part of the product; the trained model that is one: `tests.trained`."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A run under another kernel says what the libraries chose."""
    if EXPECTED in os.environ:
        told = ", ".join(f"{library} {choice}" for library, choice in running().items())
        terminalreporter.write_line(f"kernel: {told}")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side on few cores; more threads per test only make them wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real models and texts, where there is one."""
    if not ASSETS.is_dir():
        pytest.skip("needs ../shared/assets (real models and texts)")
    return ASSETS


@pytest.fixture(scope="session")
def stories() -> LoadedModel:
    """The small trained model of `tests.trained`, which has read 4,000 stories; tests leave it as it is."""
    from probes.models import load_model

    return load_model(str(MODEL))


@pytest.fixture(scope="session")
def stories260k(assets: Path) -> LoadedModel:
    """The published model of that name, for what is known of its numbers."""
    from probes.models import load_model

    return load_model(str(assets / "models" / "stories260K"))


WORDS = [
    *("the", "a", "and", "cat", "dog", "mat", "tree", "sat", "ran"),
    *("on", "under", "saw", "one", "two", "three", "four", "five", "six"),
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama of width 16 with a word-level tokenizer, as a directory."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("tiny")
    vocabulary = {word: index for index, word in enumerate(["<unk>", "<s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>").save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes the sentence that a long proof has earned; `make prove` collects them in PROOFS.md."""

    def say(sentence: str) -> None:
        path = os.environ.get("SPARSITY_PROOFS")
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"- {sentence} (`{request.node.nodeid}`)\n")

    return say
