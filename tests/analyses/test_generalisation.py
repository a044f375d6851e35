"""Generalisation: models whose code is shorter on one half of the items answer more of the other half, planted."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.questions.compression_view.generalisation import points
from probes.vocabulary.axes import AXES
from tests.analyses.sweeps import STEPS, Sweep, make_sweep, merge, with_table

LEVELS = [("1", 1.0, "in"), ("2", 2.0, "shifted")]
ITEMS = 60


def models(slope: float, *, n: int = 10, trainings: int = 0, axis=STEPS) -> Sweep:
    """Models of growing skill: code gets shorter with it, and accuracy follows by `slope`."""
    rng = np.random.default_rng(11)
    sweeps = []
    for number in range(n):
        seed, step = (number % trainings, number // trainings) if trainings else (0, number)
        skill = step * max(trainings, 1)
        levels = LEVELS if axis is STEPS else [(name, float("nan"), split) for name, _, split in LEVELS]
        sweep = make_sweep(
            axis, levels, effect=lambda *_: 0.0, rng=rng, n_per_level=ITEMS // 2, n_layers=1, metrics=("hoyer",),
            model=f"/models/m{number}", suite=f"facts-{seed}", paired=axis is not STEPS,
        )  # fmt: skip
        runs = sweep.runs()
        if trainings:
            runs = runs.assign(step=pd.array([step], dtype="Int64"))
        ids = sweep.examples()["example_id"]
        right = rng.uniform(size=len(ids)) < 0.5 + slope * (skill / n - 0.5)
        values = {"nll": 4 - 3 * skill / n + rng.normal(size=len(ids)) * 0.2, "correct": right.astype(float)}
        rows = [
            pd.DataFrame({"run_id": runs["run_id"].iloc[0], "example_id": ids, "name": name, "value": own})
            for name, own in values.items()
        ]
        sweeps.append(with_table(sweep, runs=runs, outcomes=pd.concat(rows, ignore_index=True)))
    return merge(*sweeps)


@pytest.mark.parametrize(("slope", "verdict"), [(0.9, "supported"), (-0.9, "contradicted")])
def test_over_models_it_is_found_either_way(slope: float, verdict: str) -> None:
    (found,) = analyse(models(slope), "generalisation")
    assert (found.primary, found.verdict, found.n) == (True, verdict, 10)
    assert abs(found.estimate) > 0.8


def test_few_models_say_nothing_and_two_trainings_are_described() -> None:
    assert analyse(models(0.9, n=5), "generalisation") == []
    (found,) = analyse(models(0.9, n=12, trainings=2), "generalisation")
    assert (found.verdict, found.n_clusters, found.generalises_over) == ("described", 2, "seeds")


def test_six_trainings_decide() -> None:
    (found,) = analyse(models(0.9, n=24, trainings=6), "generalisation")
    assert (found.verdict, found.n_clusters) == ("supported", 6)


def test_a_sweep_with_choices_beside_it_changes_nothing() -> None:
    """Accuracy is what each run recorded: choices of one sweep are not asked of the others."""
    sweep, other = models(0.9), models(0.9, n=1)
    chosen = other.outcomes().replace({"name": {"correct": "choice_correct"}})
    runs = other.runs().assign(run_id="other", suite="stories")
    beside = with_table(other, runs=runs, outcomes=chosen.assign(run_id="other"))
    (alone,) = analyse(sweep, "generalisation")
    (found,) = analyse(merge(sweep, beside), "generalisation")
    assert (found.estimate, found.n, found.verdict) == (alone.estimate, alone.n, alone.verdict)
    assert [point.training for point in points(beside)] == ["stories"]


def test_code_and_answers_are_of_different_sources() -> None:
    """Items of one half are made easy to answer: the code, which is of the other half, does not move."""
    sweep = models(0.0, n=1)
    (before,) = points(sweep)
    outcomes = sweep.outcomes()
    answered = outcomes["name"] == "correct"
    changed = outcomes.assign(value=outcomes["value"].where(~answered, 1.0))
    (after,) = points(with_table(sweep, outcomes=changed))
    assert (after.shortness, after.accuracy) == (before.shortness, 1.0)
    items = sweep.examples()["example_id"].astype(str)
    halves = [{*items[::2]}, {*items[1::2]}]
    for half in halves:
        cost = (outcomes["name"] == "nll") & outcomes["example_id"].isin(half)
        (moved,) = points(with_table(sweep, outcomes=outcomes.assign(value=outcomes["value"].where(~cost, 99.0))))
        assert moved.accuracy == before.accuracy
    assert points(models(0.0, n=1, axis=AXES["causal"])) == []
