"""From a model and a corpus to two memories: the datastore, and the small model that has learned to answer for it.

Nine documents of ten are remembered; on the tenth, weight and temperature of each memory are found. Everything lies in
``<out>.unfinished`` until it is finished, and the next call with the same arguments goes on there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from probes.errors import InputError
from probes.memory.decoder import DecoderMemory, new_decoder
from probes.memory.interpolation import Tuned, encode_text, tune
from probes.memory.knn import NEIGHBOURS, KnnMemory, check_size, remember_corpus
from probes.memory.lessons import Lesson, Plan, learn, windows_of
from probes.memory.opening import open_memory, save_memory
from probes.memory.states import FFN_INPUT, key_place
from probes.memory.teacher import TASK, Teacher, teach
from probes.models.loading import LoadedModel, load_model
from probes.vocabulary.prompt import Prompt

HELD_OUT: Final = 10  # every so-manieth document is validation text
KNN: Final = "knn"
DECODER: Final = "decoder"

Unit = Literal["tokens", "steps"]
Tell = Callable[[str, Unit, int, int], None]
"""Told what is being done, in which unit, how much of it is done, and how much there is."""


class Memories(NamedTuple):
    """Memories that :func:`train_memories` made.

    Attributes:
        knn: the datastore.
        decoder: the small model.
        lesson: how it learned.
        n_keys: tokens that the datastore remembers.
    """

    knn: Tuned
    decoder: Tuned
    lesson: Lesson
    n_keys: int


class Corpus(NamedTuple):
    """Documents that are remembered, by name, and texts that nothing is made of but the tuning."""

    documents: dict[str, Prompt]
    validation: list[str]


def train_memories(
    model: LoadedModel,
    texts: Sequence[str],
    out: Path,
    plan: Plan,
    *,
    site: str = FFN_INPUT,
    k: int = NEIGHBOURS,
    tell: Tell | None = None,
) -> Memories:
    """Remember a corpus, and distil what is remembered; written to ``out/knn`` and ``out/decoder``.

    Args:
        model: the language model.
        texts: documents of the corpus; empty ones are left out.
        out: a folder that does not exist.
        plan: how the small model learns; its recipe is also its architecture.
        site: where keys are read.
        k: neighbours that vote.
        tell: told of every stage as it goes.

    Raises:
        InputError: if there is too little text, `out` exists, or its unfinished neighbour belongs to something else.
    """
    if not 0 <= plan.alpha <= 1:
        raise InputError(f"alpha is the share of the datastore in what is learned, 0 to 1, got {plan.alpha:g}")
    if out.exists():
        raise InputError(f"{out} is there already: name another folder")
    corpus = split_corpus(model, texts)
    check_size(corpus.documents, k)
    key_place(model, site)
    unfinished = out.with_name(f"{out.name}.unfinished")
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    _claim(unfinished, {"model": model.fingerprint, "corpus": digest, "site": site, "k": k, "plan": asdict(plan)})
    knn = _knn(model, corpus, unfinished / KNN, site, k)
    teacher = teach_of(knn, corpus.documents, unfinished / "teacher", tell)
    student, lesson = distil(model, corpus.documents, teacher, plan, unfinished / "student", tell=tell)
    decoder = tune(model, student, corpus.validation)
    shutil.rmtree(unfinished / DECODER, ignore_errors=True)
    save_memory(decoder, unfinished / DECODER)
    for part in ("teacher", "student"):
        shutil.rmtree(unfinished / part, ignore_errors=True)
    (unfinished / TASK).unlink()
    unfinished.replace(out)
    opened = open_memory(out / KNN, model), open_memory(out / DECODER, model)
    return Memories(*opened, lesson, sum(len(own.ids) - 1 for own in corpus.documents.values()))


def split_corpus(model: LoadedModel, texts: Sequence[str]) -> Corpus:
    """Nine documents of ten, encoded, and the tenth as validation text.

    Raises:
        InputError: if there are fewer than two documents with text.
    """
    held = [text for text in texts if text.strip()]
    if len(held) < 2:
        raise InputError(
            f"a memory needs a corpus of two documents or more, one of which is validation text; got {len(held)}"
        )
    step = min(HELD_OUT, len(held))
    validation = held[step - 1 :: step]
    kept = [text for number, text in enumerate(held) if number % step != step - 1]
    return Corpus({f"document {n}": encode_text(model, text) for n, text in enumerate(kept)}, validation)


def teach_of(knn: Tuned, documents: Mapping[str, Prompt], folder: Path, tell: Tell | None = None) -> Teacher:
    """Build the teacher: a datastore's distributions at its own corpus, at the temperature it was tuned to."""
    memory = knn.memory
    if not isinstance(memory, KnnMemory):
        raise TypeError(f"{memory.name} is no datastore")
    show = None if tell is None else partial(tell, "teacher", "tokens")
    return teach(memory, list(documents.values()), knn.temperature, folder, show)


def distil(
    model: LoadedModel,
    documents: Mapping[str, Prompt],
    teacher: Teacher | None,
    plan: Plan,
    unfinished: Path,
    *,
    name: str = "Memory Decoder",
    tell: Tell | None = None,
) -> tuple[DecoderMemory, Lesson]:
    """Train a small model on a corpus, with or without a teacher."""
    student = new_decoder(model, plan.recipe, name)
    windows = windows_of(list(documents.values()), plan.recipe.context_length, student.decoder.pad_id)
    show = None if tell is None else partial(tell, name, "steps")
    lesson = learn(student.decoder.module, windows, teacher, plan, unfinished, show)
    return new_version(student), lesson


def new_version(student: DecoderMemory) -> DecoderMemory:
    """The same module, read again, so that its fingerprint is that of the weights it has now."""
    loaded = load_model(student.decoder.module, tokenizer=student.decoder.tokenizer)
    return DecoderMemory(loaded, student.name)


def _knn(model: LoadedModel, corpus: Corpus, folder: Path, site: str, k: int) -> Tuned:
    """The datastore, tuned; as an interrupted call left it, if it did."""
    if folder.exists():
        return open_memory(folder, model)
    tuned = tune(model, remember_corpus(model, corpus.documents, site=site, k=k), corpus.validation)
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    save_memory(tuned, partial)
    partial.replace(folder)
    return tuned


def _claim(unfinished: Path, task: Mapping[str, object]) -> None:
    """Make sure that an unfinished folder is of this task."""
    unfinished.mkdir(parents=True, exist_ok=True)
    path = unfinished / TASK
    told = json.dumps(task, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") != told:
        raise InputError(f"{unfinished} holds the unfinished memory of something else: name another --out or remove it")
    path.write_text(told, encoding="utf-8")
