"""The twin optimizer commutes with rotations of the residual stream; AdamW does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from probes.lab.families import build_model
from probes.lab.optimizers import build_update, residual_axis
from probes.lab.recipe import Recipe
from probes.lab.tokenizer import build_tokenizer
from probes.lab.training import encode_sentences, surprisal
from probes.lab.world import build_world
from tests.tolerances import FLOAT32_ROUNDOFF

RECIPE = Recipe(d_model=16, n_layers=2, n_heads=2, d_mlp=24, learning_rate=1e-2)
STEPS = 20
# Weights are float64, but Llama's norms compute in float32 whatever comes in: each moves what it passes on by a
# roundoff, and each step as much again. Seen: losses 1.2e-8 apart after twenty steps, with AdamW more than 6e-4.
NORMS = 2 * RECIPE.n_layers + 1
ROTATED = STEPS * NORMS * FLOAT32_ROUNDOFF
ROTATION = torch.from_numpy(ortho_group.rvs(RECIPE.d_model, random_state=np.random.default_rng(3)))


def rotate(module):
    """Write the same function in another basis of the residual stream."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            axis = residual_axis(name, weight)
            if axis is not None:
                weight.copy_(ROTATION @ weight if axis == 0 else weight @ ROTATION.T)
    return module


def train(recipe, *, rotated):
    """A few steps in double precision; the losses and the final weights."""
    world = build_world(np.random.default_rng(0), multiples=(0, 1, 2), unit=1, n_tails=4)
    tokenizer = build_tokenizer(world.words)
    sentences = encode_sentences(tokenizer, world)
    module = build_model(recipe, vocabulary=len(tokenizer), seed=5).double()
    if rotated:
        rotate(module)
    update = build_update(module, recipe)
    losses = []
    for _ in range(STEPS):
        loss = surprisal(module, sentences, recipe.objective)
        loss.backward()
        update(recipe.learning_rate)
        losses.append(loss.item())
    return np.array(losses), module


def test_the_twin_learns_the_same_function_in_any_basis():
    recipe = replace(RECIPE, optimizer="equivariant")
    losses, module = train(recipe, rotated=False)
    others, other = train(recipe, rotated=True)
    assert losses[-1] < 0.7 * losses[0]
    assert others == pytest.approx(losses, rel=ROTATED)
    for (name, expected), (_, found) in zip(rotate(module).named_parameters(), other.named_parameters(), strict=True):
        assert torch.allclose(expected, found, atol=ROTATED), name


def test_adamw_does_not():
    losses, _ = train(RECIPE, rotated=False)
    others, _ = train(RECIPE, rotated=True)
    assert others[0] == pytest.approx(losses[0], rel=NORMS * FLOAT32_ROUNDOFF)
    assert np.abs(others - losses).max() > 100 * ROTATED


def test_the_twin_freezes_the_norm_gains_and_nothing_else():
    _, module = train(replace(RECIPE, optimizer="equivariant"), rotated=False)
    before = build_model(RECIPE, vocabulary=module.config.vocab_size, seed=5).double().state_dict()
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, before[name]) == name.endswith("norm.weight"), name


def test_every_weight_of_the_model_has_its_residual_axis_where_the_table_says():
    module = build_model(replace(RECIPE, d_model=20, d_mlp=28), vocabulary=50, seed=0)
    for name, weight in module.named_parameters():
        axis = residual_axis(name, weight)
        assert axis is None or weight.shape[axis] == 20, name
        assert (axis is None) == name.endswith("norm.weight"), name
