"""Routing: a planted concentration is said to be one, and none where there is none."""

import json

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from probes.vocabulary.names import ROUTING
from tests.analyses.sweeps import DOMAIN, make_sweep, with_table


def planted(shifted: float):
    levels = [("home", np.nan, "in"), ("away", np.nan, "shifted")]
    made = make_sweep(DOMAIN, levels, effect=lambda *_: 0.0, rng=np.random.default_rng(0), n_per_level=8)
    runs = made.runs().copy()
    spec = json.loads(runs["spec_json"].iloc[0]) | {"controls": {"reference": ["planted/in/home"]}}
    runs["spec_json"] = json.dumps(spec)
    where = {"run_id": runs["run_id"].iloc[0], "unit": -1, "position": "mean", "n_vectors": 80, "basis": ROUTING}
    rows = [
        {**where, "group": group, "site": "router_logits", "layer": layer, "metric": metric}
        | {"value": value, "ci_low": value - 0.03, "ci_high": value + 0.03}
        for layer in (0, 1)
        for metric in ("load_evenness", "router_entropy")
        for group, value in (("planted/in/home", 0.9), ("planted/shifted/away", shifted))
    ]
    table = pd.DataFrame(rows, columns=list(made.populations().columns))
    return with_table(made, populations=table, runs=runs)


def test_a_concentration_is_said_with_its_interval() -> None:
    evenness, entropy = analyse(planted(0.6), "routing")
    assert evenness.primary
    assert not entropy.primary
    assert evenness.estimate == pytest.approx(-0.3)
    half = 0.03 * np.sqrt(2)  # two independent groups
    assert evenness.interval == pytest.approx((-0.3 - half, -0.3 + half))
    assert evenness.text.startswith("Routing concentrates where inputs are shifted: the evenness of the experts' loads")
    assert "(0.900 in the reference, 0.600 elsewhere)" in evenness.text
    assert {mark.series for mark in evenness.plot.marks} == {"home", "away"}


def test_no_change_is_no_concentration() -> None:
    (evenness, _) = analyse(planted(0.88), "routing")
    assert evenness.verdict == "undecided"
    assert "No significant change" in evenness.text
