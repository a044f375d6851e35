"""Gains over questions and examples: planted nulls in which pools differ, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.association import cluster_sums
from analyses.statistics.crossed import Side, crossed_mean
from analyses.statistics.gains import Asked, paired_gains, smaller
from analyses.statistics.groups import share_interval
from tests import samples
from tests.tolerances import FLOAT64_SOLVED

SIMULATIONS = 100
MOST_FALSE = int(stats.binom.ppf(0.999, SIMULATIONS, 0.05))  # of so many tests at 5 %: more are luck once in a thousand
STOCK, NEAR, K = 300, 10, 2
ARMS = ("random", "similar", "reversed", "level", "easy_to_hard", "hard_to_easy", "fixed")
PAIRS = tuple(
    (ARMS.index(one), ARMS.index(other))
    for one, other in (
        *(("level", "random"), ("level", "similar"), ("similar", "random"), ("fixed", "random")),
        *(("similar", "reversed"), ("easy_to_hard", "hard_to_easy")),
    )
)


class World(NamedTuple):
    """Size of a simulated comparison, and by how much good examples are better than bad ones (logits)."""

    spread: float
    questions: int = 40
    pools: int = 3
    n_pool: int = 40
    pools_per_question: int | None = None


def simulated(world: World, rng: np.random.Generator) -> Asked:
    """A comparison in which examples differ in what they are worth, pools in their examples, and arms in nothing.

    Arms retrieve by similarity, with favourites that are near to everything, and choose by labels without meaning. What
    an example is worth does not depend on either, so no arm is better than another but by the luck of its pools.
    """
    n, size = world.questions, world.n_pool
    worth, favoured = rng.normal(0, world.spread, STOCK), rng.normal(size=STOCK)
    places, asked, hardness = rng.normal(size=(STOCK, 3)), rng.normal(size=(n, 3)), rng.normal(size=n)
    labels, own = rng.integers(0, 5, STOCK), rng.integers(0, 5, n)
    shown: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    for _ in range(world.pools):
        pool = rng.permutation(STOCK)[:size]
        order = pool[np.argsort(-(asked @ places[pool].T + favoured[pool]), axis=1)]
        near = order[:, :NEAR]
        shown["random"].append(rng.permuted(np.tile(pool, (n, 1)), axis=1)[:, :K])
        shown["fixed"].append(np.tile(rng.permutation(pool)[:K], (n, 1)))
        shown["similar"].append(near[:, :K][:, ::-1])
        shown["reversed"].append(near[:, :K])
        chosen = np.argsort(np.abs(labels[near] - own[:, None]), axis=1, kind="stable")[:, :K]
        shown["level"].append(np.take_along_axis(near, chosen, axis=1)[:, ::-1])
        graded = np.argsort(labels[near[:, :K]], axis=1, kind="stable")
        shown["easy_to_hard"].append(np.take_along_axis(near, graded, axis=1))
        shown["hard_to_easy"].append(np.take_along_axis(near, graded, axis=1)[:, ::-1])
    examples = [np.concatenate(shown[arm]) for arm in ARMS]
    weight = np.array([0.3, 1.0])  # the example right before the question matters most
    logits = np.column_stack([np.tile(hardness, world.pools) + worth[one] @ weight for one in examples])
    right = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    question, pool = np.tile(np.arange(n), world.pools), np.repeat(np.arange(world.pools), n)
    kept = (pool - question) % world.pools < (world.pools_per_question or world.pools)
    return Asked(right[kept], (question[kept],), tuple(own[kept] for own in examples))


def over_questions_alone(asked: Asked, rng: np.random.Generator) -> bool:
    """Whether any comparison is called significant by sign flips of questions, which take the examples as given."""
    differences = np.column_stack([asked.right[:, one] - asked.right[:, other] for one, other in PAIRS])
    sums = cluster_sums(differences, asked.groups[0])
    size = np.sqrt((sums**2).sum(axis=0)).clip(min=1e-12)
    signs = rng.integers(0, 2, (199, len(sums))) * 2.0 - 1.0
    flipped = (np.abs(signs @ sums) / size).max(axis=1)
    return (np.abs(sums.sum(axis=0)) / size).max() > np.quantile(flipped, 0.95)


def false_ones(world: World, n: int, seed: int = 0) -> tuple[int, int, int]:
    """Of n comparisons: how many find any arm better or worse, how many the primary, how many over questions alone."""
    rng, family, both, alone = np.random.default_rng(seed), 0, 0, 0
    for _ in range(n):
        asked = simulated(world, rng)
        gains = paired_gains(asked, PAIRS, rng=rng)
        family += bool((gains.p_family < 0.05).any())
        both += smaller(gains, (0, 1)).p < 0.05
        alone += over_questions_alone(asked, rng)
    return family, both, alone


def test_no_arm_helps_where_none_was_planted_and_pools_differ() -> None:
    """Of 100 comparisons without any effect at most one in twenty finds one, up to sampling; questions alone err."""
    family, both, alone = false_ones(World(1.5), SIMULATIONS)
    assert family <= MOST_FALSE
    assert both <= MOST_FALSE
    assert alone > 2 * MOST_FALSE


@pytest.mark.long
@pytest.mark.parametrize(
    "world",
    [
        *(World(0.0, 60), World(1.0, 60), World(2.0, 60), World(1.0, 150, 5, 60), World(1.0, 60, 10)),
        World(1.0, 150, pools_per_question=1),
    ],
    ids=str,
)
def test_no_arm_helps_at_full_counts(world: World, proof: Callable[[str], None]) -> None:
    n = 1000
    family, both, alone = false_ones(world, n, seed=1)
    proof(
        f"Curriculum without any effect, {world.questions} questions, {world.pools} pools of {world.n_pool}"
        f"{'' if world.pools_per_question is None else ', one for each question'}, worth of "
        f"examples {world.spread} logits: of {n} comparisons {family} find some of {len(PAIRS)} differences of arms "
        f"(max-T at 5 %), {both} the pre-stated one, and {alone} some where questions alone are resampled."
    )
    assert family <= 0.05 * n + samples.of_share(0.05, n) * n
    assert both <= 0.05 * n + samples.of_share(0.05, n) * n


def test_a_planted_gain_is_found_with_its_size_and_error() -> None:
    rng = np.random.default_rng(3)
    asked = simulated(World(1.0, 150), rng)
    better = asked._replace(right=asked.right + np.eye(len(ARMS))[3] * 0.3)
    gains = paired_gains(better, PAIRS, rng=rng)
    plain = paired_gains(asked, PAIRS, rng=rng)
    column = PAIRS.index((3, 0))
    assert gains.value[column] == pytest.approx(plain.value[column] + 0.3)
    assert gains.error[column] == pytest.approx(plain.error[column], rel=FLOAT64_SOLVED)
    assert gains.p_family[column] < 0.05
    assert (gains.p <= gains.p_family).all()
    assert (gains.freedom >= 1).all()


def test_errors_are_those_of_clusters_where_no_example_was_shown() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(0.3, 1, 50)
    groups = np.repeat(np.arange(50), 3)  # three times the same says nothing new
    found = crossed_mean(own[groups], [groups], [])
    assert (found.mean, found.freedom) == (pytest.approx(own.mean()), 49)
    assert found.error == pytest.approx(own.std(ddof=1) / math.sqrt(50), rel=FLOAT64_SOLVED)
    low, high = found.interval
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 49, own.mean(), found.error))


def test_an_arm_that_shows_one_set_per_pool_has_as_many_sets_as_pools() -> None:
    rng = np.random.default_rng(2)
    lift = rng.normal(size=4)
    values = np.repeat(lift, 100)
    shown = np.repeat(np.arange(8).reshape(4, 2), 100, axis=0)
    found = crossed_mean(values, [np.tile(np.arange(100), 4)], [Side(1.0, shown)])
    assert found.freedom == pytest.approx(3)
    assert found.error == pytest.approx(lift.std(ddof=1) / 2, rel=FLOAT64_SOLVED)


def test_what_both_arms_show_in_the_same_place_cancels() -> None:
    rng = np.random.default_rng(4)
    shown = rng.integers(0, 5, (200, 2))
    values = rng.normal(size=200)
    same = crossed_mean(values, [np.arange(200)], [Side(1.0, shown), Side(-1.0, shown)])
    assert same.error == pytest.approx(values.std(ddof=1) / math.sqrt(200), rel=FLOAT64_SOLVED)
    alike = crossed_mean(np.full(9, 0.5), [np.arange(9)], [])
    assert (alike.mean, alike.error) == (0.5, 0.0)
    assert math.isnan(crossed_mean(np.ones(1), [np.zeros(1, dtype=np.int64)], []).error)


def test_a_share_of_all_or_nothing_is_as_wide_as_its_rarest_questions_or_examples_say() -> None:
    groups = np.repeat(np.arange(10), 3)  # ten questions, three times each
    for right in (0.0, 1.0):
        found = crossed_mean(np.full(30, right), [groups], [])
        assert (found.mean, found.error, found.freedom) == (right, 0.0, 9)
        low, high = found.share
        assert (low, high) == pytest.approx((0, 1 - 0.025**0.1) if not right else (0.025**0.1, 1))
    few = crossed_mean(np.ones(30), [groups], [Side(1.0, np.tile([[0, 1], [2, 3], [4, 5]], (10, 1)))])
    assert few.share == pytest.approx((0.025 ** (1 / 3), 1))  # three sets of examples were shown
    assert share_interval(0.0, (math.nan, math.nan), 4.0) == pytest.approx((0, 1 - 0.025**0.25))
    assert stats.binom.pmf(0, 4, share_interval(0.0, (0.0, 0.0), 4.0)[1]) == pytest.approx(0.025)
    some = crossed_mean(np.array([1.0] + 9 * [0.0]), [np.arange(10)], [])
    assert some.share == (0.0, some.interval[1])
    assert some.interval[0] < 0


def test_no_difference_anywhere_is_no_gain_and_one_in_every_answer_is_as_sure_as_its_questions() -> None:
    groups, none = np.arange(20), np.full((20, 1), -1)
    right = np.column_stack([np.zeros(20), np.zeros(20), np.ones(20)])
    gains = paired_gains(Asked(right, (groups,), (none,) * 3), [(1, 0), (2, 0)], rng=np.random.default_rng(0))
    assert gains.p.tolist() == [1.0, 2.0**-19]
    assert gains.value.tolist() == [0.0, 1.0]
