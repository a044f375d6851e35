"""Generation: a planted drift and a planted difference before errors are found, and length alone makes neither."""

import math

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.questions.generation import matched_difference, slopes
from probes.vocabulary import names
from tests.analyses.sweeps import STEPS, make_sweep, with_table
from tests.samples import of_mean

N, STEPS_WRITTEN = 24, 12

NOISE = 0.01  # of one token
OF_GAP = of_mean(NOISE * math.sqrt(2), N / 2)  # of two halves of the items, if one token of each counted


def planted(*, drift: float, gap: float, short: bool = False):
    rng = np.random.default_rng(0)
    levels = [("1", 1.0, "in"), ("2", 2.0, "in")]
    made = make_sweep(STEPS, levels, effect=lambda *_: 0.0, rng=rng, n_per_level=N // 2)
    run_id = made.runs()["run_id"].iloc[0]
    items = made.examples()["example_id"].astype(str).tolist()
    wrong = np.arange(N) % 2 == 0
    rows, told, outcomes = [], [], []
    for item, is_wrong in zip(items, wrong, strict=True):
        outcomes.append({"run_id": run_id, "example_id": item, "name": names.WRITTEN_CORRECT, "value": 1.0 - is_wrong})
        for step in range(STEPS_WRITTEN // 2 if short and not is_wrong else STEPS_WRITTEN):
            where = {"run_id": run_id, "example_id": item, "token": 9 + step}
            value = 0.3 + drift * step + gap * is_wrong + rng.normal(0, NOISE)
            rows.append({**where, "site": "final_norm", "layer": 4, "unit": -1, "basis": "generated", "hoyer": value})
            told.append({**where, "measure": names.SURPRISAL_WRITTEN, "corpus": "", "value": rng.exponential()})
    return with_table(
        made,
        token_measurements=pd.DataFrame(rows),
        familiarity_tokens=pd.DataFrame(told),
        outcomes=pd.DataFrame(outcomes),
    )


def test_a_drift_and_a_gap_are_found() -> None:
    along, errors = analyse(planted(drift=0.01, gap=0.05), "generation")
    assert along.primary
    assert along.estimate > 0.9
    assert "rises along what the model writes" in along.text
    assert errors.estimate == pytest.approx(0.05, abs=OF_GAP)
    assert "sparser where the answer will be wrong" in errors.text
    assert {mark.series for mark in errors.plot.marks} == {"wrong", "right"}


def test_longer_wrong_answers_alone_make_no_difference() -> None:
    _, errors = analyse(planted(drift=0.03, gap=0.0, short=True), "generation")  # unmatched: wrong ones look sparser
    assert errors.side == 0
    assert errors.estimate == pytest.approx(0.0, abs=OF_GAP)


def test_the_parts_by_hand() -> None:
    table = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1], [1, 2, np.nan, np.nan]])
    np.testing.assert_allclose(slopes(table), [1, -1, np.nan])
    wrong = np.array([True, False, False])
    # step 0: 1 - mean(4, 1); step 1: 2 - mean(3, 2); steps 2 and 3: 3 - 2, 4 - 1; each weighs as one wrong item
    assert matched_difference(table, wrong, np.ones(3)) == pytest.approx(np.mean([-1.5, -0.5, 1, 3]))
