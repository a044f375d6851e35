"""Curriculum: planted gains are found with their size, chance is not, and what was not asked is said."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.findings.record import Finding
from analyses.questions.compression_view.curriculum_answers import NONE, read_answers
from probes.vocabulary.axes import Axis
from tests.analyses.sweeps import Sweep, make_sweep, with_table
from tests.samples import of_mean, of_spread

ARMS = ("random", "similarity", "sparsity", "loss", "shuffled", "oracle", "gini at resid_post.1")
AXIS = Axis(name="curriculum", unit="", kind="nominal", harder=None)
HARDNESS = 0.3  # most that a question is answered right more or less often than others


def comparison(
    accuracy: Mapping[str, float],
    *,
    n: int = 150,
    pools: int = 2,
    ks: Sequence[int] = (2,),
    seed: int = 0,
    failing: Mapping[str, float] | None = None,
) -> Sweep:
    """Questions that are hard or easy whatever is shown, and answered right this often after each arm."""
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(-HARDNESS, HARDNESS, n)
    examples, outcomes, failures = [], [], []
    for arm, share in {NONE: 0.4, **accuracy}.items():
        for k in (0,) if arm == NONE else ks:
            for pool in (0,) if arm == NONE else range(pools):
                right = rng.uniform(size=n) < share + hardness
                for question in range(n):
                    name = f"c:{arm}/k{k}/s{pool}/{question}"
                    score = arm if arm in ("sparsity", "loss") or " at " in arm else ""
                    told = {"arm": arm, "k": f"{k}", "pool": f"{pool}", "question": f"q{question}", "score": score}
                    told |= {
                        "grade": "choice_correct",
                        "primary": f"{int(k in (0, ks[0]))}",
                        "shown": "[]",
                        "level": "-1",
                    }
                    examples.append((name, f"{arm} {k} {pool} {question}", f"q{question}", json.dumps(told), arm))
                    if rng.uniform() >= (failing or {}).get(arm, 0.0):
                        outcomes.append(("run-c", name, "choice_correct", float(right[question])))
                    else:
                        failures.append(("run-c", name, "encode", "too long"))
    base = make_sweep(AXIS, [("x", math.nan, "in")], effect=lambda *_: 0.0, rng=rng, n_per_level=1, suite="c")
    frame = pd.DataFrame(examples, columns=["example_id", "text", "cluster", "attrs", "level_name"])
    frame = frame.assign(suite="c", axis="curriculum", level=math.nan, split="in", target="x", n_bytes=1)
    told = pd.DataFrame(outcomes, columns=["run_id", "example_id", "name", "value"])
    lost = pd.DataFrame(failures, columns=["run_id", "example_id", "stage", "error"])
    return with_table(base, examples=frame, outcomes=told, failures=lost)


def by_group(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.scope.group: finding for finding in findings}


def test_a_gain_over_both_is_supported_with_its_size_and_power() -> None:
    flat = dict.fromkeys(ARMS, 0.4)
    findings = analyse(comparison(flat | {"sparsity": 0.65, "oracle": 0.65}, n=200), "curriculum")
    primary = findings[0]
    assert primary.primary
    assert primary.verdict == "supported"
    parts = {effect.of: effect.estimate for effect in primary.effects if effect.of}
    # hardness is the same for both arms, so that it leaves their difference; two pools halve what is left
    spread = math.sqrt((0.4 * 0.6 + 0.65 * 0.35 - 2 * HARDNESS**2 / 3) / 2)
    assert primary.estimate == min(parts.values()) == pytest.approx(0.25, abs=of_mean(spread, 200))
    assert primary.interval[0] > 0
    assert primary.detectable == pytest.approx(2.8 * spread / math.sqrt(200), rel=of_spread(200))
    assert primary.plot is not None
    gains = {mark.name: mark.value for mark in primary.plot.marks}
    found = by_group(findings)
    assert gains["oracle"] == found["oracle over random"].estimate
    assert found["oracle over random"].side == found["sparsity over shuffled"].side == 1
    assert found["loss over random"].side == 0
    test = found["oracle over random"].test
    assert test is not None
    assert test.p <= test.p_family == test.p_adjusted
    assert "max-T over" in test.correction
    accuracy = found["accuracy"]
    assert accuracy.verdict == "described"
    assert accuracy.plot is not None
    assert {mark.name for mark in accuracy.plot.marks} == {"no examples", *ARMS}
    (best,) = accuracy.effects
    assert best.estimate >= max(mark.value for mark in accuracy.plot.marks)


def test_better_than_one_of_two_is_not_better_than_both_and_worse_than_one_contradicts() -> None:
    flat = dict.fromkeys(ARMS, 0.4)
    one = analyse(comparison(flat | {"sparsity": 0.6, "loss": 0.6}, n=200), "curriculum")[0]
    assert one.verdict == "undecided"
    worse = analyse(comparison(flat | {"similarity": 0.65}, n=200), "curriculum")[0]
    assert worse.verdict == "contradicted"
    assert "fewer right answers" in worse.text
    assert worse.estimate < 0


def test_without_an_arm_that_the_question_needs_it_says_so_and_describes_the_rest() -> None:
    findings = analyse(comparison({"random": 0.4, "sparsity": 0.4}), "curriculum")
    assert findings[0].primary
    assert "it needs the arms random, sparsity, loss and similarity; loss lacks" in findings[0].text
    assert {"sparsity over random", "accuracy"} <= set(by_group(findings))
    assert analyse(make_sweep(AXIS, [("x", 0.0, "in")], effect=lambda *_: 0.0, rng=np.random.default_rng(0),
                              suite="d", n_per_level=3), "domains") is not None  # fmt: skip


def test_failures_leave_out_the_question_or_the_arm_and_are_counted() -> None:
    flat = dict.fromkeys(ARMS, 0.4)
    sweep = comparison(flat, n=100, pools=1, failing={"oracle": 0.5, "loss": 0.1})
    (answers,) = read_answers(sweep)
    assert "oracle" not in answers.arms
    assert "loss" in answers.arms
    told = {left.reason: left.n for left in answers.left_out}
    assert 30 < told["of arm oracle could not be asked"] < 70
    assert 100 - len(answers.asked.right) == told["were not answered after the examples of every arm"]
    assert 80 <= len(answers.asked.right) < 100
    few = analyse(comparison(flat, n=4), "curriculum")
    assert [finding.text for finding in few] == [
        "Not answered: fewer than 6 questions were answered after the examples of every arm."
    ]


def test_a_comparison_that_is_half_asked_is_answered_on_what_was_asked() -> None:
    sweep = comparison(dict.fromkeys(ARMS, 0.4), n=40, pools=1)
    told = sweep.tables["outcomes"]
    late = told["example_id"].str.rpartition("/")[2].astype(int) >= 15
    (answers,) = read_answers(with_table(sweep, outcomes=told[~late | told["example_id"].str.contains("/random/")]))
    assert len(answers.asked.right) == 15
    assert set(answers.arms) == {NONE, *ARMS}
    assert analyse(with_table(sweep, outcomes=told[:0]), "curriculum") == []


def test_a_prompt_that_was_asked_for_another_arm_counts_for_both() -> None:
    sweep = comparison({"random": 0.4, "similarity": 0.5, "sparsity": 0.5, "loss": 0.4}, n=40, pools=1)
    items, told = sweep.tables["examples"], sweep.tables["outcomes"]
    mine = items["example_id"].str.contains("c:sparsity/")
    items.loc[mine, "text"] = items.loc[items["example_id"].str.contains("c:similarity/"), "text"].to_numpy()
    sweep = with_table(sweep, examples=items, outcomes=told[~told["example_id"].str.contains("c:sparsity/")])
    (answers,) = read_answers(sweep)
    assert (answers.column("sparsity") == answers.column("similarity")).all()
    assert by_group(analyse(sweep, "curriculum"))["sparsity over similarity"].estimate == 0


def test_the_curve_over_examples_and_the_places_of_sparsity_are_drawn() -> None:
    found = by_group(analyse(comparison(dict.fromkeys(ARMS, 0.5), ks=(2, 1), n=40), "curriculum"))
    curve = found["number of examples"].plot
    assert curve is not None
    assert {mark.x for mark in curve.marks if mark.series == "sparsity"} == {0.0, 1.0, 2.0}
    places = found["measure and layer"].plot
    assert places is not None
    assert [mark.name for mark in places.marks] == ["sparsity (pre-stated)", "gini at resid_post.1"]
