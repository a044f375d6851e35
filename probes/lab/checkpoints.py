"""Training that can be looked at on its way and taken up again after a kill.

Until it is finished, everything lies in ``<out>.unfinished``: the checkpoints so far, each a whole model, and
``state.safetensors``, replaced by rename, from which the next start goes on to the same weights that an uninterrupted
run has. Nothing random happens after the first step, so weights, the optimizer's moments and the history are all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from probes.errors import InputError
from probes.lab.recipe import Recipe

FOLDER: Final = "checkpoints"
STATE: Final = "state.safetensors"


@dataclass(slots=True)
class History:
    """What was presented when, and what each step cost; grows while training runs.

    Attributes:
        presented: presentations of each fact so far.
        last_seen: optimizer step, from 1, at which each fact was last presented; 0 if never.
        losses: mean loss of every step, on facts.
        lesson_losses: the same on lessons, if any are read.
    """

    presented: Int[np.ndarray, " facts"]
    last_seen: Int[np.ndarray, " facts"]
    losses: list[float]
    lesson_losses: list[float]


def checkpoint_steps(n_steps: int, n_checkpoints: int) -> tuple[int, ...]:
    """Steps after which a checkpoint is kept: 0, and then evenly on a log scale over the last eight doublings.

    Before those hardly anything has been learned. The finished model is the end of the path and is kept anyway.

    >>> checkpoint_steps(1778, 8)
    (0, 7, 15, 34, 75, 165, 365, 805)
    >>> checkpoint_steps(3, 5), checkpoint_steps(1000, 1), checkpoint_steps(1000, 0)
    ((0, 1, 2), (0,), ())
    """
    if n_checkpoints < 1:
        return ()
    spaced = np.geomspace(max(1, n_steps / 2**8), n_steps, n_checkpoints)[:-1] if n_checkpoints > 1 else ()
    return tuple(sorted({0, *(int(np.round(step)) for step in spaced)} - {n_steps}))


def checkpoint_name(step: int) -> str:
    """The folder of a checkpoint, so that names sort as steps do.

    >>> checkpoint_name(178)
    'step-000178'
    """
    return f"step-{step:06d}"


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints of a finished training in the order of their steps, then the finished model itself."""
    return [*sorted((out / FOLDER).glob("step-*")), out]


def save_state(
    folder: Path, recipe: Recipe, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor], history: History
) -> None:
    """Write all that training needs to go on, replacing what was written before."""
    tensors = {f"weight.{name}": weight.contiguous() for name, weight in weights.items()}
    tensors |= {f"moment.{name}": moment.contiguous() for name, moment in moments.items()}
    tensors["history.presented"] = torch.from_numpy(history.presented)
    tensors["history.last_seen"] = torch.from_numpy(history.last_seen)
    tensors["history.losses"] = torch.tensor(history.losses, dtype=torch.float64)
    tensors["history.lesson_losses"] = torch.tensor(history.lesson_losses, dtype=torch.float64)
    fresh = folder / f".{STATE}"
    save_file(tensors, fresh, metadata={"recipe": _signature(recipe)})
    fresh.replace(folder / STATE)


@dataclass(frozen=True, slots=True)
class State:
    """A training interrupted: its weights, its optimizer's moments and its history."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    history: History


def load_state(folder: Path, recipe: Recipe) -> State | None:
    """What an interrupted training of this recipe left in `folder`; None if it had not come to write anything.

    Raises:
        InputError: if the folder belongs to another recipe, or its state cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            made_by = (file.metadata() or {}).get("recipe")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping, has keys() only
    except (SafetensorError, OSError):
        raise InputError(f"{path} cannot be read: remove {folder} and train again") from None
    if made_by != _signature(recipe):
        raise InputError(f"{folder} holds an unfinished training of another recipe: name another --out or remove it")
    history = History(
        tensors.pop("history.presented").numpy(),
        tensors.pop("history.last_seen").numpy(),
        tensors.pop("history.losses").tolist(),
        tensors.pop("history.lesson_losses").tolist(),
    )
    return State(_under("weight.", tensors), _under("moment.", tensors), history)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _signature(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)
