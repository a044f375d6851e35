"""Derivatives of a training by its policy, each found in another way; and what symmetry demands of the answer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from probes.learning_law.descent import DivergedError, scheduled, train, uniform
from probes.learning_law.learners import Differentiable
from probes.learning_law.perceptron import Perceptron, Sizes, draw_perceptron
from probes.learning_law.search import begin, policy_gradient, search
from tests.tolerances import FLOAT64

# Central differences: the third derivative leaves h^2, rounding u/h of the sum; with h = 1e-4 both are under 1e-8 of a
# derivative of size 1e-2. The issue asks for 1e-6 where the derivative is above 1e-9.
DIFFERENCES = 1e-6
SMALLEST = 1e-9
UNROLLED = 1e-10  # as the issue asks: the same products in another order
RATE = 0.5
STEPS = 17  # no multiple of the steps between what is kept


SIZES = Sizes(5, 12, 9, 7)


def drawn(seed: int = 0, sizes: Sizes = SIZES) -> Perceptron:
    return draw_perceptron(sizes, np.random.default_rng(seed))


def some_weights(learner, n_steps: int, seed: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.dirichlet(np.ones(learner.n_examples), size=n_steps))


def deep(seed: int = 0) -> Differentiable:
    """A small network with a hidden layer, whose Hessian depends on everything; in two parts."""
    rng = np.random.default_rng(seed)
    inputs = [torch.from_numpy(rng.standard_normal((n, 3))) for n in (6, 4, 5, 5)]
    labels = [torch.from_numpy(rng.choice([-1.0, 1.0], n)) for n in (6, 4, 5, 5)]

    def losses(number: int):
        def each(at):
            hidden = torch.tanh(inputs[number] @ at[:12].reshape(3, 4))
            return softplus(-labels[number] * (hidden @ at[12:]))

        return each

    def of_first(at):
        return losses(0)(at)[:5]

    def of_rest(at):
        return torch.cat([losses(0)(at)[5:], losses(1)(at)])

    start = torch.from_numpy(rng.standard_normal(16))
    desired, held_out = losses(2), losses(3)
    return Differentiable(
        start, [of_first, of_rest], lambda at: desired(at).mean(), lambda at: held_out(at).mean(), 10, 2
    )


@pytest.mark.parametrize("learner", [drawn(), drawn().general(), deep()], ids=["closed", "general", "deep"])
def test_the_adjoint_is_what_central_differences_say(learner):
    weights = some_weights(learner, STEPS)
    path = train(learner, scheduled(weights), rate=RATE, n_steps=STEPS)
    found = policy_gradient(learner, weights, path, RATE)
    h, rng = 1e-4, np.random.default_rng(2)
    checked = 0
    for step, example in zip(rng.integers(0, STEPS, 12), rng.integers(0, learner.n_examples, 12), strict=True):
        totals = []
        for moved in (h, -h):
            other = weights.clone()
            other[step, example] += moved
            totals.append(train(learner, scheduled(other), rate=RATE, n_steps=STEPS).total)
        value = found[step, example].item()
        if abs(value) > SMALLEST:
            checked += 1
            assert (totals[0] - totals[1]) / (2 * h) == pytest.approx(value, rel=DIFFERENCES, abs=SMALLEST)
    assert checked > 8


@pytest.mark.parametrize("every", [1, None])
@pytest.mark.parametrize("learner", [drawn(), deep()], ids=["closed", "deep"])
def test_the_adjoint_is_autograd_through_the_unrolled_training(learner, every):
    plain = learner.general() if isinstance(learner, Perceptron) else learner
    weights = some_weights(learner, STEPS).requires_grad_()
    at, total = plain.start.clone().requires_grad_(), torch.zeros(())
    for step in range(STEPS):
        loss = (weights[step] * torch.cat([part(at) for part in plain.parts])).sum()
        at = at - RATE * torch.autograd.grad(loss, at, create_graph=True)[0]
        total = total + plain.wanted(at)
    (expected,) = torch.autograd.grad(total, weights)
    told = weights.detach()
    path = train(learner, scheduled(told), rate=RATE, n_steps=STEPS, every=every)
    assert path.total == pytest.approx(total.item(), rel=UNROLLED)
    torch.testing.assert_close(policy_gradient(learner, told, path, RATE), expected, rtol=UNROLLED, atol=UNROLLED)


def test_equal_weights_are_plain_gradient_descent_bit_for_bit():
    for learner in (drawn().general(), drawn(3, Sizes(7, 33, 5, 5)).general()):
        path = train(learner, uniform(learner), rate=RATE, n_steps=STEPS)
        at = learner.start.clone().requires_grad_()
        for _ in range(STEPS):
            (gradient,) = torch.autograd.grad(learner.parts[0](at).mean(), at)
            at = (at - RATE * gradient).detach().requires_grad_()
        assert torch.equal(path.end, at)


def test_what_is_kept_changes_nothing():
    learner = drawn()
    paths = [train(learner, uniform(learner), rate=RATE, n_steps=STEPS, every=every) for every in (1, 4, None, 99)]
    assert [len(path.kept) for path in paths] == [17, 5, 4, 1]
    assert all(torch.equal(path.end, paths[0].end) for path in paths)
    gradients = [policy_gradient(learner, begin(learner, STEPS).weights, path, RATE) for path in paths]
    assert all(torch.equal(own, gradients[0]) for own in gradients)


def found_by(learner, epochs: int = 12) -> torch.Tensor:
    return search(learner, begin(learner, STEPS), rate=RATE, epochs=epochs).weights


# Twelve epochs of sums in another order: each loses a few roundoffs, and a policy step divides by a small deviation.
REORDERED = 1e-9


def test_permuted_examples_get_permuted_weights():
    learner = drawn()
    order = torch.from_numpy(np.random.default_rng(5).permutation(learner.n_examples))
    turned = Perceptron(learner.train[order], learner.wanted, learner.unseen)
    torch.testing.assert_close(found_by(turned), found_by(learner)[:, order], rtol=0, atol=REORDERED)


def test_duplicates_share_their_weight():
    learner = drawn()
    twice = Perceptron(torch.cat([learner.train, learner.train]), learner.wanted, learner.unseen)
    once, both = found_by(learner), found_by(twice)
    n = learner.n_examples
    torch.testing.assert_close(both[:, :n], both[:, n:], rtol=0, atol=REORDERED)
    torch.testing.assert_close(both[:, :n] + both[:, n:], once, rtol=0, atol=REORDERED)
    assert (once - 1 / n).abs().max() > 0.05  # the search went somewhere


def test_a_search_only_gets_better_and_goes_on_from_where_it_was():
    learner = drawn()
    whole = search(learner, begin(learner, STEPS), rate=RATE, epochs=9)
    half = search(learner, begin(learner, STEPS), rate=RATE, epochs=4)
    rest = search(learner, half, rate=RATE, epochs=9)
    assert torch.equal(whole.weights, rest.weights)
    assert whole.totals == rest.totals
    assert whole.epochs == 9
    assert all(after <= before for before, after in zip(whole.totals, whole.totals[1:], strict=False))
    assert whole.totals[-1] < 0.9 * whole.totals[0]
    assert train(learner, scheduled(whole.weights), rate=RATE, n_steps=STEPS).total == whole.totals[-1]
    assert torch.allclose(whole.weights.sum(1), torch.ones(STEPS, dtype=torch.float64), atol=FLOAT64)
    assert (whole.weights >= 0).all()


def test_a_worse_policy_is_never_taken_and_halves_the_step():
    learner = drawn()
    found = search(learner, begin(learner, STEPS), rate=RATE, epochs=4)
    uphill = replace(found, size=-found.size)
    after = search(learner, uphill, rate=RATE, epochs=5)
    assert torch.equal(after.weights, uphill.weights)
    assert after.totals == (*uphill.totals, uphill.totals[-1])
    assert after.size == uphill.size / 2


def test_losses_of_the_closed_form_are_those_of_the_general_one():
    learner = drawn()
    at, weights = torch.ones(5, dtype=torch.float64), some_weights(learner, 1)[0]
    direction = torch.linspace(-1, 1, 5, dtype=torch.float64)
    general = learner.general()
    torch.testing.assert_close(learner.gradient(at, weights), general.gradient(at, weights))
    torch.testing.assert_close(learner.along(at, direction), general.along(at, direction))
    torch.testing.assert_close(learner.turn(at, weights, direction), general.turn(at, weights, direction))
    torch.testing.assert_close(learner.desired(at), general.desired(at))
    assert learner.desired_loss(at) == pytest.approx(general.desired_loss(at))
    assert learner.held_out_loss(at) == pytest.approx(general.held_out_loss(at))
    assert learner.held_out_loss(learner.start) == pytest.approx(math.log(2))


def test_a_training_that_diverges_names_its_step():
    learner = deep()
    broken = Differentiable(
        learner.start, learner.parts, lambda at: (at**4).sum().exp() - 1, learner.unseen, learner.n_examples, 2
    )
    with pytest.raises(DivergedError, match=r"desired loss is inf after step \d+") as told:
        train(broken, uniform(broken), rate=1e6, n_steps=30)
    assert 1 <= told.value.step <= 30
    rising = replace(learner, wanted=lambda at: 1 + (at - learner.start).square().sum())
    with pytest.raises(DivergedError, match=r"after step 2;"):  # the first step has no weight, the second too much
        train(rising, lambda step, _: torch.full((10,), 1e3 * step, dtype=torch.float64), rate=1.0, n_steps=5)
