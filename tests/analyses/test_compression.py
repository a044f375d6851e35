"""Compression: code length within kinds of data, over kinds, and along a chunk, each planted and each absent."""

import numpy as np
import pytest

from analyses import analyse
from probes.vocabulary.axes import AXES
from tests.analyses.sweeps import exposure, make_sweep
from tests.analyses.test_measured_familiarity import with_familiarity
from tests.analyses.test_tokens import N_TOKENS, with_tokens
from tests.samples import of_correlation

KINDS = ("text", "code", "image", "audio", "random")


@pytest.fixture
def rng():
    return np.random.default_rng(16)


def chunks(rng, *, within=0.0, over=1.0, n=30):
    """Five kinds of data, sparser by half a standard deviation each; bits follow the kind and, if asked, the chunk."""
    levels = [(kind, float("nan"), "in" if kind == "text" else "shifted") for kind in KINDS]
    sweep = make_sweep(
        AXES["modality"], levels, effect=lambda *_: 0.5, rng=rng, n_per_level=n, n_layers=1, suite="modality"
    )
    hoyer = sweep.measurements()
    own = hoyer[(hoyer["metric"] == "hoyer") & (hoyer["site"] == "final_norm")].set_index("example_id")["value"]
    score = own.reindex(sweep.examples()["example_id"]).to_numpy(np.float64)
    kind = np.repeat(np.arange(len(KINDS)), n)
    inside = score - np.array([score[kind == k].mean() for k in range(len(KINDS))])[kind]
    bits = 3 + over * kind + within * inside / inside.std() + rng.normal(size=len(kind))
    return with_familiarity(sweep, bits)


def answers(sweep):
    return {finding.scope.group: finding for finding in analyse(sweep, "compression")}


def test_what_goes_with_the_kind_alone_is_not_found_within_kinds(rng):
    found = answers(chunks(rng))
    within = found["within kinds of data"]
    assert within.primary
    assert within.verdict == "undecided"
    assert within.interval[0] < 0 < within.interval[1]
    over = found["over kinds of data"]
    assert (over.verdict, over.n) == ("described", 5)
    assert over.estimate == pytest.approx(1.0)
    assert [name in over.text for name in KINDS] == [True] * 5
    assert over.plot is not None
    for kind in KINDS:  # thirds of the chunks of a kind, from short to long code
        bits = [mark.x for mark in over.plot.marks if mark.series == kind]
        assert len(bits) == 3
        assert bits == sorted(bits)
    means = {kind: np.mean([mark.value for mark in over.plot.marks if mark.series == kind]) for kind in KINDS}
    assert sorted(means, key=lambda kind: means[kind]) == list(KINDS)  # as they were planted


@pytest.mark.parametrize(("sign", "verdict"), [(1.0, "supported"), (-1.0, "contradicted")])
def test_code_length_within_kinds_is_found_in_either_direction(rng, sign, verdict):
    within = answers(chunks(rng, within=sign))["within kinds of data"]
    assert within.verdict == verdict
    assert sign * within.estimate == pytest.approx(
        0.69, abs=of_correlation(within.n, 0.69)
    )  # 6/pi asin(r/2) of r = 1/sqrt(2)
    assert {effect.of for effect in within.effects} - {""} == set(KINDS)
    assert "Adjusting for the mean next-token entropy leaves" in within.text


@pytest.mark.parametrize("slope", [0.4, 0.0])
def test_density_that_grows_along_the_chunk_is_found(rng, slope):
    sweep = chunks(rng, n=10)
    shape = (len(sweep.examples()), N_TOKENS)
    falls = -slope * np.linspace(-2, 2, N_TOKENS)
    sparsity, surprisal = (falls + rng.normal(size=shape) for _ in range(2))
    told = with_tokens(sweep, sparsity, surprisal, rng.integers(0, 12, shape))
    along = answers(told)["along the chunk"]
    (code,) = along.effects_by("surprisal")
    if slope:
        assert along.verdict == "significantly positive"
        assert along.interval[0] > 0 < code.interval[0]
    else:
        assert along.verdict == "not significant"


def test_other_suites_are_not_asked(rng):
    sweep = exposure(rng, n_layers=1)
    assert analyse(with_familiarity(sweep, rng.normal(size=480)), "compression") == []
