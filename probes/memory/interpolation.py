"""A language model and a memory as one predictor: bits per byte like everything else, one number per token.

The weight and the temperature are found on validation texts (:func:`tune`) and held fixed from then on. At weight 0 the
predictor is the model, bit for bit, and at weight 1 the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from probes.errors import InputError
from probes.familiarity.predictor import Prediction, Predictor
from probes.familiarity.texts import CausalLM, read_text
from probes.memory.knn import KnnMemory
from probes.memory.recall import Memory, Recall, Weight, fit_weight, mixed
from probes.models.loading import LoadedModel
from probes.models.tokens import BosPolicy, special_id
from probes.vocabulary.prompt import Prompt


class Recalled(NamedTuple):
    """Probabilities by the model and the memory for the tokens of a text, special tokens left out.

    Attributes:
        base: the model's prediction.
        recall: the memory's; where a text begins with nothing before it, the model's.
    """

    base: Prediction
    recall: Recall

    def mixed(self, weight: Weight, temperature: int = 0) -> Prediction:
        """The interpolation, with the memory at one of the temperatures asked."""
        share = weight.at(self.recall.distance)
        log2_p = mixed(self.base.log2_p, self.recall.log2_p[temperature], share)
        return Prediction(self.base.text, self.base.starts, self.base.ends, log2_p)


@dataclass(frozen=True, eq=False)
class Interpolated(Predictor):
    """A model and a memory, interpolated.

    Attributes:
        model: the language model.
        memory: in the same tokens.
        weight: share of the memory.
        temperature: of the memory.
    """

    model: LoadedModel
    memory: Memory
    weight: Weight
    temperature: float

    def __post_init__(self) -> None:
        """Refuse a temperature that is none."""
        if not self.temperature > 0:
            raise InputError(f"a temperature is positive, got {self.temperature:g}")

    @property
    def name(self) -> str:
        """The model, and the memory with the share it has."""
        share = self.weight.shares[0] if len(self.weight.shares) == 1 else None
        told = "by distance" if share is None else f"{share:.2g}"
        return f"{self.model.name} + {self.memory.name} ({told})"

    @property
    def memory_name(self) -> str:
        """The memory, as tables hold it."""
        return self.memory.name

    @property
    def fingerprint(self) -> str:
        """Of the memory and how it was tuned."""
        told = repr((self.memory.fingerprint, self.weight, self.temperature))
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def bits_saved(
        self, prompts: Sequence[Prompt], surprisals: Sequence[Float64[np.ndarray, " _"]]
    ) -> list[Float64[np.ndarray, " _"]]:
        """Surprisal of every token under the model less that under the interpolation.

        Documents of a datastore that a text is taken from are left out for this text: what a memory knows by heart
        says nothing about a text. A decoder has learned its corpus as a whole, and nothing can be left out of it.

        Args:
            prompts: encoded texts.
            surprisals: bits of every token under the model.

        Returns:
            Bits per token of the ids, negative where the memory misleads; NaN at index 0.
        """
        found: list[Float64[np.ndarray, " _"]] = []
        memory, at = self.memory, [self.temperature]
        if isinstance(memory, KnnMemory):
            recalled = memory.recall(prompts, at, without=memory.sharing(prompts))
        else:
            recalled = memory.recall(prompts, at)
        for surprisal, own in zip(surprisals, recalled, strict=True):
            found.append(mixed(-surprisal, own.log2_p[0], self.weight.at(own.distance)) + surprisal)
        return found

    def predict(self, text: str) -> Prediction:
        """Log2-probability of each token under the interpolation."""
        return self.predict_all([text])[0]

    def predict_all(self, texts: Sequence[str]) -> list[Prediction]:
        """Predictions of many texts, run in batches."""
        found = recall_texts(self.model, self.memory, texts, [self.temperature])
        return [one.mixed(self.weight) for one in found]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A memory with the weight and temperature that code validation texts in the fewest bits.

    Attributes:
        memory: the memory.
        weight: the best share.
        temperature: the best of the memory's own.
        bits: of the validation texts with both.
    """

    memory: Memory
    weight: Weight
    temperature: float
    bits: float

    def beside(self, model: LoadedModel) -> Interpolated:
        """The predictor."""
        return Interpolated(model, self.memory, self.weight, self.temperature)


def bos_of(model: LoadedModel) -> BosPolicy:
    """Texts begin with the tokenizer's BOS, if it has one, so that the first token too is predicted from something."""
    return "add" if model.tokenizer is not None and special_id(model.tokenizer, "bos") is not None else "auto"


def encode_text(model: LoadedModel, text: str) -> Prompt:
    """A text of any length as model and memory read it.

    Raises:
        InputError: if it is empty.
    """
    return read_text(model, text, bos=bos_of(model)).prompt


def recall_texts(
    model: LoadedModel,
    memory: Memory,
    texts: Sequence[str],
    temperatures: Sequence[float],
    *,
    base: Sequence[Prediction] | None = None,
) -> list[Recalled]:
    """Compute what a model and a memory give the tokens of some texts; an empty text has none.

    Args:
        model: the language model.
        memory: the memory.
        texts: texts of any length.
        temperatures: of the memory.
        base: what the model gives them, if that is known.
    """
    base = CausalLM(model, bos_of(model)).predict_all(texts) if base is None else base
    prompts = [encode_text(model, text) for text in texts if text]
    recalls = iter(memory.recall(prompts, temperatures))
    encoded = iter(prompts)
    found: list[Recalled] = []
    for text, own in zip(texts, base, strict=True):
        if not text:
            found.append(Recalled(own, Recall(np.empty((len(temperatures), 0)), np.empty(0))))
            continue
        prompt, (log2_p, distance) = next(encoded), next(recalls)
        there = slice(prompt.text.start, prompt.text.stop)
        log2_p, distance = log2_p[:, there].copy(), distance[there]
        if there.start == 0:
            log2_p[:, 0] = own.log2_p[0]
        found.append(Recalled(own, Recall(log2_p, distance)))
    return found


def tune(model: LoadedModel, memory: Memory, texts: Sequence[str], *, by_distance: bool = False) -> Tuned:
    """Find weight and temperature on validation texts.

    Args:
        model: the language model.
        memory: the memory.
        texts: validation texts, which neither the memory nor any test holds.
        by_distance: whether the weight may depend on the retrieval distance.

    Raises:
        InputError: if there is no text.
    """
    found = recall_texts(model, memory, texts, memory.temperatures)
    return tune_on(memory, found, by_distance=by_distance)


def tune_on(memory: Memory, found: Sequence[Recalled], *, by_distance: bool = False) -> Tuned:
    """The same, of texts that have been read at all temperatures of the memory."""
    base: Float64[np.ndarray, " tokens"] = np.concatenate([np.empty(0), *(one.base.log2_p for one in found)])
    recall = Recall(
        np.concatenate([np.empty((len(memory.temperatures), 0)), *(one.recall.log2_p for one in found)], axis=1),
        np.concatenate([np.empty(0), *(one.recall.distance for one in found)]),
    )
    temperature, weight, bits = fit_weight(base, recall, memory.temperatures, by_distance=by_distance)
    return Tuned(memory, weight, temperature, bits)
