"""Bits per byte and mean Hoyer of a user's text under a chat template: plain transformers and numpy, nothing of ours.

    python tests/reference/text_in_template.py MODEL ITEMS.jsonl OUT.json [FIELD] [LIMIT]

Writes a list with, per item, the bits per byte of the text's own tokens and the mean Hoyer sparsity of their states
after the final norm. The text is found by rendering the template twice, around the text and around another one; it has
to stand between what both have in common at the beginning and at the end.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def hoyer(vector: np.ndarray) -> float:
    """``(sqrt d - L1 / L2) / (sqrt d - 1)``: 0 for a flat vector, 1 for one coordinate."""
    x = np.abs(vector.astype(np.float64))
    root = math.sqrt(len(x))
    return (root - x.sum() / math.sqrt((x * x).sum())) / (root - 1)


def wrapped(tokenizer, text: str) -> str:
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def alike(one: str, other: str) -> int:
    """How many characters two texts have in common at the beginning."""
    return next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def describe(model, tokenizer, text: str) -> dict[str, float]:
    """The two numbers of one text."""
    whole = wrapped(tokenizer, text)
    # two fillers with no character in common: what both prompts begin and end with is the template
    ones, twos = wrapped(tokenizer, "1" * 9), wrapped(tokenizer, "2" * 9)
    first = alike(ones, twos)
    last = len(whole) - alike(ones[::-1], twos[::-1])
    assert whole[first:last] == text.strip(), "the template does more to the text than to strip it"
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    covers = [bool(whole[max(a, first) : min(b, last)].strip()) for a, b in encoded["offset_mapping"]]
    own = range(covers.index(True), len(covers) - covers[::-1].index(True))
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True)
    log_p = out.logits[0].double().log_softmax(-1)
    bits = [-float(log_p[t - 1, ids[t]]) / math.log(2) for t in own]
    states = out.hidden_states[-1][0].float().numpy()
    n_bytes = len(text.strip().encode())
    return {"bits_per_byte": sum(bits) / n_bytes, "hoyer": float(np.mean([hoyer(states[t]) for t in own if t > 0]))}


def main(model_name: str, items: str, out: str, field: str = "question", limit: str = "60") -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    model = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.float32).eval()
    lines = Path(items).read_text(encoding="utf-8").splitlines()[: int(limit)]
    found = [describe(model, tokenizer, json.loads(line)[field]) for line in lines]
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
