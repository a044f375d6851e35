"""The interval of a mean is Student's, and of what cannot have one it says so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from probes.intervals import mean_interval


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(lambda own: np.ptp(own) > 1e-3))
def test_the_interval_is_students(values: list[float]) -> None:
    found = mean_interval(np.array(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    scale = max(map(abs, values))
    assert found == pytest.approx((np.mean(values), low, high, len(values)), rel=1e-12, abs=1e-12 * scale)


def test_it_misses_the_truth_once_in_twenty() -> None:
    draws = np.random.default_rng(0).standard_normal((2000, 5))
    missed = sum(not own.low <= 0 <= own.high for own in map(mean_interval, draws))
    assert stats.binomtest(missed, len(draws), 0.05).pvalue > 1e-4


def test_what_is_not_finite_is_left_out_and_not_counted() -> None:
    assert mean_interval(np.array([1.0, np.nan, 3.0, np.inf])) == mean_interval(np.array([1.0, 3.0]))
    one = mean_interval(np.array([2.0, np.nan]))
    assert (one.mean, one.n) == (2.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    none = mean_interval(np.array([np.nan]))
    assert math.isnan(none.mean)
    assert none.n == 0
