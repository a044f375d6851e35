"""A small world with known training exposure, and the model trained on it.

Three kinds of trained models are shipped: the reference model of the demo, one that also follows links within a prompt,
and tiny ones with checkpoints. A table says what the tiny ones and their twins show with several seeds
(`probes.lab.paired_table`). ``sparsity lab train`` makes each again (`probes.lab.training.train`, not imported here
because it needs torch and this does not).
"""

from pathlib import Path
from typing import Final

from probes.lab.recipe import Recipe as Recipe
from probes.lab.training_record import TrainingRecord as TrainingRecord
from probes.lab.training_record import read_record as read_record
from probes.lab.world import Fact as Fact
from probes.lab.world import World as World
from probes.lab.world import build_world as build_world


def reference_path() -> Path:
    """The directory of the shipped reference model: a Hugging Face model and its ``world.json``."""
    return Path(__file__).parent / "reference"


def graded_path() -> Path:
    """The directory of the shipped model that also follows links within a prompt (`probes.lab.links.episodes`)."""
    return Path(__file__).parent / "graded"


SHIPPED: Final = {"lab-reference": reference_path, "lab-graded": graded_path}


def shipped_path(name: str) -> Path | None:
    """The directory of a shipped model by its short name, so that a spec that names it runs on any machine.

    >>> shipped_path("lab-reference") == reference_path(), shipped_path("gpt2")
    (True, None)
    """
    return SHIPPED[name]() if name in SHIPPED else None


def dynamics_paths() -> list[Path]:
    """Directories of the shipped models whose way there is kept, one per seed (`probes.lab.history`)."""
    return sorted((Path(__file__).parent / "dynamics").glob("seed-*"))
