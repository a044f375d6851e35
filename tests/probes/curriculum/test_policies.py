"""Each branch of each rule, on candidates small enough to choose from by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.curriculum.policies import POLICIES, Candidates

#           place: 0  1  2  3  4  5  6  7  8  9, the most similar first
LEVELS = np.array([2, 0, 4, 1, 2, 3, 0, 4, 3, 1])


def candidates(own, *, levels=LEVELS, n_levels=5, near=10):
    return Candidates(hardness=levels.astype(float), levels=levels, own=own, n_levels=n_levels, near=near)


@pytest.mark.parametrize(
    ("policy", "own", "chosen"),
    [
        ("nearest", 0, [2, 1, 0]),
        ("nearest_first", 0, [0, 1, 2]),
        ("matched", 2, [3, 4, 0]),  # both of level 2, then the most similar one level away, farthest first
        ("matched", 0, [3, 6, 1]),
        ("easy_to_hard", 0, [1, 0, 2]),
        ("hard_to_easy", 0, [2, 0, 1]),
        ("paper", 0, [1, 6, 3]),  # easy: two of its own, one a level up
        ("paper", 1, [3, 9, 0]),  # medium: its own, then the most similar of all
        ("paper", 4, [5, 2, 7]),  # hard: one a level down, then its own
        ("paper_as_run", 1, [3, 9, 0]),  # levels counted from 1: the easiest is medium
        ("paper_as_run", 3, [0, 5, 8]),  # hard from 3 on
        ("paper_as_run", 5, [2, 0, 1]),  # one a level down; none of its own: the most similar
    ],
)
def test_each_rule_chooses(policy, own, chosen):
    assert POLICIES[policy].choose(candidates(own), 3) == chosen


def test_the_branch_for_easy_questions_is_dead_with_five_levels_and_lives_with_six():
    counted = candidates(1, levels=LEVELS + 1, n_levels=5)
    assert POLICIES["paper_as_run"].choose(counted, 2) == [1, 6]  # medium: two of its own
    six = candidates(1, levels=LEVELS + 1, n_levels=6)
    assert POLICIES["paper_as_run"].choose(six, 2) == [1, 3]  # easy: one of its own, one a level up
    nobody = candidates(1, levels=np.full(10, 5), n_levels=6)
    assert POLICIES["paper_as_run"].choose(nobody, 2) == []  # and nothing to fall back on
    assert POLICIES["paper"].choose(candidates(0, levels=np.full(10, 5), n_levels=6), 2) == [0, 1]


def test_a_similar_one_of_another_level_goes_before_a_dissimilar_one_of_the_own():
    assert POLICIES["matched"].choose(candidates(2, near=2), 3) == [4, 1, 0]


@given(
    st.sampled_from([name for name in POLICIES if name != "paper_as_run"]),
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.integers(0, 4),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_every_rule_names_k_different_candidates(name, levels, own, k, near):
    chosen = POLICIES[name].choose(candidates(own, levels=np.array(levels), near=near), k)
    assert len(chosen) == len(set(chosen)) == min(k, len(levels))
    assert set(chosen) <= set(range(len(levels)))
