"""A small world with known training exposure, and the model trained on it.

The reference model that the package ships lies at `reference_path`; ``sparsity lab train`` makes it again
(`probes.lab.training.train`, not imported here because it needs torch and this does not).
"""

from pathlib import Path

from probes.lab.recipe import Recipe as Recipe
from probes.lab.record import TrainingRecord as TrainingRecord
from probes.lab.record import read_record as read_record
from probes.lab.world import Fact as Fact
from probes.lab.world import World as World
from probes.lab.world import build_world as build_world


def reference_path() -> Path:
    """The directory of the shipped reference model: a Hugging Face model and its ``world.json``."""
    return Path(__file__).parent / "reference"
