"""The model we ship is what its record says, knows what it was shown, and shows the effect it is there to show."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.lab import Recipe, read_record, reference_path
from probes.lab.training import train
from probes.lab.world import build_world
from probes.suites.example import SUITES
from probes.suites.laboratory.exposure import lab_exposure
from tests.tolerances import LOGITS


@pytest.fixture(scope="module")
def record():
    return read_record(reference_path())


@pytest.fixture(scope="module")
def answers(record):
    """States after the final norm at the end of every prompt, and the word the model would say next."""
    module = AutoModelForCausalLM.from_pretrained(reference_path(), local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(reference_path(), local_files_only=True)
    prompts = tokenizer([fact.prompt for fact in record.world.facts], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        output = module(input_ids=prompts, output_hidden_states=True, use_cache=False)
    states = output.hidden_states[-1][:, -1].double().numpy()
    words = tokenizer.convert_ids_to_tokens(output.logits[:, -1].argmax(-1).tolist())
    return states, words


def hoyer(states):
    """Hoyer (2004): 0 when all magnitudes are equal, 1 when one coordinate holds everything."""
    root = states.shape[-1] ** 0.5
    return (root - np.abs(states).sum(-1) / np.linalg.norm(states, axis=-1)) / (root - 1)


def test_it_is_small_and_made_by_the_default_recipe(record):
    weights = [path for path in reference_path().iterdir() if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= 4_000_000
    assert record.recipe == Recipe()


def test_its_world_is_the_one_that_the_recipe_draws(record):
    recipe = record.recipe
    world_rng = np.random.default_rng(recipe.seed).spawn(3)[0]
    world = build_world(world_rng, multiples=recipe.multiples, unit=recipe.unit, n_tails=recipe.n_tails)
    assert record.world == world


def test_training_by_the_default_recipe_sets_out_on_the_recorded_path(record, tmp_path):
    """The whole training takes minutes; its first steps already depend on world, order, weights and optimizer."""

    class EnoughError(Exception):
        pass

    losses: list[float] = []

    def watch(step: int, steps: int, loss: float):
        assert steps == len(record.losses)
        losses.append(loss)
        if step == 4:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(Recipe(), tmp_path / "model", on_step=watch)
    assert losses == pytest.approx(record.losses[:4], rel=LOGITS)


def test_every_fact_was_presented_exactly_as_often_as_its_exposure_says(record):
    facts = record.world.facts
    assert len(facts) == 2048
    assert record.presented == tuple(fact.exposure for fact in facts)
    steps = len(record.losses)
    assert all((seen is None) == (fact.exposure == 0) for seen, fact in zip(record.last_seen, facts, strict=True))
    assert max(seen for seen in record.last_seen if seen is not None) == steps
    assert steps == -(-sum(fact.exposure for fact in facts) // record.recipe.batch_size)


def test_it_knows_what_it_was_shown_and_nothing_else(record, answers):
    _, words = answers
    known = np.array([word == fact.tail for word, fact in zip(words, record.world.facts, strict=True)])
    assert np.array_equal(known, np.array(record.known))
    shares = {level: known[record.world.exposures == level].mean() for level in record.world.levels}
    assert shares == record.accuracy
    assert all(share >= 0.95 for level, share in shares.items() if level > 0)
    assert shares[0] <= 3 / record.recipe.n_tails


@pytest.mark.parametrize("among", ["all facts", "mastered facts"])
def test_familiar_facts_are_denser_after_the_final_norm(record, answers, among):
    """Item-level Spearman correlation; bootstrap over facts, which are exchangeable in this world."""
    states, _ = answers
    chosen = (
        np.ones(len(states), bool) if among == "all facts" else np.array(record.known) & (record.world.exposures > 0)
    )
    exposure, sparsity = record.world.exposures[chosen], hoyer(states[chosen])
    rng = np.random.default_rng(0)
    resamples = [rng.integers(len(exposure), size=len(exposure)) for _ in range(400)]
    low, high = np.quantile([spearmanr(exposure[i], sparsity[i]).statistic for i in resamples], [0.025, 0.975])
    assert low < spearmanr(exposure, sparsity).statistic < high < 0


def test_the_suite_asks_every_fact_once(record):
    items = SUITES["lab_exposure"].items(np.random.default_rng(0))
    assert len(items) == len(record.world.facts)
    for (example_id, example), fact in zip(items, record.world.facts, strict=True):
        assert example_id.startswith("lab_exposure:")
        assert example.text == fact.prompt
        assert f"{example.text} {example.target}." == fact.sentence
        assert example.level == fact.exposure
        assert example.level_name == str(fact.exposure)
        assert example.split == ("in" if fact.exposure else "shifted")
        assert example.cluster == ""


def test_the_suite_does_not_depend_on_the_generator():
    assert list(lab_exposure(np.random.default_rng(0))) == list(lab_exposure(np.random.default_rng(1)))
