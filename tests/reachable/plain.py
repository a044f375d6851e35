"""Transformers alone: what a model shows of a text without a line of the product, an oracle for what that measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trained import MODEL


class Shown(NamedTuple):
    """One text as transformers reads it, alone, in float64.

    Attributes:
        ids: token ids, BOS first.
        hidden: what ``output_hidden_states`` gives, ``(blocks + 1, tokens, width)``; the last is after the final norm.
        logits: ``(tokens, vocabulary)``.
        entering: what every watched module received, by its path.
        routers: logits of every router, from the first block on, ``(tokens, experts)``.
    """

    ids: list[int]
    hidden: np.ndarray
    logits: np.ndarray
    entering: dict[str, np.ndarray]
    routers: list[np.ndarray]

    @property
    def nats(self) -> np.ndarray:
        """Negative log-probability of every token but the first, given all before it."""
        log_p = log_softmax(self.logits)
        return -log_p[np.arange(len(self.ids) - 1), self.ids[1:]]

    @property
    def entropy(self) -> np.ndarray:
        """Entropy of what follows every token, in nats."""
        log_p = log_softmax(self.logits)
        return -(np.exp(log_p) * log_p).sum(axis=-1)


class Plain:
    """A causal model of a folder, as transformers loads it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.module = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, BOS first."""
        return self.tokenizer(text).input_ids

    def read(self, text: str, *watched: str, routers: bool = False) -> Shown:
        """Read one text; ``watched`` are ends of the paths of modules whose inputs are kept."""
        ids = self.ids(text)
        with torch.inference_mode(), self._watching(watched) as entering:
            asked = {"output_router_logits": True} if routers else {}
            out = self.module(torch.tensor([ids]), output_hidden_states=True, use_cache=False, **asked)
        hidden = np.stack([state[0].double().numpy() for state in out.hidden_states])
        logits = [own.double().numpy() for own in out.router_logits] if routers else []
        return Shown(ids, hidden, out.logits[0].double().numpy(), entering, logits)

    @contextmanager
    def _watching(self, ends: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
        kept: dict[str, np.ndarray] = {}
        hooks = [
            module.register_forward_pre_hook(
                lambda _, args, path=path: kept.__setitem__(
                    path, args[0].reshape(-1, args[0].shape[-1]).double().numpy()
                )
            )
            for path, module in self.module.named_modules()
            if path.endswith(ends or ("\0",))
        ]
        try:
            yield kept
        finally:
            for hook in hooks:
                hook.remove()


@cache
def stories() -> Plain:
    """The trained model of the tests."""
    return Plain(MODEL)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def hoyer(x: np.ndarray) -> np.ndarray:
    """Hoyer (2004): (root d - l1 / l2) / (root d - 1) of the last axis."""
    root = math.sqrt(x.shape[-1])
    return (root - np.abs(x).sum(-1) / np.sqrt(np.square(x).sum(-1))) / (root - 1)


def partial_rank_correlation(y: np.ndarray, x: np.ndarray, *held: np.ndarray) -> float:
    """Correlation of what least squares on the ranks of others leaves of two columns' ranks."""
    from scipy.stats import rankdata

    design = np.column_stack([np.ones(len(x)), *map(rankdata, held)])
    both = np.column_stack([rankdata(y), rankdata(x)])
    rest = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    return float(np.corrcoef(rest.T)[0, 1])


def two_nn(x: np.ndarray) -> float:
    """Facco et al. (2017): slope of -log(1 - F) on log(second / first distance), the largest tenth left out."""
    from scipy.spatial.distance import cdist

    nearest = np.sort(cdist(x, x) + np.diag(np.full(len(x), np.inf)), axis=1)
    log_mu = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))[: int(0.9 * len(x))]
    height = -np.log(1 - np.arange(1, len(log_mu) + 1) / len(x))
    return float(log_mu @ height / (log_mu @ log_mu))


def by_exchange(one: np.ndarray, other: np.ndarray, parts: int) -> np.ndarray:
    """Share of each of equal parts in the change of mean Hoyer: what all pairs gain when ``one`` gets the other's."""
    first, second = np.repeat(one, len(other), axis=0), np.tile(other, (len(one), 1))
    gains = []
    for own in np.split(np.arange(one.shape[1]), parts):
        mixed = first.copy()
        mixed[:, own] = second[:, own]
        gains.append((hoyer(mixed) - hoyer(first)).mean())
    return np.array(gains) / (hoyer(other).mean() - hoyer(one).mean())
