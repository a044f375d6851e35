"""A corpus in windows for a small model to learn from, and the learning.

Every token of every document is predicted in exactly one window, from what stands before it there; windows repeat the
special tokens at the beginning of a document. What is learned is ``alpha * KL(teacher || student) + (1 - alpha) *
cross-entropy`` (Memory Decoder, arXiv:2508.09874): 1 imitates the datastore, 0 is ordinary training. The order of
windows is drawn from the seed and nothing else is, so an interrupted training goes on to the same weights
(`probes.lab.history`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from probes.lab.history import STATE, due, load_state, save_state
from probes.lab.optimizers import build_update
from probes.lab.recipe import Recipe
from probes.memory.teacher import Teacher
from probes.vocabulary.prompt import Prompt

NOTHING: Final = -1

OnStep = Callable[[int, int], None]
"""Called after every step with the steps done, and with all."""


class Windows(NamedTuple):
    """Documents cut to the context of a small model.

    Attributes:
        ids: what it reads.
        mask: 1 where that is a token and no padding.
        following: the token to be predicted at each position, -1 where none is.
        key: which key of the datastore has been made of that token, -1 likewise.
    """

    ids: Int[Tensor, "windows length"]
    mask: Int[Tensor, "windows length"]
    following: Int[Tensor, "windows length"]
    key: Int[Tensor, "windows length"]

    @property
    def n_predicted(self) -> int:
        """Tokens that are predicted, each once."""
        return int((self.following >= 0).sum())

    @property
    def digest(self) -> str:
        """The same for the same windows."""
        return hashlib.sha256(self.ids.numpy().tobytes() + self.following.numpy().tobytes()).hexdigest()[:16]


class Lesson(NamedTuple):
    """Result of training a small model.

    Attributes:
        divergence: KL from the teacher to it of every step, nats per token; NaN without a teacher.
        cross_entropy: of every step, nats per token.
    """

    divergence: tuple[float, ...]
    cross_entropy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Settings of training a small model.

    Attributes:
        alpha: share of the teacher in the loss, 0 to 1.
        n_steps: optimizer steps.
        recipe: batch size, learning rate (falling to 0 after the warm-up), weight decay and seed.
    """

    alpha: float
    n_steps: int
    recipe: Recipe


def windows_of(prompts: Sequence[Prompt], length: int, pad_id: int) -> Windows:
    """Cut documents into windows of at most so many tokens.

    >>> prompt = Prompt((0, 11, 12, 13, 14, 15), 1, False, (-1,) * 6, None)
    >>> found = windows_of([prompt], 4, 9)
    >>> found.ids.tolist(), found.following.tolist(), found.key.tolist()
    ([[0, 11, 12, 13], [0, 14, 9, 9]], [[11, 12, 13, 14], [-1, 15, -1, -1]], [[0, 1, 2, 3], [-1, 4, -1, -1]])
    """
    rows: list[tuple[list[int], list[int], list[int]]] = []
    before = 0
    for prompt in prompts:
        ids, last = prompt.ids, len(prompt.ids) - 1
        first = ids[: prompt.n_special]
        room = length - len(first)
        for start in range(len(first), max(last, len(first) + 1), room):
            stop = min(start + room, last)
            shown = range(start, stop)
            opening = [*range(1, len(first) + 1)] if start == len(first) else [NOTHING] * len(first)
            told = [at if at <= last else NOTHING for at in opening] + [at + 1 for at in shown]
            following = [NOTHING if at == NOTHING else ids[at] for at in told]
            key = [NOTHING if at == NOTHING else before + at - 1 for at in told]
            rows.append(([*first, *ids[start:stop]], following, key))
        before += last
    padded = [
        [own + [fill] * (length - len(own)) for own in column]
        for column, fill in zip(zip(*rows, strict=True), (pad_id, NOTHING, NOTHING), strict=True)
    ]
    ids, following, key = (torch.tensor(column).reshape(-1, length) for column in padded)
    lengths = torch.tensor([[len(own)] for own, _, _ in rows])
    return Windows(ids, (torch.arange(length) < lengths).long(), following, key)


def learn(
    module: PreTrainedModel,
    windows: Windows,
    teacher: Teacher | None,
    plan: Plan,
    unfinished: Path,
    on_step: OnStep | None = None,
    task: Mapping[str, Any] | None = None,
) -> Lesson:
    """Let a model learn, from where an interrupted call with the same arguments left off.

    Args:
        module: the model; changed in place and left in evaluation mode.
        windows: what it reads.
        teacher: distributions by key; needed unless ``alpha`` is 0.
        plan: how.
        unfinished: a folder for what is needed to go on.
        on_step: told of every step.
        task: what else decides the weights.
    """
    told = {"plan": asdict(plan), "windows": windows.digest, **(task or {})}
    update = build_update(module, plan.recipe)
    losses = np.empty((0, 2))
    state = load_state(unfinished, told)
    if state is not None:
        module.load_state_dict(state.weights)
        losses = state.history["losses"].numpy()
        update.restore(state.moments, len(losses))
    unfinished.mkdir(parents=True, exist_ok=True)
    done = [(float(kl), float(ce)) for kl, ce in losses]
    saved = time.monotonic()
    module.eval()  # dropout would be chance that does not come from the seed, and that an interruption loses
    batches = list(_batches(len(windows.ids), plan, np.random.default_rng(plan.recipe.seed)))
    for step in range(len(done) + 1, plan.n_steps + 1):
        own = torch.from_numpy(batches[step - 1])
        kl, ce = _losses(module, Windows(*(part[own] for part in windows)), teacher)
        loss = ce if teacher is None else plan.alpha * kl + (1 - plan.alpha) * ce
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        update(_rate(plan, step))
        done.append((kl.item(), ce.item()))
        if due(saved):
            history = {"losses": torch.tensor(done, dtype=torch.float64)}
            save_state(unfinished, told, module.state_dict(), update.state(), history)
            saved = time.monotonic()
        if on_step is not None:
            on_step(step, plan.n_steps)
    (unfinished / STATE).unlink(missing_ok=True)
    return Lesson(tuple(kl for kl, _ in done), tuple(ce for _, ce in done))


def _losses(
    module: PreTrainedModel, windows: Windows, teacher: Teacher | None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Divergence from the teacher and cross-entropy, nats per predicted token."""
    output = module(input_ids=windows.ids, attention_mask=windows.mask, use_cache=False)
    there = windows.following >= 0
    log_q = cast("Tensor", output.logits)[there].float().log_softmax(-1)
    ce = -log_q.gather(-1, windows.following[there].unsqueeze(-1)).mean()
    if teacher is None:
        return torch.tensor(torch.nan), ce
    row, token, p = (torch.from_numpy(part) for part in teacher.rows(windows.key[there].numpy()))
    return (p * (p.log() - log_q[row, token])).sum() / len(log_q), ce


def _rate(plan: Plan, step: int) -> float:
    """Learning rate of a step, from 1: warmed up, then falling linearly to 0."""
    warm = min(1.0, step / plan.recipe.warmup_steps)
    return plan.recipe.learning_rate * warm * (1 - (step - 1) / plan.n_steps)


def _batches(n_windows: int, plan: Plan, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
    """Every pass takes all windows, each once, in a new order."""
    waiting = np.array([], np.int64)
    for _ in range(plan.n_steps):
        while len(waiting) < plan.recipe.batch_size:
            waiting = np.concatenate([waiting, rng.permutation(n_windows)])
        yield waiting[: plan.recipe.batch_size]
        waiting = waiting[plan.recipe.batch_size :]
