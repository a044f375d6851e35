"""Contributions: a policy that makes examples contribute more alike is found, one that does the opposite too."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.written_tables import beside
from analyses.findings.record import Finding
from analyses.questions.compression_view.contributions import BESIDE, EQUAL

SPREAD = 0.1  # of the planted logarithm over seeds


def answers(effect: float, *, seeds: int = 5) -> list[Finding]:
    """Answers to a table in which the policy multiplies SIM by exp(effect), one seed more, another less."""
    shifts = np.linspace(-SPREAD, SPREAD, seeds)
    rows = [
        {"seed": seed, "arm": arm, "area": 0.3 - 0.01 * number, "acceleration": 1.0 + number,
         "similarity": 0.2 * np.exp(effect + shift if arm == "policy" else 0.0), "exact_similarity": 0.4}
        for seed, shift in enumerate(shifts) for number, arm in enumerate((EQUAL, *BESIDE))
    ]  # fmt: skip
    return analyse(beside(None, {"seeds": {"": pd.DataFrame(rows)}}), "contributions")


@pytest.mark.parametrize(("effect", "verdict"), [(2.0, "supported"), (-2.0, "contradicted"), (0.0, "undecided")])
def test_the_ratio_of_sim_decides(effect: float, verdict: str) -> None:
    (found,) = answers(effect)
    assert (found.verdict, found.n, found.generalises_over) == (verdict, 5, "seeds")
    assert found.estimate == pytest.approx(effect)
    exact, policy, *_ = found.effects
    assert (exact.estimate, policy.estimate) == (0.0, 2.0)
    assert "policy 2.000" in found.text


def test_two_seeds_are_described_and_other_tables_are_not_asked() -> None:
    (found,) = answers(2.0, seeds=2)
    assert (found.verdict, found.test) == ("described", None)
    assert analyse(beside(None, {"seeds": {"": pd.DataFrame({"seed": [0]})}}), "contributions") == []
