"""Typicality inside categories: found where it is planted, whatever separates categories or lies along one axis."""

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.concepts.resemblance import FRAMES, cosines, framed, to_category, within_categories
from tests.samples import of_correlation
from tests.tolerances import CORRELATION, FLOAT64_SOLVED

pytestmark = pytest.mark.numeric


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def graded(rng, n=30, width=40, categories=5, shared=0.0):
    """Items that lie the farther from their category's centre the less typical they are."""
    category = np.repeat(np.arange(categories), n)
    typicality = rng.uniform(size=len(category))
    centres = rng.normal(size=(categories, width)) * 2
    vectors = centres[category] + rng.normal(size=(len(category), width)) * (2.2 - 2 * typicality)[:, None]
    return vectors + shared, typicality, category


def test_an_item_is_compared_with_the_others_of_its_category():
    found = to_category(np.eye(4), np.array([0, 0, 0, 1]))
    assert found[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(found[3])


def test_planted_typicality_is_found_and_shuffled_typicality_is_not(rng):
    vectors, typicality, category = graded(rng)
    similarity = to_category(framed(vectors, "centred"), category)
    found = within_categories(similarity, typicality, category, rng)
    assert found.interval[0] > 0.5
    assert found.p < 1e-6
    assert (found.n_items, found.n_categories, found.left_out) == (150, 5, 0)
    covered = [
        (drawn := within_categories(similarity, rng.permutation(typicality), category, rng)).interval[0]
        <= 0
        <= drawn.interval[1]
        for _ in range(60)
    ]
    assert sum(covered) >= 50  # 57 expected; 50 or fewer has a chance of 1 in 500


def test_what_lies_between_categories_is_no_typicality(rng):
    category = np.repeat([0, 1], 40)
    similarity = rng.normal(size=80) + category * 10
    typicality = rng.normal(size=80) + category * 10
    assert stats.spearmanr(similarity, typicality).statistic > 0.6
    assert abs(within_categories(similarity, typicality, category, rng).estimate) < of_correlation(80)


def test_the_average_is_that_of_fisher_with_weights_n_minus_3(rng):
    category = np.repeat([0, 1, 2], [10, 20, 2])
    x = rng.normal(size=32)
    y = x + rng.normal(size=32)
    found = within_categories(x, y, category, rng)
    own = [stats.spearmanr(x[category == code], y[category == code]).statistic for code in (0, 1)]
    assert [found.each[0], found.each[1]] == pytest.approx(own, abs=CORRELATION)
    assert found.estimate == pytest.approx(np.tanh(np.average(np.arctanh(own), weights=[7, 17])), abs=CORRELATION)
    assert found.left_out == 1


def test_a_long_axis_that_has_nothing_to_do_with_it_hides_typicality_until_it_is_taken_off(rng):
    vectors, typicality, category = graded(rng)
    long = vectors + rng.normal(size=(len(vectors), 1)) * 60 * np.eye(1, vectors.shape[1])
    raw, centred, top = (
        within_categories(to_category(framed(long, frame), category), typicality, category, rng).estimate
        for frame in FRAMES
    )
    assert top > 0.5 > max(raw, centred)


def test_frames_do_what_they_say(rng):
    vectors = rng.normal(size=(50, 200)) + 3
    assert framed(vectors, "centred").mean(axis=0) == pytest.approx(np.zeros(200), abs=FLOAT64_SOLVED)
    left = np.linalg.svd(framed(vectors, "all_but_top"), compute_uv=False)
    whole = np.linalg.svd(framed(vectors, "centred"), compute_uv=False)
    assert left[:40] == pytest.approx(whole[2:42], rel=FLOAT64_SOLVED)  # two axes of 200 are gone


def test_categories_of_one_and_missing_ratings_are_left_out_and_counted(rng):
    vectors, typicality, category = graded(rng, n=6, categories=3)
    category = category.copy()
    category[0] = 9
    typicality[10] = np.nan
    similarity = to_category(vectors, category)
    assert np.isnan(similarity[0])
    found = within_categories(similarity, typicality, category, rng)
    assert (found.n_items, found.n_categories, found.left_out) == (16, 3, 1)
    nothing = within_categories(similarity[:2], typicality[:2], category[:2], rng)
    assert np.isnan(nothing.estimate)
    assert nothing.left_out == 2
    assert np.isnan(cosines(np.zeros((1, 3)), np.ones((1, 3)))).all()
