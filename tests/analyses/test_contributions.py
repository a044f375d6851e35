"""Contributions: a policy that makes examples contribute more alike is found, one that does the opposite too."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.written_tables import beside
from analyses.findings.record import Finding
from analyses.questions.compression_view.contributions import BESIDE, EQUAL

SPREAD = 0.1  # of the planted logarithm over seeds
AGAIN = 0.5  # planted rise of the logarithm of exact SIM over the second half of the search
RANKS = (0.25, 0.5, 0.75)


def planted(effect: float, *, seeds: int = 5) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables in which the policy multiplies SIM by exp(effect), one seed more, another less."""
    shifts = np.linspace(-SPREAD, SPREAD, seeds)
    rows = [
        {"seed": seed, "arm": arm, "area": 0.3 - (0.01 + shift / 100) * number, "acceleration": 1.0 + number,
         "similarity": 0.2 * np.exp(effect + shift if arm == "policy" else 0.0), "exact_similarity": 0.4}
        for seed, shift in enumerate(shifts) for number, arm in enumerate((EQUAL, *BESIDE))
    ]  # fmt: skip
    course = [
        {"seed": seed, "epoch": epoch, "compression": 2 + epoch / 10 + shift, "similarity": 2 - shift * epoch,
         "exact_similarity": np.exp(AGAIN * (1 + shift) * epoch / 5)}
        for seed, shift in enumerate(shifts) for epoch in (0, 4, 5, 10)
    ]  # fmt: skip
    curves = [
        {"seed": seed, "arm": arm, "step": step, "held_out": 0.7 / (1 + step) + shift}
        for seed, shift in enumerate(shifts) for arm in (EQUAL, "equal weights, steps x 30") for step in (0, 1, 4)
    ]  # fmt: skip
    ranks = [
        {"seed": seed, "arm": arm, "step": step, "quantity": quantity, "rank": rank, "value": rank + 0.5 + shift}
        for seed, shift in enumerate(shifts) for arm in (EQUAL, "policy") for step in (0, 75)
        for quantity in ("exact", "paper") for rank in RANKS
    ]  # fmt: skip
    tables = {"seeds": rows, "course": course, "curves": curves, "contributions": ranks}
    return {name: {"toy": pd.DataFrame(own)} for name, own in tables.items()}


def answers(effect: float, *, seeds: int = 5) -> list[Finding]:
    """Answers to the table of seeds alone."""
    return analyse(beside(None, {"seeds": planted(effect, seeds=seeds)["seeds"]}), "contributions")


@pytest.mark.parametrize(("effect", "verdict"), [(2.0, "supported"), (-2.0, "contradicted"), (0.0, "undecided")])
def test_the_ratio_of_sim_decides(effect: float, verdict: str) -> None:
    (found,) = (finding for finding in answers(effect) if finding.primary)
    assert (found.verdict, found.n, found.generalises_over) == (verdict, 5, "seeds")
    assert found.estimate == pytest.approx(effect)
    exact, policy, *_ = found.effects
    assert (exact.estimate, policy.estimate) == (0.0, 2.0)
    assert "2 (policy)" in found.text


def test_two_seeds_are_described_and_other_tables_are_not_asked() -> None:
    (found,) = (finding for finding in answers(2.0, seeds=2) if finding.primary)
    assert (found.verdict, found.test) == ("described", None)
    assert analyse(beside(None, {"seeds": {"": pd.DataFrame({"seed": [0]})}}), "contributions") == []


def test_how_far_from_equal_is_said_by_both_quantities() -> None:
    (found,) = (finding for finding in answers(np.log(10)) if finding.primary)
    spread = np.exp(-np.linspace(-SPREAD, SPREAD, 5)).mean() / 2  # one over a SIM of 2
    assert found.text.startswith("Examples contribute more alike under the policy, but not equally")
    assert f"{100 * spread:.0f} % [" in found.text
    assert "(500 % under equal weights)" in found.text
    assert "250 % of their mean by the exact first-order quantity (250 % under equal weights)" in found.text


def test_the_second_half_of_the_search_tells_which_quantity_goes_on() -> None:
    found = {finding.scope.group: finding for finding in analyse(beside(None, planted(2.0)), "contributions")}
    exact = found["second half of the search, the exact first-order quantity"]
    assert exact.estimate == pytest.approx(AGAIN)
    assert exact.verdict == "significantly positive"
    assert found["second half of the search, the paper's contribution"].verdict == "not significant"
    saved = found["policy"]
    assert saved.estimate == pytest.approx(0.01)
    assert saved.verdict == "significantly positive"


def test_a_way_to_train_that_diverged_is_said_and_not_averaged() -> None:
    tables = planted(2.0)
    seeds = tables["seeds"]["toy"]
    lost = (seeds["arm"] == "equal weights, steps x 10") & (seeds["seed"] > 2)
    tables["seeds"]["toy"] = seeds.assign(diverged=np.where(lost, 4, -1), area=seeds["area"].mask(lost))
    said = [finding for finding in analyse(beside(None, tables), "contributions") if finding.scope.group]
    (found,) = (finding for finding in said if finding.scope.group == "equal weights, steps x 10")
    assert not found.answered
    assert found.text == "equal weights, steps x 10: training diverged in 2 of 5 seeds."


def test_figures_hold_curves_contributions_and_sim_against_compression() -> None:
    found = [finding.plot for finding in analyse(beside(None, planted(2.0)), "contributions") if finding.plot]
    losses, exact, paper, sim = found
    assert {mark.series for mark in losses.marks} == {"equal weights", "equal, steps x 30"}
    assert next(mark.value for mark in losses.marks if mark.x == 4) == pytest.approx(0.14)
    for plot in (exact, paper):
        assert {mark.series for mark in plot.marks} == {"before step 1", "before step 76"}
        assert [mark.value for mark in plot.marks[:3]] == pytest.approx([rank + 0.5 for rank in RANKS])
        assert plot.reference == 1.0
    assert [mark.x for mark in sim.marks if mark.series == "exact"] == pytest.approx([2, 2.4, 2.5, 3])
    assert all(mark.low < mark.value < mark.high for mark in losses.marks)
