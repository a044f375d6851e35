"""A fine-tuned copy of a model: what ordinary training on some texts changes, to be measured beside the model itself.

Every token of every text is predicted in exactly one window (:mod:`probes.memory.lessons`); all weights learn, by AdamW
with a rate that falls to 0, in float32 whatever the model is stored in, and without dropout, so that the seed's order
of windows is all the chance there is. The model is not changed: the copy is a folder that every loader reads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from probes.errors import InputError
from probes.memory.interpolation import encode_text
from probes.memory.lessons import OnStep, Plan, learn, windows_of
from probes.models.loading import load_model

RECORD: Final = "fine-tuning.json"
LEARNING: Final = ("seed", "batch_size", "context_length", "learning_rate", "warmup_steps", "weight_decay")


class Copy(NamedTuple):
    """A copy that :func:`fine_tune` made.

    Attributes:
        path: its folder.
        losses: cross-entropy of the windows of every step before the step was taken, nats per predicted token.
        epochs: how often each window was read, on average.
    """

    path: Path
    losses: tuple[float, ...]
    epochs: float

    def ends(self) -> tuple[float, float]:
        """Mean loss of the first and of the last tenth of the steps."""
        tenth = max(1, len(self.losses) // 10)
        return float(np.mean(self.losses[:tenth])), float(np.mean(self.losses[-tenth:]))


def fine_tune(model: str, texts: Sequence[str], out: Path, plan: Plan, on_step: OnStep | None = None) -> Copy:
    """Train a copy of a causal language model on some texts and write it to `out`, whole or not at all.

    What is needed to go on after an interruption lies in ``<out>.unfinished``; the same call ends with the same
    weights. Beside the weights, ``fine-tuning.json`` says of which model (by its fingerprint), on which texts (by their
    hash) and how the copy was made.

    Args:
        model: a path or hub name.
        texts: one document each; empty ones are left out.
        out: a folder that is not there yet.
        plan: steps, batch size, window length, learning rate and seed; ``alpha`` must be 0, for there is no datastore.
        on_step: told of every step.

    Raises:
        InputError: if `out` is there, no text has a word in it, or the model has no tokenizer, predicts no next token,
            cannot read windows of that length, or learns so fast that its loss is no number.
    """
    if out.exists():
        raise InputError(f"{out} is there already: name another folder")
    loaded = load_model(model, dtype="float32")
    length = plan.recipe.context_length
    if loaded.tokenizer is None:
        raise InputError(f"{loaded.name} came without a tokenizer, which texts need")
    if not loaded.is_causal:
        raise InputError(f"{loaded.name} predicts no next token, which is what a copy would learn; name a causal model")
    if loaded.context_length is not None and length > loaded.context_length:
        raise InputError(f"{loaded.name} reads {loaded.context_length} tokens at most: ask for windows no longer")
    told = [text for text in texts if text.strip()]
    if not told:
        raise InputError("there is no text to learn from: every one is empty")
    windows = windows_of([encode_text(loaded, text) for text in told], length, loaded.pad_id)
    task = {
        "model": loaded.fingerprint,
        "texts": hashlib.sha256("\0".join(told).encode()).hexdigest(),
        "n_texts": len(told),
    }
    unfinished = out.with_name(f"{out.name}.unfinished")
    loaded.module.requires_grad_(True)
    losses = learn(loaded.module, windows, None, plan, unfinished, on_step, task).cross_entropy
    if not all(map(math.isfinite, losses)):
        raise InputError(f"the loss is no number after {len(losses)} steps: take a smaller learning rate")
    loaded.module.save_pretrained(unfinished)
    loaded.tokenizer.save_pretrained(unfinished)
    epochs = plan.n_steps * plan.recipe.batch_size / len(windows.ids)
    made = Copy(out, losses, epochs)
    settings = {name: asdict(plan.recipe)[name] for name in LEARNING}
    record = {**task, "steps": plan.n_steps, "epochs": epochs, **settings, "losses": losses}
    (unfinished / RECORD).write_text(json.dumps(record) + "\n", encoding="utf-8")
    unfinished.replace(out)
    return made
