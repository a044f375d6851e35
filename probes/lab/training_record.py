"""Record of a laboratory model: its recipe, its world and its training, in one ``world.json`` by the weights.

The file is the ground truth of the exposure axis. Reading it needs no model, no tokenizer and no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from probes.errors import InputError
from probes.lab.recipe import Recipe
from probes.lab.world import World

FILE_NAME: Final = "world.json"
TEXT_LINEAGE: Final = "training.json"  # of a model trained on text: steps taken and seed


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRecord:
    """Record of how a model was trained; the tuples over facts follow the order of ``world.facts``.

    Attributes:
        recipe: what was asked for.
        world: the facts with the exposure they were to have.
        presented: presentations of each fact, counted while training.
        last_seen: optimizer step, from 1, at which each fact was last presented; None if never.
        known: whether the trained model's most likely next word after each fact's prompt is the answer.
        surprisals: how surprised the model is by each fact's answer, in nats.
        losses: mean loss on facts of every optimizer step that presented some, in nats.
        lesson_losses: the same on the answers of lessons, practice included; empty for a model of facts alone.
        n_threads: threads of the training process; another number may give other weights in the last bits.
        torch_version: the PyTorch that trained it; another one may, too.
    """

    recipe: Recipe
    world: World
    presented: tuple[int, ...]
    last_seen: tuple[int | None, ...]
    known: tuple[bool, ...]
    surprisals: tuple[float, ...]
    losses: tuple[float, ...]
    n_threads: int
    torch_version: str
    lesson_losses: tuple[float, ...] = ()

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return max(len(self.losses), len(self.lesson_losses))

    @property
    def accuracy(self) -> dict[int, float]:
        """Share of known facts at each exposure; where nothing was shown, chance is one in ``recipe.n_tails``."""
        return self._by_exposure(self.known)

    @property
    def loss(self) -> dict[int, float]:
        """Mean surprisal of the answer at each exposure, in nats."""
        return self._by_exposure(self.surprisals)

    def _by_exposure(self, values: Sequence[bool] | Sequence[float]) -> dict[int, float]:
        found: dict[int, list[float]] = {level: [] for level in self.world.levels}
        for fact, value in zip(self.world.facts, values, strict=True):
            found[fact.exposure].append(value)
        return {level: sum(group) / len(group) for level, group in found.items()}


class Lineage(NamedTuple):
    """Point of a model on its training path: optimizer steps taken and the seed; None where unknown."""

    step: int | None
    seed: int | None


def lineage(model: str, revision: str | None) -> Lineage:
    """Read the record of a laboratory model, that of one trained on text, or a hub revision such as ``step3000``.

    >>> lineage("EleutherAI/pythia-70m", "step3000")
    Lineage(step=3000, seed=None)
    """
    if Path(model, FILE_NAME).is_file():
        record = read_record(Path(model))
        return Lineage(record.step, record.recipe.seed)
    if Path(model, TEXT_LINEAGE).is_file():
        return TypeAdapter(Lineage).validate_json(Path(model, TEXT_LINEAGE).read_bytes())
    named = re.fullmatch(r"step[-_]?(\d+)", revision or "")
    return Lineage(int(named.group(1)) if named else None, None)


def write_lineage(directory: Path, found: Lineage) -> None:
    """Write the steps and the seed of a model trained on text into its directory."""
    (directory / TEXT_LINEAGE).write_text(json.dumps(found._asdict()) + "\n", encoding="utf-8")


def write_record(directory: Path, record: TrainingRecord) -> None:
    """Write the record into the directory of its model, headed by accuracy and loss for whoever opens the file."""
    content = {"accuracy": record.accuracy, "loss": record.loss, **asdict(record)}
    (directory / FILE_NAME).write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def read_record(directory: Path) -> TrainingRecord:
    """The record of the laboratory model in `directory`.

    Raises:
        InputError: if there is none, or it is not one that this version reads.
    """
    path = directory / FILE_NAME
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(f"{directory} is not a laboratory model: it has no readable {FILE_NAME}") from None
    try:
        return TypeAdapter(TrainingRecord).validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise InputError(f"{path} cannot be read: {place}: {fault['msg']}; train the model again") from None
