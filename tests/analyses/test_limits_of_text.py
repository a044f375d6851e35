"""Limits of text: a planted difference between two questions of a story is found, and chance is not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.questions.compression_view.limits import beyond
from analyses.reporting.sections.headline import leads, sentences
from probes.vocabulary.axes import AXES
from tests.analyses.sweeps import Sweep, make_sweep, merge, with_table
from tests.samples import of_mean
from tests.tolerances import FLOAT64_SOLVED

STORIES = 60
ERROR = of_mean(math.sqrt(0.9 * 0.1 + 0.4 * 0.6), STORIES)  # of the difference of accuracies .9 and .4
ASKED = [("words", math.nan, "in"), ("space", math.nan, "shifted")]


def sweep_of(*, right: tuple[float, float], bits: float, sparser: float, axis: str = "geometric") -> Sweep:
    """Stories whose two questions are answered right this often; the second costs more and is met with other states."""
    rng = np.random.default_rng(7)
    suite = f"of-{axis}"
    sweep = make_sweep(
        AXES[axis], ASKED, effect=lambda *_: sparser, rng=rng, n_per_level=STORIES, paired=True, suite=suite
    )
    items = sweep.tables["examples"]
    world = (items["split"] == "shifted").to_numpy()
    chance = np.tile(rng.uniform(size=STORIES), 2)  # a story that is hard is hard for both questions
    told = {
        "choice_correct": (chance < np.where(world, right[1], right[0])).astype(float),
        "mean_next_token_entropy": 2 + rng.normal(size=len(items)),
        "nll": (2 + np.tile(rng.normal(size=STORIES), 2) + bits * world) * math.log(2),
    }
    rows = [
        pd.DataFrame({"run_id": f"run-{suite}", "example_id": items["example_id"], "name": name, "value": values})
        for name, values in told.items()
    ]
    return with_table(sweep, outcomes=pd.concat(rows, ignore_index=True))


def test_a_planted_limit_is_said_with_its_size() -> None:
    accuracy, code, sparsity = analyse(sweep_of(right=(0.9, 0.4), bits=1.5, sparser=1.5), "limits")
    assert accuracy.primary
    assert accuracy.verdict == "supported"
    assert code.side == sparsity.side == 1
    assert accuracy.estimate == pytest.approx(0.5, abs=ERROR)
    assert code.estimate == pytest.approx(1.5, abs=FLOAT64_SOLVED)  # the same story's own bits cancel
    assert accuracy.n_clusters == STORIES
    assert sparsity.estimate > 0
    assert {control.name for control in sparsity.controls} >= {"n_tokens", "mean_next_token_entropy", "nll"}


def test_the_other_way_round_contradicts() -> None:
    accuracy, code, sparsity = analyse(sweep_of(right=(0.4, 0.9), bits=-1.0, sparser=-1.5), "limits")
    assert accuracy.verdict == "contradicted"
    assert code.side == sparsity.side == -1
    assert "answered better" in accuracy.text


def test_no_difference_is_no_claim() -> None:
    accuracy, _, sparsity = analyse(sweep_of(right=(0.5, 0.5), bits=0.0, sparser=0.0), "limits")
    assert accuracy.verdict == "undecided"
    assert sparsity.side == 0


def test_an_effect_that_a_covariate_takes_away_is_not_claimed() -> None:
    assert beyond((0.2, 0.6), [(0.1, 0.5), (-0.3, 0.2)]) == "undecided"


def test_a_sweep_without_answers_says_what_to_add() -> None:
    sweep = make_sweep(AXES["causal"], ASKED, effect=lambda *_: 0.0, rng=np.random.default_rng(0), paired=True)
    (finding,) = analyse(sweep, "limits")
    assert "add it to `outcomes`" in finding.text


def test_the_first_screen_says_what_this_question_says_and_nothing_about_shifted_texts() -> None:
    """States of the second question differ with its answer's cost: no shift, and nothing beyond the covariates."""
    sweep = sweep_of(right=(0.5, 0.5), bits=0.0, sparser=1.5)
    found = [*analyse(sweep, "domains"), *analyse(sweep, "limits")]
    assert any(finding.analysis == "domains" and finding.side == 1 for finding in found)
    (lead,) = leads(found)
    assert (lead.analysis, lead.verdict) == ("limits", "undecided")
    assert sentences(found)[0] == lead.text
    other = analyse(merge(sweep, sweep_of(right=(0.9, 0.4), bits=1.0, sparser=0.0, axis="physical")), "limits")
    assert "undecided in 1 of 2 suites (of-geometric)" in sentences(other)[0]
    assert "supported in 1 of 2 suites (of-physical)" in sentences(other)[0]
