"""What a skeptical reader checks first: no correlation without its twin, no width of zero, no share of nothing."""

import math

import numpy as np
import pytest
from scipy import stats

from analyses import analyse
from analyses.data.panels import read_panels
from analyses.data.runs import once
from analyses.findings.contrast import associate_with, comparisons, share_lost
from analyses.findings.null import sparser
from analyses.findings.panel import detectable
from analyses.findings.registry import ANALYSES
from analyses.statistics.groups import average, cluster_means, contrast
from analyses.statistics.intervals import fieller
from tests.analyses.controlled import with_controls
from tests.analyses.sweeps import STEPS, exposure, make_sweep, merge, text_domains
from tests.analyses.test_measured_familiarity import level_of, with_familiarity
from tests.tolerances import STORED


@pytest.fixture
def rng():
    return np.random.default_rng(22)


@pytest.fixture(scope="module")
def asked():
    """Every analysis of a sweep in which length varies, two suites, two models, controls and familiarity."""
    rng = np.random.default_rng(5)
    steps = [(str(step), float(step), "in") for step in range(4)]
    few = {"n_layers": 1, "n_per_level": 20, "metrics": ("hoyer", "gini", "kurtosis")}
    lab = with_controls(exposure(rng, **few), "alignment", rng, per_group=20)
    lab = with_familiarity(lab, -level_of(lab) + rng.normal(size=160))
    other = exposure(rng, **few, model="/models/other")
    for table in other.tables.values():
        if "run_id" in table:
            table["run_id"] = "run-other"
    harder = [
        make_sweep(STEPS, steps, effect=lambda *_: 0.3, rng=rng, suite=name, length_effect=0.2, **few)
        for name in ("one", "two")
    ]
    sweep = once(merge(lab, other, *harder, text_domains(rng, **few)))
    analyse(sweep, "difficulty")  # loads them all
    return [finding for name in ANALYSES for finding in analyse(sweep, name)]


def test_no_correlation_goes_without_its_length_adjusted_twin(asked):
    printed = [f for f in asked if f.answered and ("correlation" in f.unit or "Cliff" in f.unit or "slope" in f.unit)]
    assert {f.analysis for f in printed} >= {
        *("difficulty", "familiarity", "domains", "measured_familiarity", "localization"),
        *("readout", "covariates", "architecture", "measures", "replication"),
    }
    entries = [f for f in printed if f.analysis == "covariates" and f.scope.group not in {"", "n_tokens"}]
    assert all("adjusted for length" in f.text for f in entries)
    # what is told of trainings is of the laboratory, whose prompts are equally long
    others = [f for f in printed if f.analysis != "covariates" and f.generalises_over != "seeds"]
    summaries = [f for f in others if f.analysis == "architecture" and f.primary]  # its parts have theirs
    without = [f for f in others if f not in summaries and "n_tokens" not in {c.name for c in f.controls}]
    assert [(f.analysis, f.scope.suite, f.unit) for f in without] == [], "add length_control(...) to their controls"


def test_partial_slopes_are_not_called_deltas(asked):
    given = [f for f in asked if f.analysis == "covariates" and "slope" in f.unit]
    assert given
    assert all("Cliff's delta without adjustment" in f.unit for f in given)
    assert all(f.quantity == "partial slope of ranks" and f.adjusted_for for f in given)
    assert not any("leaves a Cliff's delta" in f.text for f in given)


def test_every_trend_of_sparsity_knows_the_whole_family(asked):
    for question in ("difficulty", "familiarity", "domains"):
        tested = [f for f in asked if f.analysis == question and f.test and f.n_clusters > 2 and "mean" not in f.unit]
        assert tested
        for finding in tested:
            is_measure = sparser(finding.scope.metric) is not None
            assert np.isfinite(finding.test.p_family) == is_measure
            assert not is_measure or finding.test.p_family >= min(finding.test.p, 1 / 200)
    primary = next(f for f in asked if f.analysis == "difficulty" and f.primary)
    assert {"Kendall's tau-b", "Somers' D"} <= {e.name for e in primary.effects if np.isfinite(e.interval).all()}


def test_complete_separation_has_an_interval_and_no_detectable_effect(rng):
    values = np.concatenate([rng.normal(size=40), 50 + rng.normal(size=40)])[:, None]
    found = contrast(values, np.arange(80) >= 40, np.arange(80), resamples=100, rng=rng).delta
    assert found.value[0] == 1
    assert 0.8 < found.low[0] < found.high[0] == 1
    few = contrast(values, np.arange(80) >= 40, np.arange(80) // 10, resamples=100, rng=rng).delta
    assert 0 < few.low[0] < found.low[0]
    assert few.high[0] == 1
    assert detectable((0.9, 1.0)).reason.startswith("n/a")
    assert math.isnan(detectable((0.9, 1.0)).estimate)


def test_one_pair_that_overlaps_does_not_undo_a_separation():
    """18 pairs: delta .975 was [-1, 1] where 1.00 was [.77, 1]."""
    values, far = np.arange(36.0), np.arange(36) >= 18
    clusters = np.tile(np.arange(18), 2)
    overlap = values.copy()
    overlap[[14, 18]] = 18, 14  # one item of each group trades places
    both = contrast(
        np.column_stack([values, overlap]), far, clusters, resamples=100, rng=np.random.default_rng(0)
    ).delta
    assert both.value[0] == 1
    assert 0.9 < both.value[1] < 1
    assert 0.5 < both.low[1] < both.low[0]
    assert both.high[1] < 1


@pytest.mark.parametrize("n", [8, 30])
def test_separation_bounds_the_delta_that_would_separate_once_in_forty(n, rng):
    """The lower end is near the delta at which separation is as rare as one in forty."""
    values, far = np.arange(2.0 * n)[:, None], np.arange(2 * n) >= n
    low = contrast(values, far, np.arange(2 * n), resamples=100, rng=rng).delta.low[0]
    shift = math.sqrt(2) * stats.norm.ppf((1 + low) / 2)
    a, b = rng.normal(size=(2, 4000, n))
    rate = (a.max(axis=1) < b.min(axis=1) + shift).mean()
    assert 0.0 < rate < 0.06


def test_the_detectable_effect_does_not_shrink_with_the_effect():
    n = 400
    for rho in (0.0, 0.5, 0.9):
        half = 1.96 / math.sqrt(n - 3)
        found = detectable((math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))).estimate
        assert found == pytest.approx(2.80 / math.sqrt(n), rel=3 / n)


def test_fieller_covers_a_ratio_whose_denominator_is_uncertain(rng):
    hits = naive = 0
    runs, n = 400, 60
    for _ in range(runs):
        shared = rng.normal(size=n)
        b = 0.5 + shared
        a = 0.5 + 0.3 * shared + rng.normal(size=n)
        over = np.array([a.mean(), b.mean()])
        draws = rng.integers(0, n, (400, n))
        replicates = np.column_stack([a[draws].mean(axis=1), b[draws].mean(axis=1)])
        low, high = fieller(over, replicates, "bootstrap")
        hits += math.isnan(low) or low <= 1 <= high
        error = 1.96 * a.std(ddof=1) / math.sqrt(n) / over[1]
        naive += abs(over[0] / over[1] - 1) <= error
    assert hits / runs >= 0.93
    assert hits > naive or naive / runs > 0.97


def test_a_share_of_no_effect_has_no_interval(rng):
    assert np.isnan(fieller(np.array([0.1, 0.02]), rng.normal(size=(200, 2)) * 0.1, "bootstrap")).all()
    assert np.isnan(fieller(np.array([0.1, 0.02]), np.full((1, 2), 0.1), "bootstrap")).all()
    (panel,) = read_panels(exposure(rng, n_layers=1, metrics=("hoyer", "gini")), ["familiarity"])
    (one,) = comparisons(panel)
    same = [index for index, column in enumerate(panel.columns) if column.site == "final_norm"]
    association = associate_with(panel, one, same, resamples=100)
    share, (low, high) = share_lost(association, one, before=0, after=1)
    assert low <= 0 <= high
    assert share == pytest.approx(0, abs=STORED)


def test_the_average_of_draws_is_students():
    draws = np.array([0.2, 0.5, 0.3, 0.6])
    found, expected = average(draws), stats.ttest_1samp(draws, 0.0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert np.isnan(average(np.full(4, 0.3)).interval).all()
    assert np.isnan(average(np.array([0.2, 0.4, np.nan])).mean)  # what is undefined is not left out unsaid
    assert np.isnan(average(np.array([0.2, 0.4, np.nan])).interval).all()


def test_means_of_skewed_measures_miss_on_both_sides(rng):
    values = rng.exponential(size=(40, 1500))
    found = cluster_means(values, np.arange(40), resamples=400, rng=rng)
    above, below = (found.low > 1).mean(), (found.high < 1).mean()
    assert 1 - above - below >= 0.9
    assert below - above < 0.035  # percentiles miss .069 on this side and .021 on the other
