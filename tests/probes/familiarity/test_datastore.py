"""Distances to known states: exact against brute force, a state never its own neighbour, clouds against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import InputError
from probes.familiarity.datastore import Datastore, Gaussian
from tests.tolerances import FLOAT64, FLOAT64_SOLVED, STORED

FLOAT32_KEYS = 1e-5  # keys are stored in float32, less their mean


def brute(states: np.ndarray, names: list[str], query: np.ndarray, k: int, without: str | None) -> list[float]:
    kept = [row for row, name in enumerate(names) if name != without]
    return sorted(float(np.sqrt(((states[row] - query) ** 2).sum())) for row in kept)[:k]


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_are_those_of_brute_force_without_their_own_document(seed):
    rng = np.random.default_rng(seed)
    # whole numbers: many ties and duplicate keys, over several documents, far from the origin
    states = (rng.integers(0, 3, (60, 4)) + 1000).astype(np.float32)
    names = [f"doc {n}" for n in rng.integers(0, 7, 60)]
    store = Datastore.build(states, names)
    k = int(rng.integers(1, 9))
    found = store.nearest(states, k, without=names)
    for row in range(60):
        expected = brute(states, names, states[row], k, names[row])
        np.testing.assert_allclose(found.distance[row], expected, atol=FLOAT32_KEYS)
        assert all(names[key] != names[row] for key in found.key[row])
        assert len(set(found.key[row])) == k
    whole = store.nearest(states, k)
    assert np.allclose(whole.distance[:, 0], 0, atol=FLOAT32_KEYS)


def test_self_is_left_out_by_id_even_where_duplicates_stand_first():
    states = np.zeros((5, 3), dtype=np.float32)
    store = Datastore.build(states, list("abcde"))
    for name in "abcde":
        found = store.nearest(states[:1], 4, without=[name])
        assert {"abcde"[key] for key in found.key[0]} == set("abcde") - {name}
        assert (found.distance == 0).all()


def test_fewer_keys_than_asked_for_are_infinitely_far():
    store = Datastore.build(np.eye(3, dtype=np.float32), ["a", "a", "b"])
    found = store.nearest(np.zeros((1, 3), dtype=np.float32), 4, without=["a"])
    assert found.distance[0].tolist() == [pytest.approx(1, abs=FLOAT32_KEYS), np.inf, np.inf, np.inf]
    assert found.key[0].tolist() == [2, -1, -1, -1]


def test_a_large_offset_common_to_all_costs_no_digits():
    rng = np.random.default_rng(0)
    states = rng.standard_normal((200, 8)).astype(np.float32)
    offset = np.zeros(8, dtype=np.float32)
    offset[3] = 4096  # a massive activation: its square swamps every distance in float32
    near = Datastore.build(states + offset, list(map(str, range(200)))).nearest(states[:20] + offset, 5)
    plain = Datastore.build(states, list(map(str, range(200)))).nearest(states[:20], 5)
    assert (near.key == plain.key).mean() > 0.95  # adding the offset rounds the states themselves


def test_many_keys_are_found_by_product_quantisation_and_ranked_exactly():
    faiss = pytest.importorskip("faiss", reason="needs the extra `familiarity`")
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 16)) * 4
    states = (centres[rng.integers(0, 40, 10_000)] + rng.standard_normal((10_000, 16))).astype(np.float32)
    names = list(map(str, range(10_000)))
    exact = Datastore.build(states, names).nearest(states[:100], 5, without=names[:100])
    quantised = Datastore.build(states, names, exact_below=5_000)
    assert not quantised.exact
    found = quantised.nearest(states[:100], 5, without=names[:100])
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.key, exact.key, strict=True)])
    assert recall > 0.8
    # the same share, of keys that are asked for themselves: duplicates and ties aside the same neighbours
    asked = np.linspace(0, 9_999, 100).astype(np.int64)
    true, near = (
        store.nearest(states[asked], 5, itself=asked).key for store in (Datastore.build(states, names), quantised)
    )
    hits = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(true, near, strict=True)])
    assert quantised.recall(5, queries=100) == pytest.approx(hits)
    assert Datastore.build(states[:9], names[:9]).recall(5) == 1
    same = found.key == exact.key
    np.testing.assert_allclose(found.distance[same], exact.distance[same], rtol=FLOAT64)


@pytest.mark.parametrize(
    ("states", "names", "message"),
    [
        (np.zeros((0, 2), dtype=np.float32), [], "one document per state"),
        (np.zeros((2, 2), dtype=np.float32), ["a"], "got 1 for 2"),
        (np.array([[np.nan, 0]], dtype=np.float32), ["a"], "finite"),
    ],
)
def test_unusable_states_are_one_line(states, names, message):
    with pytest.raises(InputError, match=message):
        Datastore.build(states, names)


def ledoit_wolf(states: np.ndarray) -> tuple[np.ndarray, float]:
    n, d = states.shape
    x = states - states.mean(axis=0)
    sample = sum(np.outer(row, row) for row in x) / n
    target = np.trace(sample) / d * np.eye(d)
    distance = ((sample - target) ** 2).sum()
    noise = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x) / n**2
    shrinkage = min(noise, distance) / distance
    return shrinkage * target + (1 - shrinkage) * sample, shrinkage


@given(st.integers(0, 1000), st.integers(3, 12), st.integers(2, 8))
def test_the_cloud_is_shrunk_as_ledoit_and_wolf_derive(seed, n, d):
    states = np.random.default_rng(seed).standard_normal((n, d)) @ np.diag(np.arange(1, d + 1))
    cloud = Gaussian.fit(states)
    covariance, shrinkage = ledoit_wolf(states)
    assert cloud.shrinkage == pytest.approx(shrinkage, abs=FLOAT64_SOLVED)
    np.testing.assert_allclose(cloud.root @ cloud.root.T, covariance, atol=FLOAT64_SOLVED)
    x = states[0] - states.mean(axis=0)
    assert cloud.distance(states[:1])[0] == pytest.approx(np.sqrt(x @ np.linalg.inv(covariance) @ x), rel=STORED)


def test_many_states_hardly_shrink_and_are_the_root_of_the_width_away():
    states = np.random.default_rng(0).standard_normal((20_000, 9)) * np.arange(1, 10)
    cloud = Gaussian.fit(states)
    assert cloud.shrinkage < 0.01
    assert np.sqrt((cloud.distance(states) ** 2).mean()) == pytest.approx(3, rel=cloud.shrinkage * 285 / 9)
    assert cloud.distance(cloud.mean[None])[0] == 0


@pytest.mark.parametrize("states", [np.zeros((1, 3)), np.zeros((4, 3)), np.full((4, 3), np.nan)])
def test_a_cloud_of_nothing_is_one_line(states):
    with pytest.raises(InputError, match="a Gaussian needs"):
        Gaussian.fit(states)


def test_two_states_span_no_cloud():
    with pytest.raises(InputError, match="2 states are too few for a Gaussian of width 3"):
        Gaussian.fit(np.eye(3)[:2])
