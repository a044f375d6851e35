"""Decoder: what the taught small model saves over the same one untaught is found either way, and nothing is nothing."""

import math

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.written_tables import beside, written
from analyses.questions.compression_view.decoder import ALONE, DATASTORE, PLAIN, TAUGHT
from probes.memory.comparison.experiment import ALPHAS, BASE, KNN
from tests.analyses.sweeps import exposure
from tests.samples import of_mean

N = 40


def documents(gain: float) -> pd.DataFrame:
    """Scores of documents that differ in what they cost; the taught small model needs `gain` fewer bits per byte."""
    rng = np.random.default_rng(5)
    own = rng.uniform(2.0, 4.0, size=N)
    rows = []
    for system, less in ((ALONE, -0.5), (DATASTORE, 0.0), (PLAIN, 0.0), (TAUGHT, gain)):
        cost = own - less + 0.05 * rng.normal(size=N)
        rows += [
            {"seed": 0, "system": system, "split": split, "document": f"d{n}", "n_bytes": 100, "bits": 100 * cost[n]}
            for n in range(N)
            for split in ("domain", "source")
        ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("gain", "verdict"), [(0.2, "supported"), (-0.2, "contradicted"), (0.0, "undecided")])
def test_what_teaching_saves_is_found_either_way(gain: float, verdict: str) -> None:
    found = analyse(beside(None, {"documents": {"m": documents(gain)}}), "decoder")
    primary, *others = found
    assert (primary.primary, primary.verdict, primary.scope.model) == (True, verdict, "m")
    assert primary.estimate == pytest.approx(gain, abs=of_mean(0.05 * math.sqrt(2), N))
    assert {finding.scope.group for finding in others} == {DATASTORE, ALONE}
    assert primary.n == N


def test_the_systems_are_called_as_the_command_calls_them() -> None:
    assert (BASE, KNN) == (ALONE, DATASTORE)
    assert {f"small model, alpha {alpha:g}" for alpha in ALPHAS} >= {PLAIN, TAUGHT}


def test_a_sweep_alone_and_another_table_are_not_asked() -> None:
    sweep = exposure(np.random.default_rng(0), n_layers=1)
    assert analyse(sweep, "decoder") == []
    assert written(sweep, "documents") == {}
    held = beside(sweep, {"documents": {"": pd.DataFrame({"a": [1]})}})
    assert analyse(held, "decoder") == []
    assert len(held.measurements()) == len(sweep.measurements())
