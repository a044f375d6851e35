"""Tools for a suite from a sweep that has a model: a token counter, and the model's own short answers."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import torch

from probes.capture.prompts import encode
from probes.models.loading import LoadedModel
from probes.models.tokens import Unbounded
from probes.suites.shifts.shift_suite import Tools
from probes.sweep.spec import SweepSpec

ANSWER_TOKENS: Final = 16  # an answer is a name or a number; what comes after its first line is not part of it
OWNER_DIGITS: Final = 8


def tools_of(spec: SweepSpec, model: LoadedModel) -> Tools:
    """The tools that one model gives; suites made with them carry its fingerprint (and a template) in their version.

    Texts are counted and answered as the sweep will read them, chat template included.
    """
    policy = spec.reading()
    count = partial(encode, Unbounded.of(model), **{**policy, "max_tokens": None})

    def count_tokens(text: str) -> int:
        return count(text).end

    def answer(text: str) -> str:
        prompt = encode(model, text, **policy)
        ids = torch.tensor([prompt.ids], device=model.device)
        module: Any = model.module
        with torch.inference_mode():
            out = module.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ANSWER_TOKENS,
                do_sample=False,
                pad_token_id=model.pad_id,
            )
        tokenizer: Any = model.tokenizer
        written = str(tokenizer.decode(out[0, len(prompt.ids) :], skip_special_tokens=True))
        return written.strip().split("\n")[0].strip()

    framed = "" if spec.template == "none" else "-chat"
    return Tools(owner=model.fingerprint[:OWNER_DIGITS] + framed, count_tokens=count_tokens, answer=answer)
