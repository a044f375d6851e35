"""The trained model that the tests read is the one of its recipe, and it predicts stories that it has not seen."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from probes.capture import encode, read_batch
from probes.vocabulary.sites import resolve_sites
from sparsity import parse_metrics
from tests.trained import HELD_OUT, MODEL, RECIPE
from tests.trained.__main__ import digest
from tests.trained.stories import stories as new_stories


@pytest.fixture(scope="module")
def recipe():
    return json.loads((MODEL / RECIPE).read_text(encoding="utf-8"))


def test_weights_and_text_are_those_of_the_recipe(recipe):
    assert digest((MODEL / "model.safetensors").read_bytes()) == recipe["sha256"]
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 1_000_000
    told = new_stories(recipe["recipe"]["n_stories"], seed=recipe["recipe"]["seed"])
    assert digest("\n".join(told).encode()) == recipe["text_sha256"]


def test_it_predicts_new_stories_far_better_than_the_frequencies_of_its_tokens(stories, recipe):
    told = new_stories(200, seed=recipe["recipe"]["seed"])
    counts = Counter(token for text in told for token in encode(stories, text, bos="none").ids)
    total = sum(counts.values()) + stories.vocabulary
    prompts = [encode(stories, text, max_tokens=96) for text in new_stories(16, seed=HELD_OUT)]
    sites = resolve_sites(stories, ["final_norm"])
    read = read_batch(
        stories, prompts, sites=sites, positions="last", metrics=parse_metrics(["gini"]), outcomes=["mean_nll"]
    )
    unigram = np.mean([-math.log((counts[one] + 1) / total) for own in prompts for one in own.ids[1:]])
    assert read.outcomes["mean_nll"].mean() < unigram / 4


def test_no_two_kinds_of_site_have_one_width(stories):
    kinds = ("resid_post.0", "attn_z.0", "mlp_post.0")
    widths = [stories.width(site) for site in resolve_sites(stories, list(kinds))]
    assert len(set(widths)) == len(kinds)
