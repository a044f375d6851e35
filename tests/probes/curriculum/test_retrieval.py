"""Orders of a pool: total, reproducible, and by what they say they are by."""

import numpy as np
import pytest

from probes.curriculum.retrieval import by_states, by_words, drawn, fixed


def test_chance_belongs_to_the_question_and_the_seed():
    one = drawn(["a", "b"], 30, 0)
    assert sorted(one[0]) == list(range(30))
    assert (one[0] != one[1]).any()
    assert (one != drawn(["a", "b"], 30, 1)).any()
    same = fixed(["a", "b"], 30, 0)
    assert (same[0] == same[1]).all()


def test_bm25_ranks_by_rare_shared_words():
    pytest.importorskip("bm25s")
    pool = ["the cat sat", "the dog sat on the log", "a quasar shines", "the the the"]
    assert by_words(["What is a Quasar?", "nothing shared: xyzzy", "dog"], pool)[:, 0].tolist() == [2, 0, 1]
    assert by_words(["xyzzy"], pool)[0].tolist() == [0, 1, 2, 3]  # ties in the order of the pool


def test_states_rank_by_cosine_about_the_mean_of_the_pool():
    far = np.array([1e3, 0.0])  # a common offset, which plain cosines see nothing but
    pool = far + np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    assert by_states(far + np.array([[0.1, -3.0]]), pool)[0].tolist()[:2] == [2, 1]
