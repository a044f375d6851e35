"""Results of the learning law in a folder: one file an arm, written whole; what is there is not done again.

``task.json`` says what was asked; ``LEARNER/seed-N/search-*.safetensors`` are the policies as far as they are,
``arms/*.json`` curves and contributions of each arm, ``course-*.json`` equality against compression along the search.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from probes.learning_law.arms import UNIFORM, Arm, Trial, arms, milestones
from probes.learning_law.contributions import Contributions, Equality, acceleration, compression_ratio, contributions
from probes.learning_law.descent import scheduled
from probes.learning_law.learners import Learner
from probes.learning_law.search import Search, begin, search
from probes.records.store import write_atomically

SAVED_EVERY: Final = 30.0  # seconds
LARGE: Final = "large"
FEW: Final = "small"

Unit = Literal["epochs", "arms"]
Tell = Callable[[str, Unit, int, int], None]
"""Told what is done, in what unit, how much of it, and how much there is."""


def write(path: Path, content: bytes) -> None:
    """A file and its folder, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def slug(name: str) -> str:
    """Name of an arm as that of a file.

    >>> slug("equal weights, steps x 3")
    'equal-weights-steps-x-3'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def save_search(path: Path, state: Search) -> None:
    """A search as far as it is."""
    told = json.dumps({"size": state.size, "totals": state.totals})  # one key: the order of several is not kept
    write(path, save({"weights": state.weights.contiguous()}, metadata={"state": told}))


def load_search(path: Path) -> Search | None:
    """A search as it was left; None if it was not begun."""
    if not path.exists():
        return None
    with cast("Any", safe_open)(path, "pt") as file:
        told, weights = cast("dict[str, str]", file.metadata()), cast("torch.Tensor", file.get_tensor("weights"))
    state = json.loads(told["state"])
    return Search(weights, state["size"], tuple(state["totals"]))


def save_arm(path: Path, arm: Arm) -> None:
    """An arm as JSON; every number is read again as it was."""
    seen = arm.seen
    told = {
        **arm._asdict(),
        "seen": seen and {**_lists(seen._asdict()), "equality": seen.equality._asdict()},
    }
    write(path, json.dumps(told).encode())


def load_arm(path: Path) -> Arm:
    """An arm that was saved."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    seen: dict[str, Any] | None = told.pop("seen")
    if seen is None:
        return Arm(**told, seen=None)
    now, exact, weights, over_time = (np.array(seen[name]) for name in ("now", "exact", "weights", "over_time"))
    equality = Equality(**seen["equality"])
    return Arm(**told, seen=Contributions(tuple(seen["steps"]), now, exact, weights, over_time, equality))


def _lists(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}


def run_trial(trial: Trial, folder: Path, name: str, tell: Tell) -> dict[str, Arm]:
    """Search both policies and train every arm; what the folder holds already is taken from it."""
    found = {
        which: _searched(trial, learner, folder, which, f"{name}, {which} desired set", tell)
        for which, learner in ((LARGE, trial.learner), (FEW, trial.small))
    }
    plans = arms(trial, found[LARGE], found[FEW])
    done: dict[str, Arm] = {}
    for number, (arm, run) in enumerate(plans.items(), 1):
        path = folder / "arms" / f"{slug(arm)}.json"
        if not path.exists():
            save_arm(path, run())
        done[arm] = load_arm(path)
        tell(name, "arms", number, len(plans))
    return done


def _searched(trial: Trial, learner: Learner, folder: Path, which: str, name: str, tell: Tell) -> Search:
    """A policy, from where an interrupted search left it, with a look at it now and then."""
    path, course = folder / f"search-{which}.safetensors", folder / f"course-{which}.json"
    state = load_search(path) or begin(learner, trial.n_steps)
    seen: list[dict[str, float]] = json.loads(course.read_text(encoding="utf-8")) if course.exists() else []
    saved = time.monotonic()

    def told(state: Search) -> None:
        nonlocal saved
        tell(name, "epochs", state.epochs, trial.epochs)
        if time.monotonic() - saved >= SAVED_EVERY:
            save_search(path, state)
            saved = time.monotonic()

    for stop in milestones(trial.epochs, trial.looks):
        if any(one["epoch"] == stop for one in seen):
            continue
        state = search(learner, state, rate=trial.rate, epochs=stop, every=trial.every, tell=told)
        save_search(path, state)
        target = seen[0]["end"] if seen else None
        seen.append({"epoch": state.epochs, **look(trial, learner, state, target)})
        write(course, json.dumps(seen).encode())
    return state


def look(trial: Trial, learner: Learner, state: Search, target: float | None = None) -> dict[str, float]:
    """Compression and equality under a policy; on the desired set, which it was found for, and on held-out examples.

    Args:
        trial: its settings.
        learner: what is trained.
        state: the search.
        target: held-out loss that acceleration is counted to, that of equal weights; its own by default.
    """
    policy = scheduled(state.weights)
    path = trial.trained(learner, policy, trial.rate)
    end = path.held_out[-1].item()
    return {
        "end": end,
        "acceleration": acceleration(path.held_out, end if target is None else target),
        "desired_area": path.total / path.n_steps,
        "area": float(path.held_out[1:].mean()),
        "compression": compression_ratio(path.desired, learner.symbols),
        "held_out_compression": compression_ratio(path.held_out, learner.symbols),
        **contributions(learner, policy, path, trial.rate).equality._asdict(),
    }


def read_seeds(folder: Path) -> dict[int, dict[str, Arm]]:
    """Arms of every seed that is there, in the order in which they were run."""
    found: dict[int, dict[str, Arm]] = {}
    for seed in sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*")):
        paths = sorted((folder / f"seed-{seed}" / "arms").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        own = {arm.name: arm for arm in map(load_arm, paths)}
        if UNIFORM in own:
            found[seed] = own
    return found


def idle(folder: Path) -> list[str]:
    """Searches of a learner's folder that improved nothing, so that their policies are equal weights."""
    found: list[str] = []
    for path in sorted(folder.glob("seed-*/search-*.safetensors")):
        state = load_search(path)
        if state is not None and state.epochs and state.totals[-1] == state.totals[0]:
            found.append(f"{path.parent.name}, {path.stem.removeprefix('search-')} desired set")
    return found


def example_weights(state: Search) -> torch.Tensor:
    """Weight of every example over the whole training, in fair shares: 1 is what equal weights give."""
    return state.weights.mean(dim=0) * state.weights.shape[1]
