"""Familiarity as it is measured of each item, and the claims of the seed paper as predicates."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from tests.analyses.sweeps import STEPS, exposure, make_sweep, with_table
from tests.analyses.test_models import primary


@pytest.fixture
def rng():
    return np.random.default_rng(14)


def with_familiarity(sweep, values, measure="bits_per_byte", corpus=None):
    rows = pd.DataFrame(
        {
            "run_id": sweep.runs()["run_id"].iloc[0],
            "example_id": sweep.examples()["example_id"],
            "measure": measure,
            "corpus": corpus,
            "value": values,
        }
    )
    return with_table(sweep, familiarity=pd.concat([sweep.familiarity().astype(object), rows], ignore_index=True))


def level_of(sweep):
    return sweep.examples()["level"].to_numpy()


def test_either_direction_of_a_measure_is_turned_to_less_familiar(rng):
    sweep = exposure(rng, n_layers=1)
    bits = -np.log2(level_of(sweep) + 1) + rng.normal(size=480)
    sweep = with_familiarity(with_familiarity(sweep, bits), -bits, "text_count", "facts")
    findings = analyse(sweep, "measured_familiarity")
    by_name = {f.scope.group: f for f in findings}
    assert by_name["bits_per_byte"].verdict == "supported"
    assert by_name["bits_per_byte"].primary
    assert by_name["text_count in facts"].estimate == pytest.approx(by_name["bits_per_byte"].estimate)
    assert [c.role for c in by_name["bits_per_byte"].controls] == ["pre_treatment", "mediator"]
    assert [c.name for c in by_name["text_count in facts"].controls] == ["n_tokens"]


def test_within_levels_the_axis_cannot_stand_behind_it(rng):
    sweep = exposure(rng, n_layers=1)
    found = primary(analyse(with_familiarity(sweep, -level_of(sweep) + rng.normal(size=480)), "measured_familiarity"))
    within = next(effect for effect in found.effects if effect.name == "within levels")
    assert found.interval[0] > 0
    assert within.interval[0] < 0 < within.interval[1]


def test_unknown_measures_and_an_empty_table_are_passed_over(rng):
    sweep = exposure(rng, n_layers=1)
    assert analyse(sweep, "measured_familiarity") == []
    assert analyse(with_familiarity(sweep, rng.normal(size=480), "of_another_version"), "measured_familiarity") == []


def test_the_dose_response_is_over_mastered_levels_and_all_their_items(rng):
    sweep = exposure(rng, n_layers=1)
    loss = np.where(level_of(sweep) > 100, 0.01, 3.0)
    rows = pd.DataFrame(
        {"run_id": "run-lab_exposure", "example_id": sweep.examples()["example_id"], "name": "nll", "value": loss}
    )
    (found,) = analyse(with_table(sweep, outcomes=rows), "measured_familiarity")
    assert found.scope.group == "mastered levels"
    assert found.n == 60 * (level_of(sweep)[::60] > 100).sum()
    assert "112 to 1792" in found.text


def test_claims_take_the_verdicts_of_the_answers(rng):
    findings = analyse(exposure(rng, n_layers=1, metrics=("hoyer",)), "replication")
    by_claim = {f.scope.group: f.verdict for f in findings if not f.primary}
    assert by_claim["less familiar inputs have sparser states"] == "significantly positive"
    assert "harder tasks have sparser states" not in by_claim
    assert "not asked: harder tasks" in primary(findings).text
    denser = make_sweep(
        STEPS,
        [(str(i), float(i), "in") for i in range(4)],
        effect=lambda *_: -0.5,
        rng=rng,
        n_layers=1,
        metrics=("hoyer",),
    )
    against = {f.scope.group: f.verdict for f in analyse(denser, "replication") if not f.primary}
    assert against["harder tasks have sparser states"] == "significantly negative"
