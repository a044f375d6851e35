"""Sweeps whose every batch is a commit."""

import pytest

from probes.sweep import run as running


@pytest.fixture
def eager_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit after every batch instead of every half minute."""
    monkeypatch.setattr(running, "FLUSH_SECONDS", 0.0)
