"""Frozen numbers with their provenance: worked by hand, or printed by independent code."""

import json
from pathlib import Path

import numpy as np
import pytest

import sparsity

pytestmark = pytest.mark.numeric

# Their k is rounded down, which at 10 % of 2048 leaves out .0014 of the energy; a wrong carrier is off by .15.
ROUNDED_DOWN = 0.002
DIGITS = 1e-9  # of the numbers in the file
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "vector_measures.json").read_text(encoding="utf-8"))


def test_every_measure_has_a_value_worked_by_hand():
    worked = {sparsity.MetricSpec.parse(entry["metric"]).name for entry in GOLDEN["exact"]}
    assert worked == set(sparsity.METRICS), "work a short vector by hand in tests/golden/vector_measures.json"


@pytest.mark.parametrize("entry", GOLDEN["exact"], ids=lambda entry: f"{entry['metric']}-{entry['x']}")
def test_values_worked_by_hand(entry: dict):
    value = sparsity.profile(np.array(entry["x"], float), [entry["metric"]])[
        str(sparsity.MetricSpec.parse(entry["metric"]))
    ]
    assert value == pytest.approx(entry["value"], rel=DIGITS)


@pytest.mark.parametrize("law", ["gaussian_1024", "laplace_2048"])
def test_means_printed_by_independent_code(law: str):
    name, width = law.split("_")
    rng = np.random.default_rng(0)
    x = (rng.standard_normal if name == "gaussian" else rng.laplace)(size=(1500, int(width)))
    for metric, value in GOLDEN[law].items():
        assert sparsity.profile(x, [metric])[metric].mean() == pytest.approx(value, abs=ROUNDED_DOWN), metric
