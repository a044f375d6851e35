"""One byte-level model of the laboratory with random weights, and a few texts."""

from dataclasses import replace

import pytest

from probes.lab.families import build_model
from probes.lab.recipe import Recipe
from probes.lab.text_training import build_text_tokenizer
from probes.models.loading import LoadedModel, load_model

MINIATURE = Recipe(d_model=24, n_layers=2, n_heads=2, d_mlp=32, context_length=48, initial_sd=0.3)
TEXTS = {
    "cat": "The cat sat on the mat. The cat ran off the mat, naïve as it was.",
    "dog": "A dog sat on a log; the dog ate the log and the cat.",
    "sums": "1 + 1 = 2, 2 + 2 = 4, 4 + 4 = 8, 8 + 8 = 16.",
}


def make_model(seed: int = 0, recipe: Recipe = MINIATURE) -> LoadedModel:
    tokenizer = build_text_tokenizer(list(TEXTS.values()), None)
    module = build_model(replace(recipe, seed=seed), vocabulary=len(tokenizer), seed=seed)
    return load_model(module, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    return make_model()
