"""A model that has read a world of graded categories shows them: clusters, typicality, and the part of frequency.

The recipe is that of the how-to: half a thousand steps on 30,000 sentences. In the arm *decoupled* frequency says
nothing of typicality, so what a model shows of typicality there is no familiarity; in *coupled* both are one order.
"""

import pytest

from analyses import analyse
from probes import open_run, run_sweep
from probes.lab import Recipe
from probes.lab.concept_world import build_concepts, write_concepts
from probes.lab.recipe import changed
from probes.lab.text_training import train_on_text

SEEDS = range(5)
SENTENCES, STEPS, VOCABULARY = 30_000, 500, 1200


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coupled", [False, True], ids=["decoupled", "coupled"])
def test_planted_categories_and_typicality_are_recovered(coupled, seed, tmp_path):
    write_concepts(build_concepts(coupled=coupled, seed=seed), tmp_path / "w", n_sentences=SENTENCES, seed=seed)
    plain = Recipe(seed=seed, batch_size=16, context_length=64, learning_rate=1e-3)
    model = tmp_path / "model"
    train_on_text([tmp_path / "w/corpus.txt"], model, changed(plain, size="0.3M"), n_steps=STEPS, vocabulary=VOCABULARY)
    suite = {"name": "concepts", "norms": str(tmp_path / "w/norms.csv"), "polarity": "higher"}
    suite |= {"frequency": str(tmp_path / "w/counts.csv"), "templates": ["a {item}", "look how a {item}"]}
    spec = {"models": [str(model)], "suites": [suite], "sites": ["final_norm"], "positions": ["answer"]}
    run_sweep(spec | {"states": ["final_norm"], "controls": "none", "metrics": ["hoyer"]}, tmp_path / "sweep")
    found = {own.scope.metric: own for own in analyse(open_run(tmp_path / "sweep"), "concepts")}
    assert found["adjusted mutual information"].interval[0] > 0.2
    graded = found["cosine to the category"]
    assert graded.interval[0] > 0.2
    frequency = next(own for own in graded.controls if own.name == "word frequency")
    if not coupled:
        assert frequency.interval[0] > 0.2
