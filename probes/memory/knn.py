"""kNN-LM: a datastore of states and of the tokens that followed them, as a distribution over the next token.

The state that a token is predicted from is looked up among the states of a corpus; the k nearest vote for the tokens
that followed them there, ``p(y) ~ sum over neighbours with y of exp(-distance^2 / temperature)`` (Khandelwal et al.
2020, arXiv:1911.00172). Distances are Euclidean and float64 (`probes.familiarity.datastore`): exhaustive below a
million keys, proposed by IVF-PQ above and computed again. Where a text is itself in the datastore, what has to be left
out is its own key, by id and never by rank (among duplicate keys rank 0 is somebody else), or its whole document.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float64, Int64

from probes.errors import InputError
from probes.familiarity.datastore import Datastore
from probes.memory.overlap import sharing
from probes.memory.recall import Memory, Recall
from probes.memory.states import FFN_INPUT, key_place, read_rows
from probes.models.loading import LoadedModel
from probes.models.taps import Taps
from probes.vocabulary.prompt import Prompt

NEIGHBOURS: Final = 64
TOKENS_AT_A_TIME: Final = 8192  # states that are searched for together
SCALE_SAMPLE: Final = 512
FACTS: Final = "memory.json"
KIND: Final = "knn"
ARRAYS: Final = ("keys", "mean", "document", "values")


class Votes(NamedTuple):
    """Neighbours of some states, and the tokens that followed them.

    Attributes:
        square: squared distances, ``inf`` where there are fewer than k.
        token: what followed each, -1 likewise.
    """

    square: Float64[np.ndarray, "queries k"]
    token: Int64[np.ndarray, "queries k"]

    def log_weights(self, temperature: float) -> Float64[np.ndarray, "queries k"]:
        """Natural logarithm of each neighbour's share of the vote; shares of a query add up to 1.

        Low temperatures leave the vote to the nearest, high ones give every neighbour the same.
        """
        score = -self.square / temperature
        top = score.max(axis=1, keepdims=True)
        return score - top - np.log(np.exp(score - top).sum(axis=1, keepdims=True))

    def dense(self, temperature: float, vocabulary: int) -> Float64[np.ndarray, "queries vocabulary"]:
        """Probability of every token; a row adds up to 1."""
        p = np.zeros((len(self.token), vocabulary))
        np.add.at(p, (np.arange(len(p))[:, None], self.token), np.exp(self.log_weights(temperature)))
        return p


@dataclass(frozen=True, eq=False)
class KnnMemory(Memory):
    """A corpus remembered state by state. Make one with :func:`remember_corpus`.

    Attributes:
        model: whose states they are.
        site: where they were read: ``ffn_input`` or a site.
        store: the states.
        values: the token that followed each.
        k: neighbours that vote.
        named: how tables call it.
    """

    model: LoadedModel
    site: str
    store: Datastore
    values: Int64[np.ndarray, " keys"]
    k: int = NEIGHBOURS
    named: str = "kNN-LM"

    def __post_init__(self) -> None:
        """Refuse a k that the datastore cannot serve."""
        if not 1 <= self.k <= len(self.values):
            raise InputError(
                f"k is from 1 to the number of keys, got k = {self.k} for {len(self.values)} keys: "
                "take a smaller k or more text"
            )

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.named

    @property
    def fingerprint(self) -> str:
        """Of keys, values, k, site and model."""
        digest = hashlib.sha256(json.dumps([KIND, self.model.fingerprint, self.site, self.k]).encode())
        for array in (self.store.keys, self.store.mean, self.values):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def n_bytes(self) -> int:
        """Float32 keys, and values in the fewest bytes that hold the vocabulary."""
        width = np.min_scalar_type(self.model.vocabulary - 1).itemsize
        return self.store.keys.nbytes + width * len(self.values)

    @property
    def place(self) -> Taps:
        """Site and layer at which states are read."""
        return key_place(self.model, self.site)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Powers of two around the squared distance of a typical key to its nearest other one."""
        step = max(1, len(self.values) // SCALE_SAMPLE)
        own = np.arange(0, len(self.values), step)
        states = self.store.keys[own] + self.store.mean
        distance = self.store.nearest(states, 1, itself=own).distance[:, 0]
        squares = distance[np.isfinite(distance) & (distance > 0)] ** 2
        scale = float(np.median(squares)) if len(squares) else 1.0
        return tuple(scale * 2.0**power for power in range(-4, 5))

    def vote(
        self,
        states: np.ndarray,
        *,
        without: Sequence[str | tuple[str, ...]] | None = None,
        itself: Int64[np.ndarray, " queries"] | None = None,
    ) -> Votes:
        """Neighbours of some states; arguments as :meth:`Datastore.nearest` takes them.

        Raises:
            InputError: if a state is not finite, or everything is left out.
        """
        distance, key = self.store.nearest(states, self.k, without=without, itself=itself)
        if len(key) and (key[:, 0] < 0).any():
            raise InputError("no key is left to look up: the datastore holds nothing but the document that is left out")
        return Votes(distance**2, np.where(key < 0, -1, self.values[key]))

    def recall(
        self,
        prompts: Sequence[Prompt],
        temperatures: Sequence[float],
        *,
        without: Sequence[str | tuple[str, ...]] | None = None,
    ) -> list[Recall]:
        """Its probabilities of the tokens of some prompts.

        Args:
            prompts: encoded texts.
            temperatures: at which; each positive.
            without: for each prompt the document of the corpus that it comes from, or several, whose keys are left
                out.
        """
        found: list[Recall] = []
        for number, states in self._read(prompts):
            ids = np.array(prompts[number].ids, dtype=np.int64)
            names = None if without is None else [without[number]] * (len(ids) - 1)
            votes = self.vote(states[:-1], without=names)
            here = votes.token == ids[1:, None]
            log2_p = np.full((len(temperatures), len(ids)), np.nan)
            for row, temperature in enumerate(temperatures):
                log2_p[row, 1:] = _log2_sum(votes.log_weights(temperature), here)
            found.append(Recall(log2_p, np.append(np.nan, np.sqrt(votes.square[:, 0]))))
        return found

    def sharing(self, prompts: Sequence[Prompt]) -> list[tuple[str, ...]]:
        """Documents of the corpus that each text is taken from (:mod:`probes.memory.overlap`).

        The first token of a prompt does not count: as nothing predicts it, the datastore does not hold it.
        """
        texts = [np.array(own.ids[max(1, own.text.start) : own.text.stop], dtype=np.int64) for own in prompts]
        found = sharing(texts, self.values, self.store.document, vocabulary=self.model.vocabulary)
        return [tuple(self.store.documents[number] for number in own) for own in found]

    def distribution(self, states: np.ndarray, temperature: float) -> Float64[np.ndarray, "queries vocabulary"]:
        """Probability of every token after each state; a row adds up to 1."""
        return self.vote(states).dense(temperature, self.model.vocabulary)

    def _read(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, np.ndarray]]:
        for start, group in grouped(prompts):
            states = read_rows(self.model, self.place, group)
            yield from enumerate(states, start)

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write it to a new folder.

        Args:
            folder: to be made.
            facts: what else the folder says of it: temperature and weight.
        """
        folder.mkdir(parents=True)
        arrays = (self.store.keys, self.store.mean, self.store.document, self.values)
        for name, values in zip(ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        told = {
            "kind": KIND,
            "model": self.model.fingerprint,
            "site": self.site,
            "k": self.k,
            "exact": self.store.exact,
            "recall": self.store.recall(self.k),
            "documents": self.store.documents,
            **facts,
        }
        (folder / FACTS).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], model: LoadedModel, name: str) -> KnnMemory:
        """Open what :meth:`save` wrote.

        Raises:
            InputError: if it was made with another model, or its files cannot be read.
        """
        if facts["model"] != model.fingerprint:
            raise InputError(f"{folder} holds states of another model than {model.name}: make one with this model")
        try:
            keys, mean, document, values = (np.load(folder / f"{part}.npy", allow_pickle=False) for part in ARRAYS)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} cannot be read ({error}): make it again") from None
        if not np.isfinite(keys).all() or len(keys) != len(values):
            raise InputError(f"{folder} is damaged (keys that are not finite, or not one value per key): make it again")
        documents = cast("list[str]", facts["documents"])
        exact_below = len(keys) + 1 if facts["exact"] else 1
        store = Datastore.of_keys(keys, mean, tuple(documents), document, exact_below=exact_below)
        return cls(model, str(facts["site"]), store, values, int(facts["k"]), name)


def remember_corpus(
    model: LoadedModel,
    documents: Mapping[str, Prompt],
    *,
    site: str = FFN_INPUT,
    k: int = NEIGHBOURS,
    name: str = "kNN-LM",
) -> KnnMemory:
    """Remember every token of a corpus with the state that it would have been predicted from.

    Args:
        model: the model.
        documents: the corpus, encoded, by the name of each document.
        site: ``ffn_input``, or a site of one layer.
        k: neighbours that vote.
        name: how tables call it.

    Raises:
        InputError: if there is no text, fewer tokens than k, or a state that is not finite.
    """
    check_size(documents, k)
    place, prompts, names = key_place(model, site), list(documents.values()), list(documents)
    states: list[np.ndarray] = []
    for _, group in grouped(prompts):
        states += [rows[:-1] for rows in read_rows(model, place, group)]
    values = np.concatenate([np.array(prompt.ids[1:], dtype=np.int64) for prompt in prompts])
    origin = [name for name, own in zip(names, states, strict=True) for _ in range(len(own))]
    return KnnMemory(model, site, Datastore.build(np.concatenate(states), origin), values, k, name)


def check_size(documents: Mapping[str, Prompt], k: int) -> None:
    """Refuse a corpus that has fewer tokens than neighbours are asked for.

    Raises:
        InputError: if it has.
    """
    n_keys = sum(max(0, len(prompt.ids) - 1) for prompt in documents.values())
    if n_keys < max(1, k):
        raise InputError(
            f"the corpus has {n_keys} tokens with something before them, and k = {k} neighbours are asked for: "
            "hand in more text or take a smaller k"
        )


def grouped(prompts: Sequence[Prompt]) -> Iterator[tuple[int, Sequence[Prompt]]]:
    """Prompts in groups of some thousand tokens, each with the number of its first."""
    start, size = 0, 0
    for number, prompt in enumerate(prompts):
        size += len(prompt.ids)
        if size >= TOKENS_AT_A_TIME or number == len(prompts) - 1:
            yield start, prompts[start : number + 1]
            start, size = number + 1, 0


def _log2_sum(log_weights: Float64[np.ndarray, "queries k"], here: Bool[np.ndarray, "queries k"]) -> np.ndarray:
    """Log2 of the weights of some neighbours together; ``-inf`` for none."""
    chosen = np.where(here, log_weights, -np.inf)
    top = chosen.max(axis=1, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return (safe + np.log(np.exp(chosen - safe[:, None]).sum(axis=1))) / math.log(2)
