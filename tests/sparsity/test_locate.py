"""Localisation finds what was planted, and outlier removal refuses where there is no outlier."""

import numpy as np
import pytest
import torch

import sparsity
from sparsity.locate import outlier_dimensions, substitution_shares, without

QUOTED = 0.005  # half of the last digit of the shortest number, .84


def test_a_planted_dimension_carries_the_change_although_another_holds_the_energy():
    rng = np.random.default_rng(0)
    reference, shifted = rng.standard_normal((2, 150, 16))
    reference[:, 3], shifted[:, 3] = 9.0, 9.0  # large in both groups: energy, but no change
    shifted[:, 11] *= 8
    found = substitution_shares(reference, shifted, "gini", permutations=19, rng=rng)
    assert found.order[0] == 11
    assert found.shares[11] > 0.8
    assert found.k50 == 1
    assert found.p_values[11] == 0.05
    assert found.shares[3] == 0
    assert outlier_dimensions(shifted, m=1).dimensions == (11,) or outlier_dimensions(reference, m=1).dimensions == (3,)


def test_parts_are_substituted_together_and_k50_counts_them():
    rng = np.random.default_rng(0)
    reference, shifted = rng.standard_normal((200, 24)), rng.standard_normal((120, 24))
    shifted[:, :12] *= rng.random((120, 12)) < 0.25
    blocks = [range(start, start + 3) for start in range(0, 24, 3)]
    found = substitution_shares(reference, shifted, "gini", permutations=0, rng=rng, parts=blocks)
    assert set(found.order[:4].tolist()) == {0, 1, 2, 3}
    assert 2 <= found.k50 <= 4
    assert np.isnan(found.p_values).all()
    whole = substitution_shares(reference, shifted, "gini", permutations=0, rng=rng, parts=[range(24)])
    np.testing.assert_allclose([whole.shares[0], whole.forward[0], whole.backward[0]], 1)


def test_groups_must_share_a_width():
    with pytest.raises(ValueError, match="got d = 3 and d = 4"):
        substitution_shares(np.ones((2, 3)), np.ones((2, 4)), "gini", permutations=0, rng=np.random.default_rng(0))


def test_one_massive_coordinate_moves_energies_and_hardly_gini():
    """The numbers the project quotes for one 100-sigma coordinate among 4096."""
    x = np.random.default_rng(0).standard_normal((200, 4096))
    names = ["gini", "hoyer", "top_k_energy(0.1)", "effective_dimension_l2"]
    before = [values.mean() for values in sparsity.profile(x, names).values()]
    x[:, 77] = 100.0
    after = [values.mean() for values in sparsity.profile(x, names).values()]
    np.testing.assert_allclose(before, [0.414, 0.205, 0.44, 0.482], atol=QUOTED)
    np.testing.assert_allclose(after, [0.431, 0.566, 0.84, 0.004], atol=QUOTED)
    outliers = outlier_dimensions(x, m=1)
    assert outliers.dimensions == (77,)
    assert outliers.applicable
    back = [values.mean() for values in sparsity.profile(without(x, outliers.dimensions), names).values()]
    np.testing.assert_allclose(back, before, atol=QUOTED)


def test_removal_does_not_apply_where_nothing_stands_out():
    assert not outlier_dimensions(np.random.default_rng(0).standard_normal((500, 64)), m=2).applicable
    with pytest.raises(ValueError, match="0 < m < 8, got m = 8"):
        outlier_dimensions(np.ones((2, 8)), m=8)


def test_two_dimensions_are_outliers_above_five_times_the_share_of_two():
    x = np.ones((3, 100))
    x[:, :2] = 2.0  # 8 of 106 parts of the energy, where 10 % are asked for
    assert not outlier_dimensions(x, m=2).applicable
    x[:, :2] = 2.5  # 12.5 of 110.5
    assert outlier_dimensions(x, m=2).applicable


def test_without_keeps_the_back_end():
    x = torch.arange(6.0).reshape(2, 3)
    assert without(x, [0]).tolist() == [[1.0, 2.0], [4.0, 5.0]]
