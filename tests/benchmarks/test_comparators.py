"""The ways that the collector is compared with measure the same thing."""

import numpy as np

import sparsity
from probes.capture import read_batch
from probes.vocabulary.sites import resolve_sites
from tests.benchmarks.capture import random_prompts, tiny
from tests.benchmarks.comparators import comparators
from tests.tolerances import LOGITS

# Of 64 coordinates a twentieth is 3.2 and a tenth 6.4: the share of them that rounding down leaves out.
ROUNDED_DOWN = 0.2 / 3.2


def test_every_way_gives_the_same_numbers():
    model = tiny()
    prompts = random_prompts(model, 3, 7)
    sites = resolve_sites(model, ["resid_post.0", "final_norm"])
    ours = read_batch(model, prompts, sites=sites, positions="all", metrics=sparsity.DEFAULT_METRICS).readings
    expected = np.stack([reading.values for reading in ours])
    whole = [2, 3]  # top-k energies, whose k they round down
    for what, run in comparators(model, prompts).items():
        found = run()
        if isinstance(found[0], dict):
            values = np.stack([np.stack([np.asarray(v).ravel() for v in layer.values()], -1) for layer in found])
        elif isinstance(found[0], np.ndarray):
            values = np.stack([layer.T for layer in found])
        else:
            values = np.reshape(found, (3, 2, 7, -1)).transpose(1, 0, 2, 3).reshape(2, 21, -1)
        assert values.shape == expected.shape, what
        layers = [0] if "TransformerLens" in what else [0, 1]  # the cache holds the last block before its norm
        np.testing.assert_allclose(
            np.delete(values[layers], whole, -1), np.delete(expected[layers], whole, -1), rtol=LOGITS, err_msg=what
        )
        np.testing.assert_allclose(
            values[layers][..., whole], expected[layers][..., whole], rtol=ROUNDED_DOWN, err_msg=what
        )
