"""Teacher of a memory: kNN-LM's distribution at every token of its own corpus, in streams, stored sparse.

A teacher distribution has at most k tokens that are not zero, so that is what is kept of it, in parts of some thousand
tokens, each a file that is there as a whole or not at all; a run that was interrupted goes on behind the last. A token
never votes for itself: its own key is left out by id. (The reference code leaves out whatever has rank 0, which among
duplicate keys is a true neighbour, and leaks the answer.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int64

from probes.errors import InputError
from probes.memory.knn import KnnMemory, Votes, grouped
from probes.vocabulary.prompt import Prompt

TASK: Final = "task.json"
FIELDS: Final = ("offsets", "tokens", "p")

Tell = Callable[[int, int], None]
"""Told of what is done and of all."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """Sparse distributions, one per key of a datastore, in its order.

    Attributes:
        offsets: where the tokens of each begin, and where those of the last end.
        tokens: with a probability that is not zero, ascending.
        p: these probabilities; they add up to 1.
    """

    offsets: Int64[np.ndarray, " bounds"]
    tokens: Int64[np.ndarray, " entries"]
    p: Float32[np.ndarray, " entries"]

    def rows(
        self, keys: Int64[np.ndarray, " rows"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Entries of some distributions end to end: which of the rows each is of, its token, its probability."""
        sizes = self.offsets[keys + 1] - self.offsets[keys]
        row = np.repeat(np.arange(len(keys)), sizes)
        at = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(self.offsets[keys], sizes)
        return row, self.tokens[at], self.p[at]

    @property
    def entropy(self) -> float:
        """Mean entropy, nats."""
        p = self.p.astype(np.float64)
        return float(-(p * np.log(p)).sum() / (len(self.offsets) - 1))


def teach(
    memory: KnnMemory, prompts: Sequence[Prompt], temperature: float, folder: Path, tell: Tell | None = None
) -> Teacher:
    """Compute, or go on computing, the distributions of a datastore at its own corpus.

    Args:
        memory: the datastore.
        prompts: the documents it was made of, in order.
        temperature: of the votes.
        folder: where parts are kept.
        tell: told of the tokens that are done, and of all.

    Raises:
        InputError: if the folder holds those of another datastore.
    """
    task = {"memory": memory.fingerprint, "temperature": temperature, "left out": "the key itself"}
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / TASK).exists() and json.loads((folder / TASK).read_text(encoding="utf-8")) != task:
        raise InputError(f"{folder} holds what another datastore has to teach: name another --out or remove it")
    (folder / TASK).write_text(json.dumps(task), encoding="utf-8")
    parts: list[Teacher] = []
    first = 0
    for start, group in grouped(prompts):
        n_keys = sum(len(prompt.ids) - 1 for prompt in group)
        path = folder / f"{start:06d}.npz"
        if not path.exists():
            itself = np.arange(first, first + n_keys)
            states = memory.store.keys[itself] + memory.store.mean
            _write(path, sparse(memory.vote(states, itself=itself), temperature))
        parts.append(_read(path))
        first += n_keys
        if tell is not None:
            tell(first, len(memory.values))
    return _joined(parts)


def sparse(votes: Votes, temperature: float) -> Teacher:
    """Votes as distributions: neighbours with the same token together."""
    weight = np.exp(votes.log_weights(temperature))
    order = np.argsort(votes.token, axis=1, kind="stable")
    token, weight = np.take_along_axis(votes.token, order, 1), np.take_along_axis(weight, order, 1)
    begins = np.ones(token.shape, dtype=bool)
    begins[:, 1:] = token[:, 1:] != token[:, :-1]
    entry = np.cumsum(begins.ravel()) - 1
    p = np.bincount(entry, weights=weight.ravel())
    row = np.repeat(np.arange(len(token)), begins.sum(axis=1))
    kept = p > np.finfo(np.float32).tiny
    sizes = np.bincount(row[kept], minlength=len(token))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Teacher(offsets, token.ravel()[begins.ravel()][kept], p[kept].astype(np.float32))


def _joined(parts: Sequence[Teacher]) -> Teacher:
    ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[1:] + before for part, before in zip(parts, ends, strict=False)]
    return Teacher(
        np.concatenate([np.zeros(1, dtype=np.int64), *offsets]),
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.p for part in parts]),
    )


def _write(path: Path, part: Teacher) -> None:
    fresh = path.with_suffix(".unfinished")
    with fresh.open("wb") as file:
        np.savez(file, offsets=part.offsets, tokens=part.tokens.astype(np.uint32), p=part.p)
    fresh.replace(path)


def _read(path: Path) -> Teacher:
    with np.load(path, allow_pickle=False) as held:
        found: dict[str, Any] = {name: held[name] for name in FIELDS}
    return Teacher(found["offsets"], found["tokens"].astype(np.int64), found["p"])
