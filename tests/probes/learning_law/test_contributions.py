"""How equal contributions are, against numbers by hand and against a policy that is optimal."""

import math

import numpy as np
import pytest
import torch

from probes.learning_law.contributions import acceleration, area, compression_ratio, contributions, similarity
from probes.learning_law.descent import scheduled, train, uniform
from probes.learning_law.perceptron import Sizes, draw_perceptron
from probes.learning_law.search import begin, search

STEPS, RATE = 12, 0.5


def test_similarity_is_the_weighted_mean_over_the_deviation_from_it():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(2, 1, 30), rng.dirichlet(np.ones(30))
    weights[:10] = 0
    on = weights > 0
    mean = np.average(values[on], weights=weights[on])
    expected = mean / math.sqrt(((values[on] - mean) ** 2).mean())
    assert similarity(torch.from_numpy(values), torch.from_numpy(weights)) == pytest.approx(expected)
    assert similarity(torch.ones(3), torch.ones(3)) == math.inf
    assert math.isnan(similarity(torch.ones(3), torch.tensor([0.0, 1.0, 0.0])))


@pytest.mark.numeric
def test_the_search_makes_exact_contributions_equal_and_the_papers_less_so():
    learner = draw_perceptron(Sizes(16, 64, 400, 400), np.random.default_rng(2))
    before, after = (
        contributions(learner, policy, train(learner, policy, rate=RATE, n_steps=STEPS), RATE)
        for policy in (
            uniform(learner),
            scheduled(search(learner, begin(learner, STEPS), rate=RATE, epochs=60).weights),
        )
    )
    assert before.equality.zero == 0
    assert after.equality.exact_similarity > 3 * before.equality.exact_similarity
    assert after.equality.exact_similarity > 1.3 * after.equality.similarity
    assert after.equality.typical_residual < before.equality.typical_residual
    assert after.equality.correlation < before.equality.correlation
    assert 0.2 < after.equality.zero < after.equality.zero_of_harmful
    assert after.now.shape == after.exact.shape == after.weights.shape == (4, 64)
    assert after.steps == (0, 3, 6, 9)


def test_area_ratio_and_acceleration_by_hand():
    losses = torch.tensor([9.0, 0.5, 0.4, 0.3, 0.2])
    assert area(losses) == pytest.approx(0.35)
    assert compression_ratio(losses, 16) == pytest.approx(math.log(16) / 0.35)
    assert acceleration(losses, 0.4) == 2.0
    assert acceleration(losses, 0.2) == 1.0
    assert math.isnan(acceleration(losses, 0.1))


def test_knowing_nothing_compresses_nothing():
    learner = draw_perceptron(Sizes(4, 8, 8, 8), np.random.default_rng(0))
    path = train(learner, uniform(learner), rate=0.0, n_steps=3)
    assert compression_ratio(path.desired, learner.symbols) == pytest.approx(1)
