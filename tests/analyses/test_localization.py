"""Where a change sits: planted places, coordinates and bases are found, and nothing where nothing was planted."""

import math

import numpy as np
import pytest

from analyses import analyse
from analyses.statistics.onset import contrast_sums, find_onset, slope_sums
from tests.analyses.controlled import with_controls
from tests.analyses.sweeps import EXPOSURE, exposure, make_sweep, merge, text_domains, with_table
from tests.samples import of_mean


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def primary(findings):
    (found,) = [f for f in findings if f.primary]
    return found


def test_an_effect_from_one_layer_on_sets_in_there(rng):
    found = primary(analyse(text_domains(rng), "localization"))
    assert found.verdict == "supported"
    assert "from resid_post.3 on" in found.text
    assert [mark.name for mark in found.plot.marks] == [*(f"resid_post.{i}" for i in range(4)), "final_norm"]
    assert found.plot.marks[0].low < 0 < found.plot.marks[0].high


def test_an_effect_at_one_layer_is_found_at_that_layer_along_an_ordered_axis(rng):
    found = primary(analyse(exposure(rng, effect=lambda _, layer: 0.15 if layer == 2 else 0.0), "localization"))
    assert found.scope.place == "resid_post.2"
    assert "from resid_post.2 on" in found.text
    assert found.unit.startswith("rank correlation")


def test_nothing_planted_is_undecided(rng):
    found = primary(analyse(exposure(rng, effect=lambda *_: 0.0), "localization"))
    assert found.verdict == "undecided"
    assert found.text.startswith("Undecided")


def test_the_cross_fitted_effect_is_not_inflated_by_the_choice_of_place():
    plain, fitted = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(80, 12))
        sums = slope_sums(values, rng.normal(size=80), np.arange(80), within=False)
        onset = find_onset(sums, np.zeros(80, dtype=np.int64), rng=rng)
        plain.append(abs(onset.effects[onset.peak]))
        fitted.append(onset.cross_fitted)
    assert np.mean(plain) > 0.15
    assert abs(np.mean(fitted)) < of_mean(np.std(fitted), len(fitted))


def test_effects_are_cohens_d_and_spearmans_rho(rng):
    from scipy import stats

    values, far = rng.normal(size=(60, 3)), np.arange(60) >= 30
    values[far] += [0.0, 1.0, 2.0]
    onset = find_onset(contrast_sums(values, [(~far, far)], np.arange(60)), far.astype(np.int64), rng=rng)
    pooled = np.sqrt((values[far].var(axis=0, ddof=1) + values[~far].var(axis=0, ddof=1)) / 2)
    np.testing.assert_allclose(onset.effects, (values[far].mean(axis=0) - values[~far].mean(axis=0)) / pooled)
    score = rng.normal(size=60)
    slopes = find_onset(slope_sums(values, score, np.arange(60), within=False), np.zeros(60, dtype=np.int64), rng=rng)
    np.testing.assert_allclose(slopes.effects, [stats.spearmanr(score, column).statistic for column in values.T])


def test_one_coordinate_that_carries_most_is_named_with_its_share(rng):
    findings = analyse(with_controls(text_domains(rng, names=("wikitext",)), "temperature", rng), "localization")
    carried = next(f for f in findings if f.unit.startswith("share") and f.scope.place == "resid_post.3")
    assert carried.estimate == pytest.approx(0.81)
    assert carried.scope.group == "wikitext"
    assert "coordinate 20" in carried.text
    assert "Half of it needs 1 of " in carried.text
    assert carried.plot.marks[0].x == 1
    assert carried.plot.reference == 0.5


def test_a_share_of_no_change_is_undecided(rng):
    findings = analyse(with_controls(text_domains(rng, names=("wikitext",)), "nothing", rng), "localization")
    carried = [f for f in findings if f.unit.startswith("share")]
    assert carried
    assert all(f.verdict == "not significant" and "no coordinate is named" in f.text for f in carried)


def test_bases_are_compared_on_the_items_of_the_controls(rng):
    findings = analyse(with_controls(text_domains(rng, names=("wikitext",)), "temperature", rng), "localization")
    bases = next(f for f in findings if f.scope.basis == "several" and f.scope.place == "resid_post.3")
    assert bases.n == 80
    by_name = {control.name: control for control in bases.controls}
    assert by_name["pca"].estimate > 0.4
    assert by_name["without_top(1)"].interval[0] < 0 < by_name["without_top(1)"].interval[1]
    assert {c.role for c in bases.controls if c.name != "n_tokens"} == {"basis"}


def test_one_layer_and_no_layer_say_why(rng):
    single = text_domains(rng, n_layers=1)
    rows = single.measurements()
    alone = with_table(single, measurements=rows[rows["site"] == "final_norm"])
    assert "fewer than two layers" in primary(analyse(alone, "localization")).text
    one_level = make_sweep(EXPOSURE, [("28", 28.0, "in")], effect=lambda *_: 0.0, rng=rng)
    assert not primary(analyse(one_level, "localization")).answered


def test_two_suites_have_an_answer_each(rng):
    findings = analyse(merge(exposure(rng), text_domains(rng)), "localization")
    assert {f.scope.suite for f in findings if f.primary} == {"lab_exposure", "text_domains"}
    assert all(math.isfinite(f.estimate) for f in findings if f.primary)
