"""Prediction of errors, agreement of measures, models side by side."""

import math

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.questions.measures import cluster_order
from analyses.statistics.prediction import fit_logistic, held_out_gain
from tests.analyses.sweeps import EXPOSURE, exposure, make_sweep, merge, text_domains, with_table
from tests.analyses.test_models import primary, put_to
from tests.samples import ERRORS
from tests.tolerances import STORED

# Bits per item that a coefficient without an effect costs out of sample: on average 1/(2n) nats, a chi square of one
# degree that four standard errors, 1 + 4 sqrt(2) times the mean, leave behind; of 300 items.
UNLEARNT = (1 + ERRORS * math.sqrt(2)) / (2 * 300) / math.log(2)

LAST_STEP = 1e-8  # where the fit stops; Newton's next step would be about the square of it

LEVELS = [("28", 28.0, "in"), ("0", 0.0, "shifted")]


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def with_errors(sweep, chance_of_error, rng):
    ids = sweep.examples()["example_id"]
    correct = (rng.random(len(ids)) > chance_of_error).astype(float)
    rows = pd.DataFrame({"run_id": "run-planted", "example_id": ids, "name": "correct", "value": correct})
    return with_table(sweep, outcomes=pd.concat([sweep.outcomes(), rows]))


def hoyer_of(sweep):
    rows = sweep.measurements()
    own = rows[(rows["site"] == "final_norm") & (rows["metric"] == "hoyer")]
    values = own["value"].to_numpy(np.float64)
    return (values - values.mean()) / values.std()


def test_errors_that_follow_the_measure_are_predicted_better_with_it(rng):
    alone = make_sweep(EXPOSURE, LEVELS, effect=lambda *_: 0.5, rng=rng, n_per_level=150)
    alone = with_table(alone, outcomes=alone.outcomes().iloc[:0])
    by_measure = primary(analyse(with_errors(alone, 1 / (1 + np.exp(-2 * hoyer_of(alone))), rng), "outcome"))
    assert by_measure.verdict == "supported"
    assert by_measure.unit == "gain of held-out log loss over length, bits per item"


def test_errors_by_chance_are_not_predicted(rng):
    sweep = make_sweep(EXPOSURE, LEVELS, effect=lambda *_: 0.5, rng=rng, n_per_level=150)
    found = primary(analyse(with_errors(sweep, np.full(300, 0.4), rng), "outcome"))
    assert found.verdict != "supported"
    assert abs(found.estimate) < UNLEARNT


def test_too_few_errors_are_not_answered_and_no_answers_are_not_asked(rng):
    sweep = make_sweep(EXPOSURE, LEVELS, effect=lambda *_: 0.5, rng=rng)
    assert analyse(sweep, "outcome") == []
    (found,) = analyse(with_errors(sweep, np.zeros(120), rng), "outcome")
    assert not found.answered
    assert "fewer than 15" in found.text


def test_the_logistic_fit_is_scikit_learns(rng):
    from sklearn.linear_model import LogisticRegression

    x = rng.normal(size=(120, 3))
    y = rng.random(120) < 1 / (1 + np.exp(-x @ [2.0, -1.0, 0.0]))
    own = fit_logistic(x, y)
    theirs = LogisticRegression(C=1.0, tol=1e-10, solver="newton-cholesky").fit(x, y)
    np.testing.assert_allclose(own, [theirs.intercept_[0], *theirs.coef_[0]], atol=LAST_STEP)
    separable = fit_logistic(np.arange(40.0)[:, None], np.arange(40) >= 20)
    assert np.isfinite(separable).all()


def test_a_measure_that_is_a_covariate_again_gains_nothing(rng):
    x = rng.normal(size=300)
    y = rng.random(300) < 1 / (1 + np.exp(-2 * x))
    gain = held_out_gain(y, x[:, None], x, np.arange(300), rng=rng)
    assert abs(gain.bits) < UNLEARNT
    assert 0.7 < gain.auc_without < 0.95
    own = held_out_gain(y, rng.normal(size=(300, 1)), x, np.arange(300), rng=rng)
    assert own.low > 0.1
    assert own.auc_with > own.auc_without + 0.2


def test_measures_that_agree_stand_together_and_the_lowest_pair_is_named(rng):
    from tests.analyses.sweeps import METRIC_NAMES

    sweep = exposure(rng, metrics=("hoyer", "gini", "participation_ratio", "kurtosis", "l2_norm"), n_layers=1)
    found = primary(analyse(sweep, "measures"))
    assert METRIC_NAMES[2] not in {mark.series for mark in found.plot.marks}
    assert len(found.plot.marks) == 16
    assert found.estimate == pytest.approx(1.0, abs=STORED)  # all four are one score in these sweeps
    matrix = np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1.0]])
    order = cluster_order(matrix)
    assert abs(order.index(0) - order.index(2)) == 1


def test_two_measures_are_no_agreement(rng):
    assert analyse(exposure(rng, metrics=("hoyer", "gini"), n_layers=1), "measures") == []


def test_models_are_compared_on_the_same_items(rng):
    strong = put_to(exposure(rng, n_layers=1, effect=lambda *_: 0.4), "strong")
    weak = put_to(exposure(rng, n_layers=1, effect=lambda *_: 0.0), "weak")
    findings = analyse(merge(strong, weak), "architecture")
    (difference,) = [f for f in findings if not f.primary and not f.scope.group.startswith("trained")]
    assert difference.verdict == "significantly negative"
    assert difference.estimate < -0.3
    assert (difference.n, difference.scope.group) == (480, "weak")
    assert "1 of 1 differ" in primary(findings).text
    twin = put_to(exposure(rng, n_layers=1, effect=lambda *_: 0.4), "twin")
    found = analyse(merge(strong, twin), "architecture")
    (same,) = [f for f in found if not f.primary and not f.scope.group.startswith("trained")]
    assert same.verdict == "not significant"
    assert analyse(text_domains(rng, n_layers=1), "architecture") == []
