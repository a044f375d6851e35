"""Several models in one sweep: checkpoints of a training, and different models on the same suites."""

import numpy as np
import pytest

from analyses import analyse
from analyses.data.panels import read_checkpoints, read_panels
from tests.analyses.sweeps import exposure, merge


@pytest.fixture
def rng():
    return np.random.default_rng(10)


def put_to(sweep, model, *, step=None, seed=None):
    """The same suite put to another model."""
    run_id = f"{sweep.tables['runs']['run_id'].iloc[0]}-{model}-{step}"
    for name, table in sweep.tables.items():
        if "run_id" in table:
            sweep.tables[name] = table.assign(run_id=run_id)
    sweep.tables["runs"] = sweep.tables["runs"].assign(model=model, step=step, model_seed=seed)
    return sweep


def training(rng, *, seeds=1, strength=(0.0, 0.05, 0.3), n=20):
    return merge(
        *(
            put_to(
                exposure(rng, effect=lambda *_, s=s: s, n_per_level=n, n_layers=1, metrics=("hoyer",)),
                f"/lab/seed-{seed}/checkpoints/step-{10**place:06d}",
                step=10**place,
                seed=seed,
            )
            for seed in range(seeds)
            for place, s in enumerate(strength)
        )
    )


def primary(findings):
    (found,) = [f for f in findings if f.primary]
    return found


def test_a_change_that_grows_in_training_is_described_with_few_seeds_and_claimed_with_many(rng):
    few = primary(analyse(training(rng, seeds=2), "dynamics"))
    assert (few.verdict, few.generalises_over, few.n_clusters) == ("described", "seeds", 2)
    assert few.estimate > 0.2
    many = primary(analyse(training(rng, seeds=6), "dynamics"))
    assert many.verdict == "supported"
    assert [m.x for m in many.plot.marks if m.series == "mean over seeds"] == [1.0, 10.0, 100.0]


def test_one_checkpoint_has_no_dynamics(rng):
    assert analyse(exposure(rng, n_layers=1), "dynamics") == []


def test_other_questions_are_asked_of_the_last_checkpoint_only(rng):
    sweep = training(rng)
    (panel,) = read_panels(sweep, ["familiarity"])
    assert panel.model.endswith("step-000100")
    assert len(read_checkpoints(sweep, ["familiarity"])) == 3
    assert primary(analyse(sweep, "familiarity")).verdict == "supported"
