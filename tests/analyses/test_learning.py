"""Learning: sparsity that follows the weight of a policy is found, and nothing is found where nothing was planted."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from probes.vocabulary.axes import AXES
from tests.analyses.sweeps import make_sweep, merge, with_table

LEVELS = [(f"{weight:g}", weight, "in") for weight in (0.0, 0.5, 1.0, 2.0, 4.0)]


@pytest.fixture
def rng():
    return np.random.default_rng(23)


def swept(rng, size: float):
    return make_sweep(AXES["policy_weight"], LEVELS, effect=lambda *_: size, rng=rng, n_per_level=30, n_layers=1)


def test_favoured_examples_that_are_sparser_are_found(rng):
    (found,) = analyse(swept(rng, 0.8), "learning")
    assert found.primary
    assert found.verdict == "supported"
    assert 0.4 < found.interval[0] < found.estimate < 1
    assert (found.n, found.scope.site) == (150, "final_norm")
    assert found.text.startswith("Examples that the policy favours have sparser states: hoyer at final_norm, Spearman")
    (found,) = analyse(swept(rng, -0.8), "learning")
    assert found.verdict == "contradicted"
    assert "denser" in found.text


def test_learners_on_sentences_of_their_own_are_averaged_over_seeds(rng):
    sizes = (0.5, 0.8, 0.6, 0.7)
    own = [
        make_sweep(AXES["policy_weight"], LEVELS, effect=lambda *_, size=size: size, rng=rng, n_per_level=30,
                   n_layers=1, suite=f"weights_{seed}", model=f"/lm/seed-{seed}")
        for seed, size in enumerate(sizes)
    ]  # fmt: skip
    whole, *single = analyse(merge(*own), "learning")
    assert (len(single), whole.n, whole.generalises_over) == (4, 4, "seeds")
    assert whole.estimate == pytest.approx(np.mean([one.estimate for one in single]))
    assert whole.primary
    assert whole.verdict == "supported"
    assert "over 4 seeds of the learner" in whole.text
    assert [mark.value for mark in whole.plot.marks] == [one.estimate for one in single]
    assert len(analyse(merge(*own[:2]), "learning")) == 2  # too few to average


def test_nothing_is_claimed_where_nothing_is(rng):
    (found,) = analyse(swept(rng, 0.0), "learning")
    assert found.verdict == "undecided"
    assert found.interval[0] < 0 < found.interval[1]


def test_measured_familiarity_stands_beside_it(rng):
    sweep = swept(rng, 0.0)
    examples = sweep.examples()
    bits = 3.0 - 0.5 * examples["level"].to_numpy(np.float64) + rng.normal(size=len(examples))
    run_id = sweep.runs()["run_id"].iloc[0]
    told = pd.DataFrame(
        {
            "run_id": run_id,
            "example_id": examples["example_id"],
            "measure": "bits_per_byte",
            "corpus": "",
            "value": bits,
        }
    )
    found = {one.scope.group: one for one in analyse(with_table(sweep, familiarity=told), "learning")}
    assert len(found) == 2
    (of,) = (name for name in found if name)
    assert found[of].verdict == "significantly negative"
    assert "are more familiar by" in found[of].text


def test_other_axes_are_not_asked(rng):
    assert analyse(make_sweep(AXES["exposure"], LEVELS, effect=lambda *_: 1.0, rng=rng, n_layers=1), "learning") == []
