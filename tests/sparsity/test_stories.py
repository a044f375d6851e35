"""A real model: the change from children's stories to encyclopedia text is largely the story of one dimension."""

import numpy as np
import pytest
from numpy.typing import NDArray

import sparsity
from sparsity.bases import principal_axes
from sparsity.locate import outlier_dimensions, substitution_shares, without
from sparsity.rotations import rotation_test
from tests.samples import of_mean
from tests.sparsity.stories import N_TOKENS, needs_assets, states


def of_texts(values: NDArray[np.float64]) -> float:
    """Distance that a mean over other texts may have: four standard errors over texts, the tokens of one together."""
    of_each = values.reshape(-1, N_TOKENS - 1).mean(axis=1)
    return of_mean(of_each.std(), len(of_each))


def share_of_20(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    energy = vectors**2
    return energy[:, 20] / energy.sum(axis=1)


pytestmark = needs_assets


def test_hoyer_rises_from_stories_to_encyclopedia_text_above_chance():
    stories, wikitext = (sparsity.hoyer(states(group)) for group in ("tinystories", "wikitext"))
    assert stories.mean() == pytest.approx(0.286, abs=of_texts(stories))
    assert wikitext.mean() == pytest.approx(0.367, abs=of_texts(wikitext))
    assert stories.mean() > sparsity.nulls.gaussian("hoyer", 64).mean


def test_dimension_20_holds_a_third_of_the_energy_of_unfamiliar_text():
    found = outlier_dimensions(states("wikitext"), m=1)
    assert found.dimensions == (20,)
    assert found.energy_share == pytest.approx(0.355, abs=of_texts(share_of_20(states("wikitext"))))
    assert found.applicable
    assert outlier_dimensions(states("wikitext"), m=2).dimensions == (20, 15)


def test_dimension_20_holds_a_third_of_the_energy_of_all_groups_together():
    pooled = np.concatenate([states(group) for group in ("tinystories", "wikitext", "bytes")])
    found = outlier_dimensions(pooled, m=1).energy_share
    assert found == pytest.approx(0.329, abs=of_texts(share_of_20(pooled)))


def test_without_dimensions_20_and_15_the_change_is_gone():
    stories, wikitext = (sparsity.hoyer(without(states(group), [20, 15])) for group in ("tinystories", "wikitext"))
    assert stories.mean() == pytest.approx(0.250, abs=of_texts(stories))
    assert wikitext.mean() == pytest.approx(0.254, abs=of_texts(wikitext))


def test_dimension_20_carries_half_or_more_of_the_change_by_substitution():
    stories, wikitext = states("tinystories")[::5], states("wikitext")[::5]
    parts = [[j] for j in (20, 15, 5, 31, 40)] + [[j for j in range(64) if j not in {20, 15, 5, 31, 40}]]
    found = substitution_shares(stories, wikitext, "hoyer", permutations=9, rng=np.random.default_rng(0), parts=parts)
    assert found.order[0] == 0
    assert found.k50 == 1
    assert 0.49 <= found.forward[0] < found.shares[0] < found.backward[0] <= 0.80
    assert found.p_values[0] == 1 / 10


def test_the_change_belongs_to_the_neuron_basis():
    found = rotation_test(
        states("tinystories")[::10], states("wikitext")[::10], "hoyer", rotations=29, rng=np.random.default_rng(0)
    )
    assert found.change > 0.06
    assert found.z > 5
    assert found.p == 1 / 30


def test_the_change_grows_along_the_axes_in_which_all_groups_vary():
    # axes of the pooled covariance, vectors as they are: along axes of the stories alone it does not grow
    groups = {group: states(group) for group in ("tinystories", "wikitext", "bytes")}
    axes = principal_axes(np.concatenate(list(groups.values()))).directions
    raw = {group: sparsity.hoyer(vectors).mean() for group, vectors in groups.items()}
    along = {group: sparsity.hoyer(vectors @ axes) for group, vectors in groups.items()}
    turned = {group: values.mean() for group, values in along.items()}
    assert turned["tinystories"] == pytest.approx(0.305, abs=of_texts(along["tinystories"]))
    assert turned["wikitext"] == pytest.approx(0.407, abs=of_texts(along["wikitext"]))
    for group in ("wikitext", "bytes"):
        assert turned[group] - turned["tinystories"] > 1.2 * (raw[group] - raw["tinystories"])
