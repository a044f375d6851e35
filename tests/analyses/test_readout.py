"""Readout and intervention: what was planted is said, with its numbers, and an equal push elsewhere is not enough."""

import numpy as np
import pytest

from analyses import analyse
from probes.vocabulary import names
from tests.analyses.controlled import with_controls
from tests.analyses.sweeps import exposure, text_domains, with_table
from tests.samples import ERRORS, of_correlation


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def primary(findings):
    (found,) = [f for f in findings if f.primary]
    return found


def test_a_change_that_is_alignment_goes_with_the_row(rng):
    found = primary(analyse(with_controls(exposure(rng), "alignment", rng), "readout"))
    assert found.verdict == "supported"
    assert found.estimate > 0.3
    without = next(c for c in found.controls if c.role == "basis")
    assert without.name == names.WITHOUT_ANSWER_ROW
    assert without.interval[0] < 0.1
    mediator = next(c for c in found.controls if c.name == names.ANSWER_ALIGNMENT)
    assert mediator.role == "mediator"
    assert abs(mediator.estimate) < abs(found.effects[0].estimate)
    assert "alignment with the answer's row" in found.text


def test_a_change_that_is_something_else_stays(rng):
    found = primary(analyse(with_controls(exposure(rng), "temperature", rng), "readout"))
    assert found.verdict in {"undecided", "contradicted"}
    assert abs(found.estimate) < of_correlation(found.n)
    assert "Part of the change" not in found.text


def test_domains_have_an_answer_each_beside_the_common_one(rng):
    findings = analyse(with_controls(text_domains(rng), "alignment", rng), "readout")
    assert primary(findings).scope.group == "all shifted"
    assert {f.scope.group for f in findings} == {"all shifted", "wikitext", "code", "random_bytes"}


def test_pinning_that_moves_the_output_like_a_temperature_is_called_so(rng):
    findings = analyse(with_controls(text_domains(rng, names=("wikitext",)), "temperature", rng), "intervention")
    found = primary(findings)
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx(-0.3, abs=ERRORS * (found.interval[1] - found.interval[0]) / (2 * 1.96))
    assert "an effective temperature" in found.text
    assert {c.role for c in found.controls} == {"intervention"}
    assert [m.series for m in found.plot.marks][::2] == [
        "entropy, norm recomputed",
        "entropy, norm frozen",
        "nll, norm recomputed",
        "nll, norm frozen",
    ]


def test_pinning_that_does_no_more_than_an_equal_push_says_so(rng):
    found = primary(analyse(with_controls(exposure(rng), "alignment", rng), "intervention"))
    assert found.verdict == "undecided"
    assert "temperature" not in found.text
    assert "does not differ significantly from an equally large random perturbation" in found.text


def test_a_push_that_moves_as_much_leaves_it_undecided(rng):
    sweep = with_controls(text_domains(rng, names=("wikitext",)), "temperature", rng)
    outcomes = sweep.outcomes().copy()
    pins = outcomes[outcomes["name"].str.contains("pin")]
    pushed = pins.assign(
        name=pins["name"].str.replace("pin", "random"), value=pins["value"] + 0.05 * rng.normal(size=len(pins))
    )
    kept = outcomes[~outcomes["name"].str.contains("random")]
    import pandas as pd

    found = primary(analyse(with_table(sweep, outcomes=pd.concat([kept, pushed])), "intervention"))
    assert found.verdict == "undecided"
    assert "temperature" not in found.text


@pytest.mark.parametrize("question", ["readout", "intervention"])
def test_a_sweep_without_controls_says_what_to_do(question, rng):
    (found,) = analyse(exposure(rng), question)
    assert not found.answered
    assert "controls: default" in found.text
