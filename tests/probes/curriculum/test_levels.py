"""Levels are total, monotone and keep ties together, whichever end of a score is hard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probes.curriculum.levels import PublishedBins, cut_points, hardness, level_of
from probes.errors import InputError

TIED = st.integers(-3, 3).map(float)  # few values, so that ties are the rule
SCORES = st.one_of(
    arrays(np.float64, st.integers(1, 40), elements=TIED),
    arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)),
)


@given(SCORES, SCORES, st.integers(2, 8), st.sampled_from(["higher", "lower"]))
def test_every_score_has_a_level_and_a_harder_one_never_an_easier_level(pool, asked, n, harder):
    cuts = cut_points(hardness(pool, harder), n)
    own, others = (level_of(hardness(scores, harder), cuts) for scores in (pool, asked))
    assert len(cuts) < n
    assert set(own) == set(range(len(cuts) + 1))  # no level without a member
    every, levels = hardness(np.concatenate([pool, asked]), harder), np.concatenate([own, others])
    assert (levels >= 0).all()
    order = np.argsort(every, kind="stable")
    assert (np.diff(levels[order]) >= 0).all()
    assert all(len(set(levels[every == value])) == 1 for value in set(every))


@given(SCORES, st.integers(2, 8))
def test_turning_a_score_round_changes_nothing_but_its_sign(pool, n):
    one, other = (
        level_of(hardness(scores, harder), cut_points(hardness(scores, harder), n))
        for scores, harder in ((pool, "higher"), (-pool, "lower"))
    )
    assert (one == other).all()


def test_distinct_scores_fill_the_levels_equally():
    levels = level_of(np.arange(20.0), cut_points(np.arange(20.0), 5))
    assert np.bincount(levels).tolist() == [4] * 5


def test_few_values_are_a_level_each_however_unequal() -> None:
    graded = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0])
    assert level_of(graded, cut_points(graded, 3)).tolist() == graded.tolist()


def test_what_is_missing_has_no_level_and_moves_no_cut():
    pool = np.array([1.0, np.nan, 2.0, 3.0, 4.0])
    assert level_of(pool, cut_points(pool, 2)).tolist() == [0, -1, 0, 1, 1]
    with pytest.raises(InputError, match="no item of the pool"):
        cut_points(np.array([np.nan]), 2)
    with pytest.raises(InputError, match="at least 2"):
        cut_points(pool, 1)


def test_the_published_lookup_is_right_where_high_is_hard_and_wrong_in_the_gaps_where_low_is():
    pool = np.arange(10.0, 20.0)
    high, low = (PublishedBins.of(pool, harder, 5) for harder in ("higher", "lower"))
    assert [high.level(score) for score in (9.0, 10.5, 15.0, 99.0)] == [1, 1, 3, 5]
    assert low.of_pool.tolist() == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    # below the first bin (18, 19) lies everything: the gap at 13.5 and the hardest of all count as easiest
    assert [low.level(score) for score in (13.5, 9.0)] == [1, 1]
    assert low.level(99.0) == 5  # and the easiest of all as hardest
    with pytest.raises(InputError, match="5 levels need 5 items"):
        PublishedBins.of(np.arange(4.0), "higher", 5)


def test_published_bins_split_ties_and_leave_what_is_left_over_to_the_last():
    assert PublishedBins.of(np.ones(5), "higher", 2).of_pool.tolist() == [1, 1, 2, 2, 2]
