"""Every way to add a domain to a model, side by side, on the same texts and tuned alike.

What a sceptic asks for stands beside what is praised: a copy of the model that was fine-tuned for as much computation
as the small model took (domain-adaptive pre-training); the same small model trained in the ordinary way, without a
datastore; counts of the corpus alone. Each is asked on test text of the new domain, and on text of the old one, which a
fine-tuned copy forgets and an interpolation cannot forget by more than its weight.

The weight and temperature of every memory are found on the same validation text. A number is one document of one seed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from probes.corpus.alphabet import Tokens, encoded
from probes.corpus.corpora import build_index
from probes.errors import InputError
from probes.familiarity.predictor import Prediction
from probes.familiarity.surprisals import read_surprisals
from probes.familiarity.texts import CausalLM
from probes.lab.families import n_parameters
from probes.memory.comparison.counting import CountMemory
from probes.memory.comparison.samples import Split
from probes.memory.decoder import DecoderMemory
from probes.memory.distillation import Tell, distil, teach_of
from probes.memory.interpolation import Recalled, Tuned, bos_of, encode_text, recall_texts, tune_on
from probes.memory.knn import NEIGHBOURS, remember_corpus
from probes.memory.lessons import Plan, learn, windows_of
from probes.memory.recall import Memory, Weight
from probes.memory.states import FFN_INPUT, read_rows
from probes.models.loading import LoadedModel, load_model
from probes.vocabulary.prompt import Prompt

BASE: Final = "base"
TEMPERED: Final = "base, tempered"
COPY: Final = "fine-tuned copy"
KNN: Final = "kNN-LM"
NEAR: Final = "kNN-LM, weight by distance"
ALPHAS: Final = (0.0, 0.5, 1.0)
ORDER: Final = 5
RATES: Final = (1e-3, 1e-4)  # learning rates of the fine-tuned copy, of which validation text chooses
ALONE: Final = Weight((1.0,))
TIMED: Final = 4  # documents
ROUNDS: Final = 3


class Score(NamedTuple):
    """One system on one document.

    Attributes:
        seed: of everything drawn.
        system: which.
        split: ``domain`` or ``source``.
        document: its name.
        n_bytes: of the document.
        n_tokens: of the document.
        bits: of the document under the system.
        alone: the same of the memory without the model; NaN for what is no memory, infinite where it held a token for
            impossible.
        share: weight of the memory; NaN where there is none or several.
        temperature: of the memory; NaN likewise.
        stored: bytes that have to be kept beside the model.
        time: processor time per token over that of the model alone.
    """

    seed: int
    system: str
    split: str
    document: str
    n_bytes: int
    n_tokens: int
    bits: float
    alone: float
    share: float
    temperature: float
    stored: int
    time: float


@dataclass(frozen=True, eq=False)
class Bench:
    """A model, texts, and what the model makes of them, for all systems to be scored against.

    Attributes:
        model: the model.
        seed: of everything drawn.
        texts: by split.
        base: the model's predictions of the validation, test and source texts.
        seconds: processor time of the model on the timed texts.
    """

    model: LoadedModel
    seed: int
    texts: Split
    base: Mapping[str, Sequence[Prediction]]
    seconds: float

    @classmethod
    def of(cls, model: LoadedModel, seed: int, texts: Split) -> Bench:
        """Let the model read everything."""
        reader = CausalLM(model, bos_of(model))
        parts = {"validation": texts.validation, "domain": texts.test, "source": texts.source}
        base = {name: reader.predict_all([one.text for one in own]) for name, own in parts.items()}
        prompts = timed(model, texts)
        return cls(model, seed, texts, base, quickest(lambda: read_surprisals(model, prompts)))

    def tuned(self, memory: Memory) -> Tuned:
        """A memory at its best on the validation texts."""
        return tune_on(memory, self.recalled(memory, "validation", memory.temperatures))

    def tempered(self, memory: Memory) -> Tuned:
        """A memory in the model's place, at its best temperature on the validation texts."""
        found = self.recalled(memory, "validation", memory.temperatures)
        bits = [sum(one.mixed(ALONE, number).bits for one in found) for number in range(len(memory.temperatures))]
        best = int(np.argmin(bits))
        return Tuned(memory, ALONE, memory.temperatures[best], bits[best])

    def recalled(self, memory: Memory, split: str, temperatures: Sequence[float]) -> list[Recalled]:
        """Predictions of the memory for the texts of a split."""
        base = self.base[split]
        return recall_texts(self.model, memory, [one.text for one in base], temperatures, base=base)

    def scores(self, systems: Mapping[str, Tuned], seconds: float) -> Iterator[Score]:
        """One memory, tuned in several ways, on both kinds of test text: beside the model, or alone at weight 1."""
        memory = next(iter(systems.values())).memory
        temperatures = [tuned.temperature for tuned in systems.values()]
        for split in ("domain", "source"):
            recalled = self.recalled(memory, split, temperatures)
            for number, (system, tuned) in enumerate(systems.items()):
                share = tuned.weight.shares[0] if len(tuned.weight.shares) == 1 else math.nan
                cost = seconds / self.seconds + (0.0 if tuned.weight == ALONE else 1.0)
                beside = (share, tuned.temperature, memory.n_bytes, cost)
                for name, one in zip(self.names(split), recalled, strict=True):
                    alone = replace(one.base, log2_p=one.recall.log2_p[number]).bits
                    yield self.score(system, split, name, one.mixed(tuned.weight, number), alone, *beside)

    def names(self, split: str) -> list[str]:
        """Names of the documents of a split."""
        return [one.name for one in (self.texts.test if split == "domain" else self.texts.source)]

    def score(self, system: str, split: str, name: str, found: Prediction, *beside: Any) -> Score:  # noqa: ANN401
        """One row."""
        alone, share, temperature, stored, cost = beside
        n_bytes, n_tokens = len(encoded(found.text)), len(found.log2_p)
        return Score(
            self.seed, system, split, name, n_bytes, n_tokens, found.bits, alone, share, temperature, stored, cost
        )


def compare(
    model: LoadedModel,
    seed: int,
    texts: Split,
    plan: Plan,
    folder: Path,
    *,
    k: int = NEIGHBOURS,
    site: str = FFN_INPUT,
    tell: Tell | None = None,
) -> list[Score]:
    """Score every system on every test document.

    Args:
        model: the language model.
        seed: as the rows have it.
        texts: of the domain and of the source.
        plan: how small models learn; alpha is set here.
        folder: where trainings are kept while they are not finished.
        k: neighbours that vote.
        site: where keys are read.
        tell: told of every stage.
    """
    if model.tokenizer is None:
        raise InputError(f"{model.name} came without a tokenizer, which texts need")
    bench = Bench.of(model, seed, texts)
    documents = {one.name: encode_text(model, one.text) for one in texts.train}
    prompts = timed(model, texts)
    found = [
        bench.score(BASE, split, name, own, math.nan, math.nan, math.nan, 0, 1.0)
        for split in ("domain", "source")
        for name, own in zip(bench.names(split), bench.base[split], strict=True)
    ]
    found += bench.scores({TEMPERED: bench.tempered(DecoderMemory(model))}, bench.seconds)
    index = build_index([one.text for one in texts.train], alphabet=Tokens(model.tokenizer))
    for counted in (CountMemory(index, 1), CountMemory(index, ORDER), CountMemory(index, ORDER, unbounded=True)):
        cost = quickest(lambda own=counted: own.recall(prompts, [1.0]))
        found += bench.scores({counted.name: bench.tuned(counted)}, cost)
    memory = remember_corpus(model, documents, site=site, k=k)
    told, states = bench.recalled(memory, "validation", memory.temperatures), read_rows(model, memory.place, prompts)
    knn, near = (tune_on(memory, told, by_distance=by_distance) for by_distance in (False, True))
    found += bench.scores({KNN: knn, NEAR: near}, quickest(lambda: memory.vote(np.concatenate(states))))
    teacher = teach_of(knn, documents, folder / "teacher", tell)
    students: list[DecoderMemory] = []
    for alpha in ALPHAS:
        name, own = f"small model, alpha {alpha:g}", replace(plan, alpha=alpha)
        students.append(
            distil(
                model, documents, teacher if alpha else None, own, folder / f"alpha-{alpha:g}", name=name, tell=tell
            )[0]
        )
        cost = quickest(lambda own=students[-1]: read_surprisals(own.decoder, prompts))
        found += bench.scores({name: bench.tuned(students[-1])}, cost)
    share = n_parameters(students[0].decoder.module) / n_parameters(model.module)
    as_dear = replace(plan, alpha=0.0, n_steps=max(1, round(plan.n_steps * share)))
    found += _copied(bench, documents, as_dear, folder, tell)
    return found


def _copied(
    bench: Bench, documents: Mapping[str, Prompt], plan: Plan, folder: Path, tell: Tell | None
) -> Iterator[Score]:
    """The fine-tuned copy in the model's place, and beside it; validation text chooses among learning rates."""
    found: list[Tuned] = []
    model = bench.model
    for rate in RATES:
        module = copy.deepcopy(model.module)
        module.requires_grad_(True)
        windows = windows_of(list(documents.values()), plan.recipe.context_length, model.pad_id)
        own = replace(plan, recipe=replace(plan.recipe, learning_rate=rate))
        show = None if tell is None else partial(tell, COPY, "steps")
        learn(module, windows, None, own, folder / f"copy-{rate:g}", show)
        found.append(bench.tempered(DecoderMemory(load_model(module, tokenizer=model.tokenizer), COPY)))
    best = min(found, key=lambda tuned: tuned.bits)
    yield from bench.scores({COPY: best, f"{COPY}, beside the model": bench.tuned(best.memory)}, bench.seconds)


def timed(model: LoadedModel, texts: Split) -> list[Prompt]:
    """Texts that systems are timed on."""
    return [encode_text(model, one.text) for one in texts.test[:TIMED]]


def quickest(run: Callable[[], object]) -> float:
    """Processor time of the quickest of a few runs, seconds."""
    found: list[float] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)
