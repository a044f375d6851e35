"""Partitions of states: their limits, what may not change them, what is planted, and what chance gives."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from analyses.statistics.concepts.agreement import agreement, ami, ami_ceiling, ami_interval
from analyses.statistics.concepts.distortion import (
    Regret,
    label_bits,
    merged,
    paper_objective,
    point,
    random_shares,
    regret,
    unexplained,
)
from analyses.statistics.concepts.held_out import held_out_regret
from analyses.statistics.concepts.quantisation import (
    better_partitions,
    k_means,
    numbers_of_clusters,
    principal,
    rivals,
    squeezed,
)
from tests.samples import of_mean
from tests.tolerances import FLOAT64, FLOAT64_SOLVED

pytestmark = pytest.mark.numeric
SPREAD = 4.0  # standard errors of a mean of random draws: one test in 16,000 fails by chance, and seeds are fixed


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def planted(rng, apart=6.0, sizes=(20, 12, 9, 30), width=24):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(sizes), width))[labels] * apart + rng.normal(size=(len(labels), width)), labels


def moved(vectors, rng):
    """The same states turned, scaled and shifted."""
    turn = np.linalg.qr(rng.normal(size=(vectors.shape[1],) * 2))[0]
    return (vectors @ turn) * 37.0 + rng.normal(size=vectors.shape[1]) * 100


def curve_of(vectors, k, seed=3):
    points, rng = principal(vectors), np.random.default_rng(seed)
    return points, [k_means(points, own, rng) for own in numbers_of_clusters(k, len(vectors))]


def test_every_item_alone_keeps_all_and_one_cluster_keeps_nothing(rng):
    vectors = rng.normal(size=(40, 7))
    alone, one = np.arange(40), np.zeros(40, dtype=int)
    assert point(vectors, alone)[1:] == (pytest.approx(np.log2(40), rel=FLOAT64), 0.0)
    assert point(vectors, one) == (1, 0.0, 1.0)
    total = float(vectors.var(axis=0).sum())
    assert paper_objective(vectors, one, beta=1.0) == pytest.approx(total, rel=FLOAT64)
    assert paper_objective(vectors, alone, beta=1.0) == pytest.approx(np.log2(40), rel=FLOAT64)


def test_distortion_is_what_a_regression_on_the_categories_leaves(rng):
    vectors, labels = planted(rng, apart=1.0)
    dummies = (labels[:, None] == np.unique(labels)).astype(float)
    fitted = dummies @ np.linalg.lstsq(dummies, vectors, rcond=None)[0]
    expected = ((vectors - fitted) ** 2).sum() / ((vectors - vectors.mean(axis=0)) ** 2).sum()
    assert unexplained(vectors, labels) == pytest.approx(expected, rel=FLOAT64_SOLVED)


def test_shares_regret_and_clusters_survive_turning_scaling_and_shifting_and_the_papers_objective_does_not(rng):
    vectors, labels = planted(rng, apart=0.5)
    other = moved(vectors, rng)
    found = []
    for own in (vectors, other):
        points, curve = curve_of(own, 4)
        fair = rivals(points, labels, curve)
        found.append((regret(own, labels, fair, np.random.default_rng(5)), [ami(each, labels) for each in curve]))
    (one, of_one), (two, of_two) = found
    np.testing.assert_allclose(one, two, rtol=FLOAT64_SOLVED)
    np.testing.assert_allclose(of_one, of_two, rtol=FLOAT64_SOLVED)
    assert one.difference > 0
    # the paper's L orders a fine and a coarse partition one way, and the other way in other units
    coarse, fine = np.zeros(len(labels), dtype=int), np.arange(len(labels))
    better = [paper_objective(vectors * unit, fine, beta=1.0) < paper_objective(vectors * unit, coarse, beta=1.0)
              for unit in (100.0, 0.01)]  # fmt: skip
    assert better == [True, False]


def test_agreement_is_that_of_scikit_learn(rng):
    labels, categories = rng.integers(0, 4, 60), rng.integers(0, 5, 60)
    found = agreement(labels, categories)
    assert found.ami == metrics.adjusted_mutual_info_score(categories, labels)
    assert found.nmi == metrics.normalized_mutual_info_score(categories, labels)
    assert found.ari == metrics.adjusted_rand_score(categories, labels)


def test_shuffled_labels_agree_by_nothing_and_their_intervals_say_so(rng):
    _, labels = planted(rng)
    values, covered = [], 0
    for _ in range(40):
        shuffled = rng.permutation(labels)
        low, high = ami_interval(shuffled, labels, rng)
        values.append(ami(shuffled, labels))
        covered += low <= 0 <= high
    assert abs(np.mean(values)) < SPREAD * np.std(values) / np.sqrt(len(values))
    # 38 of 40 are expected of 95 %; fewer than 32 have a chance below 1 in 1,000
    assert covered >= 32


def test_a_planted_partition_is_found_whole(rng):
    vectors, labels = planted(rng)
    _, curve = curve_of(vectors, 4)
    found = next(own for own in curve if len(np.unique(own)) == 4)
    assert ami(found, labels) == 1.0
    points = principal(vectors)
    judged = regret(vectors, labels, rivals(points, labels, curve), rng)
    assert judged.difference == 0.0
    assert judged.z < -10


def test_random_partitions_of_the_same_sizes_have_z_of_0_plus_or_minus_1(rng):
    vectors, labels = planted(rng, apart=0.3)
    zs = [regret(vectors, rng.permutation(labels), [], rng, draws=100).z for _ in range(200)]
    assert abs(np.mean(zs)) < SPREAD / np.sqrt(200)
    assert abs(np.std(zs) - 1) < SPREAD / np.sqrt(2 * 200)


def test_random_partitions_explain_k_minus_1_of_n_minus_1(rng):
    vectors, labels = planted(rng)
    drawn = random_shares(vectors, labels, rng, draws=300)
    direct = unexplained(vectors, (permuted := rng.permutation(labels)))
    assert abs(drawn.mean() - (len(labels) - 4) / (len(labels) - 1)) < SPREAD * drawn.std() / np.sqrt(300)
    one = random_shares(vectors, permuted, np.random.default_rng(8), draws=1)[0]
    again = unexplained(vectors, _as_drawn(permuted, np.random.default_rng(8)))
    assert one == pytest.approx(again, rel=FLOAT64_SOLVED)
    assert 0 < direct < 1


def _as_drawn(labels, rng):
    return rng.permutation(np.unique(labels, return_inverse=True)[1])


def test_rivals_never_take_more_bits_and_beat_categories_that_ignore_the_states(rng):
    vectors, labels = planted(rng)
    other = rng.permutation(labels)
    points, curve = curve_of(vectors, 4)
    fair = rivals(points, other, curve)
    assert fair
    assert max(label_bits(own) for own in fair) <= label_bits(other)
    judged = regret(vectors, other, fair, rng)
    assert judged.normalised > 0.9
    assert judged.best < 0.2


def test_squeezing_meets_a_bound_that_clusters_exceed(rng):
    points = principal(rng.normal(size=(80, 5)))
    start = k_means(points, 12, rng)
    found = squeezed(points, start, 2.0)
    assert label_bits(start) > 2.0 >= label_bits(found)
    assert label_bits(found) > 1.5  # it does not give away what it may use


def test_joining_categories_loses_more_at_each_step(rng):
    vectors, labels = planted(rng, apart=1.0)
    steps = merged(vectors, labels)
    assert [len(np.unique(own)) for own in steps] == [4, 3, 2, 1]
    shares = [unexplained(vectors, own) for own in steps]
    assert shares == sorted(shares)
    assert steps[0].tolist() == labels.tolist()


def test_the_ceiling_is_1_without_doubles_and_the_best_that_equal_states_allow_with_them(rng):
    categories = np.repeat([0, 1, 2], 10)
    names = [str(number) for number in range(30)]
    assert ami_ceiling(names, categories) == 1.0
    names[10] = names[0]
    names[20] = names[1]
    ceiling = ami_ceiling(names, categories)
    assert ceiling < 1
    rows = np.array([names.index(name) for name in names])
    for _ in range(30):  # no partition of different names does better
        tried = rng.permutation(categories)[rows] if rng.random() < 0.3 else categories[rows]
        assert ami(tried, categories) <= ceiling + FLOAT64


def test_random_partitions_of_unequal_sizes_lose_what_their_number_says(rng):
    vectors, labels = rng.normal(size=(20, 3)), np.repeat([0, 1, 2], [2, 4, 14])
    found = random_shares(vectors, labels, rng, draws=400)
    assert found.mean() == pytest.approx(17 / 19, abs=of_mean(float(found.std()), 400))


def test_regret_is_taken_against_partitions_of_no_greater_entropy(rng):
    vectors, labels = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([0, 1, 1, 1])
    halves, alone = np.array([0, 0, 1, 1]), np.arange(4)  # 1 and 2 bits, against .81 of the labels
    assert regret(vectors, labels, [halves, alone], rng).difference == 0.0
    judged = regret(vectors, halves, [labels, alone], rng)
    assert judged.best == unexplained(vectors, halves) > 0.0


def test_degenerate_states_are_undefined_or_one_cluster():
    same = np.ones((10, 3))
    labels = np.repeat([0, 1], 5)
    assert np.isnan(unexplained(same, labels))
    assert k_means(principal(same), 3, np.random.default_rng(0)).max() == 0
    assert np.isnan(Regret(0.5, 0.5, 0.5, 0.0).normalised)
    assert np.isnan(Regret(0.5, 0.5, 0.5, 0.0).z)
    assert np.isnan(ami_interval(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.random.default_rng(0))).all()


def test_z_of_a_planted_partition_says_what_its_draws_say(rng):
    vectors, labels = planted(rng, apart=0.4)
    judged = regret(vectors, labels, [], np.random.default_rng(2))
    drawn = random_shares(vectors, labels, np.random.default_rng(2), draws=200)
    assert judged.z == pytest.approx((judged.share - drawn.mean()) / stats.tstd(drawn), rel=FLOAT64_SOLVED)


PUBLISHED = {  # sizes of the categories of the three norms
    3.000: [6] * 8,
    3.319: [50, 51, 54, 55, 56, 59, 60, 60, 60, 60],
    4.145: [10, 24, 25, 26, 27, 28, 28, 28, 29, 29, 29, 29, 30, 30, 30, 30, 30, 30],
}


def test_entropies_of_the_published_norms():
    for bits, sizes in PUBLISHED.items():
        assert round(label_bits(np.repeat(np.arange(len(sizes)), sizes)), 3) == bits


def test_regret_on_new_sentences_is_0_for_the_clusters_of_the_states_and_1_for_labels_at_random(rng):
    vectors, labels = planted(rng)
    sentences = np.stack([vectors + 0.3 * rng.normal(size=vectors.shape) for _ in range(3)])
    search = partial(_searched, labels)
    own = held_out_regret(sentences, labels, search, rng)
    assert own.regret == pytest.approx(0.0, abs=0.02)
    assert own.interval[1] < 0.1
    shuffled = rng.permutation(labels)
    random = held_out_regret(sentences, shuffled, partial(_searched, shuffled), rng)
    assert random.interval[0] < 1 < random.interval[1] + 0.2
    assert random.interval[0] > 0.5
    assert math.isnan(held_out_regret(sentences[:1], labels, search, rng).regret)


def test_a_partition_that_fits_one_sentence_alone_is_worse_on_the_next(rng):
    vectors, labels = planted(rng, apart=0.0)  # nothing but what each sentence makes of the items
    sentences = rng.normal(size=(2, *vectors.shape))
    found = held_out_regret(sentences, labels, partial(_searched, labels), rng)
    seen = regret(sentences[0], labels, better_partitions(sentences[0], labels, rng), rng)
    assert seen.difference > 0.05
    assert abs(found.share - found.best) < 0.02


def _searched(labels, states):
    return better_partitions(states, labels, np.random.default_rng(5))
