"""Density: a planted change of the neurons that can be cut is found, and none where there is none."""

import numpy as np
import pytest

from analyses import analyse
from probes.vocabulary import names
from tests.analyses.sweeps import EXPOSURE, make_sweep, with_table
from tests.samples import of_correlation


def planted(effect: float):
    levels = [("1", 1.0, "in"), ("16", 16.0, "in"), ("64", 64.0, "in")]
    made = make_sweep(EXPOSURE, levels, effect=lambda *_: 0.0, rng=np.random.default_rng(0), n_per_level=30)
    rows = made.measurements(basis=None)
    some = rows[(rows["metric"] == "hoyer") & (rows["site"] == "resid_post")].copy()
    text = some.select_dtypes("category").columns
    some[text] = some[text].astype(str)
    level = made.examples().set_index("example_id")["level"][some["example_id"]].to_numpy()
    noise = np.random.default_rng(1).normal(0, 0.01, len(some))
    some = some.assign(site="mlp_post", basis=names.TAILS, metric="cett_sparsity(0.2)")
    some["value"] = 0.5 - effect * np.log2(level) / 6 + noise  # less familiar: more can be cut
    return with_table(made, measurements=some)


def test_fewer_neurons_needed_is_said_with_the_means() -> None:
    (found,) = analyse(planted(0.1), "density")
    assert found.primary
    assert found.side > 0
    assert found.estimate > 0.9
    assert "rises towards 1: rank correlation" in found.text
    assert len(found.plot.marks) == 4
    assert found.n == 90


def test_no_change_is_not_told() -> None:
    (found,) = analyse(planted(0.0), "density")
    assert found.side == 0
    assert "does not change significantly" in found.text
    assert found.estimate == pytest.approx(0, abs=of_correlation(found.n))
