"""A model that has read a world of graded categories shows them: clusters, typicality, and the part of frequency.

The command is that of the how-to. In the arm *decoupled* frequency says nothing of typicality, so what a model shows of
typicality there is no familiarity; in *coupled* both are one order.
"""

import pytest
from typer.testing import CliRunner

from analyses import analyse
from probes import open_run
from probes.cli import app

SEEDS = 5


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    out = tmp_path_factory.mktemp("arms") / "arms"
    done = CliRunner().invoke(app, ["lab", "arms", "--out", str(out), "--seeds", str(SEEDS)])
    assert done.exit_code == 0
    return out


@pytest.mark.long
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("arm", ["decoupled", "coupled"])
def test_planted_categories_and_typicality_are_recovered(arm, seed, arms):
    found = {own.scope.metric: own for own in analyse(open_run(arms / "sweeps" / f"{arm}-{seed}"), "concepts")}
    assert found["adjusted mutual information"].interval[0] > 0.2
    graded = found["cosine to the category"]
    assert graded.interval[0] > 0.2
    frequency = next(own for own in graded.controls if own.name == "word frequency")
    if arm == "decoupled":
        assert frequency.interval[0] > 0.2


@pytest.mark.long
def test_only_where_frequency_goes_with_typicality_does_adjusting_for_it_take_typicality_away(arms, proof):
    run = open_run(*sorted(arms.glob("sweeps/*")))
    told = {own.scope.suite: own for own in analyse(run, "concepts") if own.scope.metric == "by training step"}
    left = {arm: own.interval for arm, own in told.items()}
    assert left["decoupled"][0] > 0.5
    assert left["coupled"][1] < left["decoupled"][0]
    said = ", ".join(f"{arm} {own.estimate:.2f} {own.interval}" for arm, own in told.items())
    proof(f"Typicality with closeness to the category, adjusted for frequency, {SEEDS} trainings of each arm: {said}.")
