"""One report, two verdicts: each planted mechanism is told by its own evidence, and neither where there is none."""

import json

import numpy as np
import pytest

from analyses import analyse
from analyses.questions.mechanisms.mechanism import ALIGNMENT, ONE, TEMPERATURE
from analyses.reporting.losses import take_controls
from tests.analyses.controlled import with_controls
from tests.analyses.sweeps import exposure, merge, text_domains, with_table


@pytest.fixture
def rng():
    return np.random.default_rng(9)


def by_suite(findings):
    return {f.scope.suite: f for f in findings if f.primary}


def test_one_report_two_verdicts(rng):
    stories = with_controls(text_domains(rng), "temperature", rng)
    world = with_controls(exposure(rng), "alignment", rng)
    found = by_suite(analyse(merge(stories, world), "mechanism"))
    assert found["text_domains"].verdict == "supported"
    assert "one coordinate (20) acting as an effective temperature" in found["text_domains"].text
    assert "the other way round with the norm frozen" in found["text_domains"].text
    assert found["text_domains"].estimate == pytest.approx(0.81)
    assert found["lab_exposure"].verdict == "supported"
    assert ALIGNMENT in found["lab_exposure"].text
    assert found["lab_exposure"].estimate > 0.5


def test_the_other_claim_is_not_supported(rng):
    findings = analyse(with_controls(exposure(rng), "alignment", rng), "mechanism")
    assert all(f.verdict == "described" for f in findings if not f.primary)
    texts = {f.scope.group: f.text for f in findings if not f.primary}
    assert "does not meet its conditions" in texts[TEMPERATURE]
    assert "does not meet its conditions" in texts[ONE]
    assert "meets its conditions" in texts[ALIGNMENT]


def test_a_change_that_nothing_known_explains_is_undecided(rng):
    (found,) = by_suite(analyse(with_controls(text_domains(rng), "nothing", rng), "mechanism")).values()
    assert found.verdict == "undecided"
    assert "mechanism undecided" in found.text


def test_no_share_is_shown_of_a_change_that_does_not_differ_from_zero(rng):
    """Near zero shares were up to 488 times the change; an older sweep still holds them."""
    sweep = with_controls(text_domains(rng), "nothing", rng)
    found = [f for f in analyse(sweep, "localization") if f.unit.startswith("share of the change")]
    assert found
    for finding in found:
        assert np.isnan(finding.estimate)
        assert finding.plot is None
        assert "Shares of it are not defined" in finding.text
        assert [effect.name for effect in finding.effects] == ["change of mean hoyer"]
    facts = [json.dumps(json.loads(text) | {"controls": {"n_cells": 1}}) for text in sweep.runs()["spec_json"]]
    row, *_ = take_controls(with_table(sweep, runs=sweep.runs().assign(spec_json=facts)))
    assert (row.no_change, row.n_changes) == (len(found), len(found))


def test_a_share_without_pinning_is_not_enough(rng):
    sweep = with_controls(text_domains(rng), "temperature", rng)
    outcomes = sweep.outcomes()
    kept = with_table(sweep, outcomes=outcomes[~outcomes["name"].str.contains("|", regex=False)])
    (found,) = by_suite(analyse(kept, "mechanism")).values()
    assert found.verdict == "described"
    assert "one coordinate (20)" in found.text
    assert "temperature" not in found.text


def test_pinning_without_shares_is_undecided_and_has_a_number(rng):
    sweep = with_controls(text_domains(rng), "temperature", rng)
    kept = with_table(sweep, populations=sweep.populations().iloc[:0])
    (found,) = by_suite(analyse(kept, "mechanism")).values()
    assert found.verdict == "undecided"
    assert found.answered


def test_without_controls_it_says_what_to_do(rng):
    (found,) = analyse(exposure(rng), "mechanism")
    assert not found.answered
    assert "controls: default" in found.text
