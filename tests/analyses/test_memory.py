"""Memory: bits saved where states are sparse are found; through surprisal alone they are not claimed beyond it."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from tests.analyses.sweeps import with_table
from tests.analyses.test_tokens import N_TOKENS, made
from tests.samples import of_correlation

ROUNDING = 1e-9


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def remembered(rng, sweep, *, direct=0.0, through=0.0, memories=("knn",), share=0.0):
    """A sweep with bits saved that follow sparsity, surprisal, or a share of the surprisal itself."""
    told = sweep.familiarity_tokens()
    sparsity = sweep.token_measurements()["hoyer"].to_numpy(np.float64)
    surprisal = told["value"].to_numpy(np.float64)
    parts = [told]
    for name in memories:
        saved = direct * sparsity + (through + share) * surprisal + (0 if share else rng.normal(size=len(told)))
        parts.append(told.assign(measure="bits_saved", corpus=name, value=saved))
    match = -surprisal + rng.normal(size=len(told))
    parts.append(told.assign(measure="longest_match", corpus="books", value=match))
    return with_table(sweep, familiarity_tokens=pd.concat(parts, ignore_index=True))


def by_group(sweep):
    return {finding.scope.group: finding for finding in analyse(sweep, "memory")}


def test_bits_saved_where_states_are_sparse_are_found(rng):
    found = by_group(remembered(rng, made(rng, text=2.0), direct=0.5))
    whole = found["knn"]
    assert whole.primary
    assert whole.verdict == "supported"
    assert whole.estimate == pytest.approx(0.5 / np.sqrt(1.25), abs=of_correlation(40 * N_TOKENS, 0.45))
    assert (whole.n, whole.n_clusters) == (40 * N_TOKENS, 40)
    assert "bits per token" in whole.text
    values = [mark.value for mark in whole.plot.marks]
    assert values[0] < values[-1]
    beyond = found["knn: surprisal and the corpus"]
    assert beyond.verdict == "significantly positive"
    assert found["knn: surprisal"].verdict == "not significant"
    assert found["knn: longest_match in books"].verdict == "not significant"


def test_what_goes_through_surprisal_is_not_claimed_beyond_it(rng):
    found = by_group(remembered(rng, made(rng, effect=0.6), through=0.8))
    assert found["knn"].verdict == "supported"
    assert found["knn: surprisal"].verdict == "significantly positive"
    assert found["knn: longest_match in books"].verdict == "significantly positive"
    assert found["knn: surprisal and the corpus"].verdict == "not significant"
    (mediator,) = [control for control in found["knn"].controls if control.role == "mediator"]
    assert abs(mediator.estimate) < of_correlation(40 * N_TOKENS)


def test_a_memory_that_knows_what_is_missing_weakens_the_tie_to_surprisal(rng):
    sweep = made(rng, effect=0.6)
    retest = by_group(remembered(rng, sweep, direct=0.5))["knn: surprisal with and without it"]
    assert retest.verdict == "significantly positive"
    alone, both = (effect.estimate for effect in retest.effects)
    assert retest.estimate == pytest.approx(alone - both, abs=ROUNDING)
    assert alone == pytest.approx(0.5, abs=of_correlation(40 * N_TOKENS, 0.5))
    assert "The states are the same" in retest.text
    same = by_group(remembered(rng, sweep, share=0.5))["knn: surprisal with and without it"]
    assert same.estimate == pytest.approx(0, abs=ROUNDING)  # half the surprisal has the same ranks
    assert same.verdict == "not significant"


def test_of_several_memories_the_first_is_pre_stated_and_without_any_there_is_nothing(rng):
    sweep = made(rng)
    found = analyse(remembered(rng, sweep, memories=("decoder", "knn")), "memory")
    assert [finding.scope.group for finding in found if finding.primary] == ["decoder"]
    assert {finding.scope.group.partition(":")[0] for finding in found} == {"decoder", "knn"}
    assert found[0].verdict == "undecided"
    assert analyse(sweep, "memory") == []
