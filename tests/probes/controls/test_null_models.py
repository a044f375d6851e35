"""Sets of vectors and the nulls of a sweep: against numpy on the same states, and what a null keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sparsity
from probes.capture import capture_states
from probes.controls.null_models import shuffled, untrained_twin
from probes.controls.stage import control
from probes.errors import InputError
from probes.models import load_model
from probes.sweep.spec import parse_spec
from probes.vocabulary import names
from sparsity.population import POPULATION
from tests.probes.conftest import tiny_llama
from tests.probes.controls.test_stage import N, ask
from tests.tolerances import LOGITS

ASKED = ("populations", *names.NULLS)


@pytest.fixture(scope="module")
def model():
    return load_model(tiny_llama(hidden_size=16, num_hidden_layers=2))


@pytest.fixture(scope="module")
def found(model):
    return control(model, replace(ask(model, positions=("last",)), controls=ASKED))


def states(model):
    ids = [list(prompt.ids[:8]) for prompt in ask(model).prompts]
    return np.stack(list(capture_states(model, ids, "final_norm", "last").vector)).astype(np.float64)


def values(found, metric, basis="raw"):
    rows = found.tables["populations"].to_pandas()
    rows = rows[(rows.metric == metric) & (rows.basis == basis) & (rows.site == "final_norm")]
    return rows.set_index("group")


def test_sets_are_what_numpy_says_of_the_same_states(model, found):
    x = states(model)[:N]
    variances = np.linalg.eigvalsh(np.cov(x.T))
    share = np.linalg.svd(x, compute_uv=False)
    magnitudes = np.abs(x)
    by_hand = {
        "covariance_participation_ratio": variances.sum() ** 2 / np.square(variances).sum(),
        "stable_rank": np.square(share).sum() / share[0] ** 2,
        "rankme": np.exp(-(share / share.sum() * np.log(share / share.sum())).sum()),
        "mean_lifetime_sparseness": (1 - magnitudes.mean(0) ** 2 / np.square(x).mean(0)).mean(),
        "mean_population_sparseness": (1 - magnitudes.mean(1) ** 2 / np.square(x).mean(1)).mean(),
        "dead_unit_share": (magnitudes <= 0.1 * np.median(magnitudes)).all(0).mean(),
        "always_on_unit_share": (magnitudes > 0.1 * np.median(magnitudes)).all(0).mean(),
        "repeated_share": 0.0,
    }
    for metric, value in by_hand.items():
        row = values(found, metric).loc["s/in/x"]
        assert row.value == pytest.approx(value, rel=10 * LOGITS), metric
        assert row.n_vectors == N
    assert set(found.tables["populations"].to_pandas().metric) >= set(POPULATION)
    assert found.skipped == {}


def test_shuffling_keeps_every_coordinate_and_takes_what_goes_together(found):
    x = np.outer(np.random.default_rng(0).standard_normal(200), np.ones(6))
    dealt = shuffled(x, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(dealt, axis=0), np.sort(x, axis=0))
    ratio = POPULATION["covariance_participation_ratio"].function
    assert ratio(x) == pytest.approx(1)
    assert ratio(dealt) > 5  # six independent coordinates
    lifetime = "mean_lifetime_sparseness"  # of single coordinates: dealing out changes nothing
    assert values(found, lifetime, names.SHUFFLED).value["s/in/x"] == pytest.approx(
        values(found, lifetime).value["s/in/x"]
    )


def test_rotations_put_the_change_where_it_was_measured(model, found):
    x = states(model)
    change = values(found, names.ROTATION_CHANGE).loc["s/shifted/x"]
    measured = np.asarray(sparsity.hoyer(x))
    assert change.value == pytest.approx(measured[N:].mean() - measured[:N].mean(), abs=LOGITS)
    assert change.ci_low < change.ci_high
    p = values(found, names.ROTATION_P).value["s/shifted/x"]
    assert 0.01 <= p <= 1
    assert round(100 * p) == pytest.approx(100 * p)  # a rank among 99 rotations and itself


def test_a_null_is_the_same_whichever_others_are_asked_for(model, found):
    alone = control(model, replace(ask(model, positions=("last",)), controls=("rotations",)))
    both, one = (values(some, names.ROTATION_CHANGE) for some in (found, alone))
    assert (both.ci_low.to_numpy() == one.ci_low.to_numpy()).all()
    assert (both.ci_high.to_numpy() == one.ci_high.to_numpy()).all()


def test_the_untrained_twin_is_the_same_network_with_other_weights(model, found):
    twin, again = untrained_twin(model, 0), untrained_twin(model, 0)
    own = dict(model.module.named_parameters())
    fresh = dict(twin.module.named_parameters())
    assert {name: tuple(p.shape) for name, p in own.items()} == {name: tuple(p.shape) for name, p in fresh.items()}
    matrix = next(name for name in own if name.endswith("down_proj.weight"))
    assert not own[matrix].equal(dict(untrained_twin(model, 1).module.named_parameters())[matrix])
    assert fresh[matrix].equal(dict(again.module.named_parameters())[matrix])
    rows = found.tables["measurements"].to_pandas()
    assert set(rows.basis) == {names.UNTRAINED}
    hoyer = rows[(rows.metric == "hoyer") & (rows.site == "final_norm")].set_index("example_id").value
    expected = dict(zip((f"s:{i}" for i in range(2 * N)), np.asarray(sparsity.hoyer(states(twin))), strict=True))
    assert dict(hoyer) == pytest.approx(expected, rel=10 * LOGITS)


def spec(**keys):
    return parse_spec({"models": ["lab-reference"], "suites": ["lab_exposure"], **keys}, folder=Path.cwd())


def test_a_spec_names_sets_and_nulls():
    asked = spec(controls="none", populations=["two_nn_dimension"], nulls=["shuffle"])
    assert asked.control_names() == ("populations", "shuffle")
    assert asked.population_names() == ("two_nn_dimension",)
    assert "populations" not in spec(populations="none").control_names()
    assert spec().control_names() == names.CONTROLS
    with pytest.raises(InputError, match=r"unknown population measure 'two_nn_dimensions'.*two_nn_dimension"):
        spec(populations=["two_nn_dimensions"])
    with pytest.raises(InputError, match="nulls are of positions last and mean"):
        spec(nulls=["untrained"], positions=["all"])
