"""Hidden states of a real model: stories260K on children's stories, encyclopedia text and random bytes."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ASSETS = Path(__file__).parents[3] / "shared" / "assets"
N_TEXTS, N_TOKENS = 100, 96
needs_assets = pytest.mark.skipif(not ASSETS.exists(), reason="needs ../shared/assets (stories260K and its texts)")


def _texts(group: str) -> list[str]:
    if group == "bytes":
        rng = np.random.default_rng(0)
        return ["".join(map(chr, rng.integers(32, 127, 400))) for _ in range(N_TEXTS)]
    path = ASSETS / "text" / f"{group}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@cache
def states(group: str) -> NDArray[np.float64]:
    """States after block 4 (resid_post.4) of 100 texts cut to 96 tokens, without the first token, (9500, 64)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = ASSETS / "models" / "stories260K"
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    ids = [tokenizer(text)["input_ids"][:N_TOKENS] for text in _texts(group)]
    ids = [row for row in ids if len(row) == N_TOKENS][:N_TEXTS]
    found: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        found.append(hidden[:, 1:].double().reshape(-1, hidden.shape[-1]))

    hook = model.model.layers[4].register_forward_hook(keep)
    try:
        with torch.inference_mode():
            model(torch.tensor(ids))
    finally:
        hook.remove()
    return found[0].numpy()
