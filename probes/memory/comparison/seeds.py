"""The comparison, seed by seed; what is finished is kept and not done again.

Without a model of the user's, each seed trains one of its own on documentation, byte by byte; the new domain is then
the code of the standard library, so that everything is there on every machine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from probes.errors import InputError
from probes.lab.recipe import Recipe
from probes.lab.text_training import train_on_text
from probes.memory.comparison.experiment import compare
from probes.memory.comparison.samples import Text, library_code, source_texts, split_texts
from probes.memory.comparison.table import frame_of
from probes.memory.distillation import Tell
from probes.memory.knn import NEIGHBOURS
from probes.memory.lessons import Plan
from probes.memory.states import FFN_INPUT
from probes.models.loading import LoadedModel, load_model

DOCUMENTATION: Final = Recipe(
    d_model=96,
    n_layers=3,
    n_heads=3,
    d_mlp=288,
    batch_size=16,
    context_length=256,
    learning_rate=3e-3,
    warmup_steps=50,
)
"""Of the model that is trained where none is handed in: .4 million weights."""
TASK: Final = "task.json"


class Question(NamedTuple):
    """Settings of a comparison.

    Attributes:
        model: the language model; None trains one on documentation for every seed.
        domain: documents of the new domain; None: code of the standard library.
        source: held-out documents of the domain that the model was trained on; None: documentation.
        documents: how many are remembered.
        characters: of the passage taken from each.
        base_steps: optimizer steps of a model that is trained here.
        k: neighbours that vote.
        site: where keys are read.
    """

    model: LoadedModel | None
    domain: Sequence[Text] | None
    source: Sequence[Text] | None
    documents: int
    characters: int
    base_steps: int
    k: int = NEIGHBOURS
    site: str = FFN_INPUT


def compare_seeds(
    question: Question, plan: Plan, seeds: Sequence[int], out: Path, tell: Tell | None = None
) -> pd.DataFrame:
    """Scores of every document, system and seed.

    Args:
        question: what is compared.
        plan: how small models learn.
        seeds: of splits, small models, and the model that is trained.
        out: a folder; ``seed-N.csv`` in it is a seed that is finished.
        tell: told of every stage.

    Raises:
        InputError: if the folder holds another comparison, or there are too few texts.
    """
    domain = library_code() if question.domain is None else question.domain
    train, held_out = source_texts() if question.source is None or question.model is None else ([], [])
    source = held_out if question.source is None else question.source
    drawn = {
        seed: split_texts(domain, source, documents=question.documents, characters=question.characters, seed=seed)
        for seed in seeds
    }
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, question, plan)
    found: list[pd.DataFrame] = []
    for seed, split in drawn.items():
        path = out / f"seed-{seed}.csv"
        if not path.exists():
            work = out / f"seed-{seed}"
            model = question.model or _trained(train, question, seed, work, tell)
            own = replace(plan, recipe=replace(plan.recipe, seed=seed))
            scores = compare(model, seed, split, own, work, k=question.k, site=question.site, tell=tell)
            fresh = path.with_suffix(".unfinished")
            frame_of(scores).to_csv(fresh, index=False)
            fresh.replace(path)
            shutil.rmtree(work, ignore_errors=True)
        found.append(pd.read_csv(path))
    return pd.concat(found, ignore_index=True)


def _trained(train: Sequence[Text], question: Question, seed: int, work: Path, tell: Tell | None) -> LoadedModel:
    """A model of documentation, as an interrupted call left it if it did."""
    work.mkdir(parents=True, exist_ok=True)
    folder = work / "model"
    if not folder.exists():
        corpus = work / "documentation.txt"
        corpus.write_text("\n\n".join(one.text for one in train), encoding="utf-8")
        show = None if tell is None else partial(_without_loss, tell)
        recipe = replace(DOCUMENTATION, seed=seed)
        train_on_text([corpus], folder, recipe, n_steps=question.base_steps, on_step=show)
    return load_model(str(folder))


def _without_loss(tell: Tell, done: int, total: int, _loss: float) -> None:
    tell("model of documentation", "steps", done, total)


def _claim(out: Path, question: Question, plan: Plan) -> None:
    """Make sure that a folder is of this comparison."""
    model = None if question.model is None else question.model.fingerprint
    names = [None if texts is None else [one.name for one in texts] for texts in (question.domain, question.source)]
    rest = question._replace(model=None, domain=None, source=None)._asdict()
    told = json.dumps({**rest, "model": model, "texts": names, "plan": asdict(plan)}, sort_keys=True)
    path = out / TASK
    if path.exists() and path.read_text(encoding="utf-8") != told:
        raise InputError(f"{out} holds another comparison: name another --out or remove it")
    path.write_text(told, encoding="utf-8")
