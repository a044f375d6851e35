"""A small real model where it is there, and tiny random ones."""

from pathlib import Path

import pytest

from probes.capture import LoadedModel, load_model


@pytest.fixture(scope="session")
def stories(assets: Path) -> LoadedModel:
    return load_model(str(assets / "models" / "stories260K"))


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> LoadedModel:
    return load_model(str(tiny_model))
