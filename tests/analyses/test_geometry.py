"""Geometry and nulls: what the rows of sets say comes out as it went in, per level, layer and null."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from probes.vocabulary import names
from tests.analyses.sweeps import EXPOSURE, make_sweep, with_table


@pytest.fixture(scope="module")
def sweep():
    rng = np.random.default_rng(0)
    levels = [("1", 1.0, "in"), ("16", 16.0, "in")]
    made = make_sweep(EXPOSURE, levels, effect=lambda *_: 0.0, rng=rng, n_per_level=8)
    where = {"run_id": made.runs()["run_id"].iloc[0], "unit": -1, "position": "last", "n_vectors": 8}
    rows = []
    for site, layer in (("resid_post", 0), ("resid_post", 1), ("final_norm", 2)):
        for group, value in (("planted/in/16", 9.0), ("planted/in/1", 3.0)):
            for basis, factor in (("raw", 1.0), (names.UNTRAINED, 0.5)):
                row = {**where, "group": group, "site": site, "layer": layer, "basis": basis}
                rows.append({**row, "metric": "two_nn_dimension", "value": factor * (value + layer)})
                rows.append({**row, "metric": names.MEAN_HOYER, "value": factor * 0.4})
    change = {**where, "group": "planted/in/16", "site": "final_norm", "layer": 2, "basis": "raw"}
    rows.append({**change, "metric": names.ROTATION_CHANGE, "value": 0.2, "ci_low": -0.1, "ci_high": 0.1})
    rows.append({**change, "metric": names.ROTATION_P, "value": 0.01})
    return with_table(made, populations=pd.DataFrame(rows, columns=list(made.populations().columns)))


def test_levels_stand_beside_each_other_in_their_order_and_before_training(sweep):
    (found,) = analyse(sweep, "geometry")
    assert found.text == (
        "Two nn dimension at final_norm, position last: 5.000 at exposure 1, 11 at exposure 16 (8 vectors "
        "each); in the mean over levels 4.000 untrained."
    )
    assert found.primary
    assert found.estimate == 8
    lines = {(mark.series, mark.name): mark.value for mark in found.plot.marks}
    assert lines["16", "resid_post.1"] == 10
    assert lines["untrained (mean)", "resid_post.1"] == 0.5 * (10 + 4) / 2


def test_a_change_beyond_rotations_is_said_to_be_one(sweep):
    rotation, hoyer = analyse(sweep, "nulls")
    assert rotation.estimate == 0.2
    assert rotation.primary
    assert not hoyer.primary
    assert "outside what is seen under 95 % of random rotations" in rotation.text
    assert "between −0.10 and +0.10 (p 0.01 by rank)" in rotation.text
    assert "0.200 untrained" in hoyer.text


def test_a_sweep_without_sets_has_no_answer():
    made = make_sweep(
        EXPOSURE, [("1", 1.0, "in"), ("16", 16.0, "in")], effect=lambda *_: 0.0, rng=np.random.default_rng(0)
    )
    assert analyse(made, "geometry") == analyse(made, "nulls") == []
