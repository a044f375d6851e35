"""Models that have read the world of concepts, both arms and several seeds: is graded membership familiarity?

Each arm of :mod:`probes.lab.concept_world` is one answer to how frequency goes with typicality, and a training is one
draw of it, so both are trained seed by seed. A folder holds worlds, models with checkpoints, and sweeps that ask each
model about its own members; what is there already is not made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from probes.lab.concept_world import ARMS, CORPUS, COUNTS, NORMS, build_concepts, write_concepts
from probes.lab.history import FOLDER
from probes.lab.recipe import Recipe, changed
from probes.lab.text_training import train_on_text
from probes.lab.training import OnStep

SENTENCES: Final = 30_000
STEPS: Final = 500
CHECKPOINTS: Final = 5
VOCABULARY: Final = 1200  # every word of the world is one token
SIZE: Final = "0.3M"
PLACES: Final = ("embed", "resid_post", "final_norm")


class Training(NamedTuple):
    """One training of one arm.

    Attributes:
        out: the folder of all of them.
        arm: ``coupled`` or ``decoupled``.
        seed: of the world and of the training.
    """

    out: Path
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its world, model and sweep."""
        return f"{self.arm}-{self.seed}"

    @property
    def world(self) -> Path:
        """The folder of its text, norms and counts."""
        return self.out / "worlds" / self.name

    @property
    def model(self) -> Path:
        """The folder of its model."""
        return self.out / "models" / self.name

    @property
    def sweep(self) -> Path:
        """The folder of its sweep."""
        return self.out / "sweeps" / self.name


def trainings(out: Path, *, n_seeds: int) -> Iterator[Training]:
    """Every arm of every seed.

    >>> [one.name for one in trainings(Path("arms"), n_seeds=2)]
    ['coupled-0', 'decoupled-0', 'coupled-1', 'decoupled-1']
    """
    for seed in range(n_seeds):
        for arm in ARMS:
            yield Training(out, arm, seed)


def train_arm(own: Training, *, steps: int = STEPS, on_step: OnStep | None = None) -> None:
    """Write the world of one arm and seed, and train a model on its text; what is there is left as it is.

    Args:
        own: which.
        steps: optimizer steps.
        on_step: told of every step.

    Raises:
        InputError: if the folder cannot be written, or holds the beginning of another training.
    """
    if not own.world.exists():
        begun = own.world.with_name(f"{own.name}.unfinished")
        shutil.rmtree(begun, ignore_errors=True)
        write_concepts(
            build_concepts(coupled=own.arm == ARMS[0], seed=own.seed), begun, n_sentences=SENTENCES, seed=own.seed
        )
        begun.replace(own.world)
    if not own.model.exists():
        own.model.parent.mkdir(parents=True, exist_ok=True)
        plain = Recipe(seed=own.seed, batch_size=16, context_length=64, learning_rate=1e-3)
        train_on_text(
            [own.world / CORPUS],
            own.model,
            changed(plain, size=SIZE),
            n_steps=steps,
            vocabulary=VOCABULARY,
            n_checkpoints=CHECKPOINTS,
            on_step=on_step,
        )


def spec_of(own: Training) -> dict[str, Any]:
    """Keys of the sweep that asks a model and its checkpoints about the members of its own world."""
    world, model = own.world.resolve(), own.model.resolve()
    suite = {"name": "concepts", "norms": str(world / NORMS), "frequency": str(world / COUNTS), "polarity": "higher"}
    return {
        "models": [*map(str, sorted((model / FOLDER).glob("step-*"))), str(model)],
        "suites": [suite | {"templates": ["a {item}", "look how a {item}"]}],
        "sites": list(PLACES),
        "positions": ["answer"],
        "metrics": ["hoyer", "gini", "l2_norm"],
        "outcomes": ["nll", "next_tokens"],
        "states": list(PLACES),
        "controls": "none",
    }
