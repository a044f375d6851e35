"""Training that can be looked at on its way and taken up again after a kill.

Until it is finished, everything lies in ``<out>.unfinished``: the checkpoints so far, each a whole model, and
``state.safetensors``, replaced by rename, from which the next start goes on to the same weights that an uninterrupted
run has. Nothing random happens after the first step, so weights, the optimizer's moments and the history are all of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from jaxtyping import Int
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from probes.errors import InputError

FOLDER: Final = "checkpoints"
STATE: Final = "state.safetensors"
SECONDS_BETWEEN_STATES: Final = 30.0


@dataclass(slots=True)
class History:
    """Order of what was presented, and the cost of each step; grows while training on facts runs.

    Attributes:
        presented: presentations of each fact so far.
        last_seen: optimizer step, from 1, at which each fact was last presented; 0 if never.
        losses: mean loss of every step that presents facts.
        lesson_losses: the same on lessons, if any are read.
    """

    presented: Int[np.ndarray, " facts"]
    last_seen: Int[np.ndarray, " facts"]
    losses: list[float]
    lesson_losses: list[float]

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return max(len(self.losses), len(self.lesson_losses))

    def tensors(self) -> dict[str, Tensor]:
        """The same as a file of tensors holds it."""
        return {
            "presented": torch.from_numpy(self.presented),
            "last_seen": torch.from_numpy(self.last_seen),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "lesson_losses": torch.tensor(self.lesson_losses, dtype=torch.float64),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> History:
        """Rebuild the object from what `tensors` gave."""
        return cls(
            tensors["presented"].numpy(),
            tensors["last_seen"].numpy(),
            cast("list[float]", tensors["losses"].tolist()),
            cast("list[float]", tensors["lesson_losses"].tolist()),
        )


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
    first = max(1.0, n_steps / 2**8)
    ratio = (n_steps / first) ** (1 / max(1, n_checkpoints - 1))
    return tuple(sorted({0, *(round(first * ratio**k) for k in range(n_checkpoints - 1))} - {n_steps}))


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
    folder: Path,
    task: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    moments: Mapping[str, Tensor],
    history: Mapping[str, Tensor],
) -> None:
    """Write all that training needs to go on, replacing what was written before.

    Args:
        folder: the unfinished training.
        task: what decides the weights, as JSON has it; only the same task is gone on with.
        weights: of the model.
        moments: of the optimizer.
        history: what happened so far.
    """
    # copies, because weights that are tied lie in one place and a file of tensors holds each of them apart
    tensors = {
        f"weight.{name}": weight.clone(memory_format=torch.contiguous_format) for name, weight in weights.items()
    }
    tensors |= {f"moment.{name}": moment.contiguous() for name, moment in moments.items()}
    tensors |= {f"history.{name}": values for name, values in history.items()}
    tensors["task"] = _signature(task)
    fresh = folder / f".{STATE}"
    fresh.write_bytes(save(tensors))
    fresh.replace(folder / STATE)


def due(saved: float) -> bool:
    """True where a state was last written, by ``time.monotonic()``, so long ago that it is time for the next."""
    return time.monotonic() - saved >= SECONDS_BETWEEN_STATES


@dataclass(frozen=True, slots=True)
class State:
    """A training interrupted: its weights, its optimizer's moments and its history."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    history: dict[str, Tensor]


def load_state(folder: Path, task: Mapping[str, Any]) -> State | None:
    """Read what an interrupted training left in `folder`; None if it had not come to write anything.

    Raises:
        InputError: if the folder belongs to another task, or its state cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError):
        raise InputError(f"{path} cannot be read: remove {folder} and train again") from None
    if not torch.equal(tensors.pop("task", torch.tensor(())), _signature(task)):
        raise InputError(f"{folder} holds an unfinished training of another recipe: name another --out or remove it")
    return State(_under("weight.", tensors), _under("moment.", tensors), _under("history.", tensors))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _signature(task: Mapping[str, Any]) -> Tensor:
    """The task as bytes, which a file of tensors can hold."""
    return torch.tensor(list(json.dumps(task, sort_keys=True).encode()), dtype=torch.uint8)
