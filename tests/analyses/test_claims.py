"""A pre-stated claim survives length and the number of suites; what else is reported changes no interval."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analyses import analyse
from analyses.findings.record import Control, Finding, LeftOut, Scope, Significance, p_of
from analyses.findings.registry import Findings
from analyses.findings.verdicts import graded, settle
from analyses.reporting.inventory import Inventory
from analyses.reporting.sections.caveats import caveats, caveats_of
from tests.analyses.sweeps import STEPS, make_sweep, merge, text_domains, with_table

LEVELS = [(str(step), float(step), "in") for step in range(1, 5)]
ONE_LAYER = {"n_layers": 1, "n_per_level": 25, "metrics": ("hoyer",)}
QUESTIONS = ("difficulty", "localization", "covariates")
ROUNDING = 1e-12  # of sums of a few thousand numbers in another order; a new draw moves an interval by .01
MOST_FALSE = 17  # of 200 at 5 %: with 18 or more the probability is .015


@pytest.fixture
def rng():
    return np.random.default_rng(14)


def primary_of(sweep, question="difficulty"):
    return next(f for f in analyse(sweep, question) if f.primary and f.answered)


@pytest.mark.parametrize("runs", [4, pytest.param(200, marks=pytest.mark.long)])
def test_of_200_runs_with_a_length_confound_at_most_17_say_supported(runs, proof):
    """Harder tasks are longer and longer texts are sparser; difficulty itself does nothing."""
    said = dict.fromkeys(QUESTIONS, 0)
    unadjusted = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        sweep = make_sweep(STEPS, LEVELS, effect=lambda *_: 0.0, rng=rng, length_effect=0.6, **ONE_LAYER)
        unadjusted += primary_of(sweep).interval[0] > 0
        for question in QUESTIONS:
            said[question] += any(f.primary and f.verdict == "supported" for f in analyse(sweep, question))
    assert unadjusted > 0.7 * runs
    assert max(said.values()) <= (MOST_FALSE if runs == 200 else 1)
    proof(
        f"Of {runs} sweeps with a length confound {unadjusted} had a trend and the pre-stated answer said "
        f"'supported' in {said}."
    )


def test_what_else_is_reported_changes_no_interval(rng):
    first = make_sweep(STEPS, LEVELS, effect=lambda *_: 0.3, rng=rng, length_effect=0.1, n_per_level=15, n_layers=2)
    other = make_sweep(STEPS, LEVELS, effect=lambda *_: 0.1, rng=rng, suite="other", n_per_level=15, n_layers=1)
    rows = first.measurements()
    gaps = rows["value"].where(~((rows["metric"] == "participation_ratio") & (np.arange(len(rows)) % 5 == 0)))
    kept = (rows["metric"] == "hoyer") & (rows["site"] == "final_norm")
    alone = with_table(first, measurements=rows[kept], outcomes=first.outcomes().iloc[:0])
    more = merge(other, with_table(first, measurements=rows.assign(value=gaps)))
    for question in ("difficulty", "covariates"):
        one = primary_of(alone, question)
        again = next(f for f in analyse(more, question) if f.primary and f.scope.suite == "planted" and f.answered)
        assert again.estimate == pytest.approx(one.estimate, abs=ROUNDING)
        assert again.interval == pytest.approx(one.interval, abs=ROUNDING)
        assert again.levels == one.levels
        assert again.length is not None
        assert again.length.interval == pytest.approx(one.length.interval, abs=ROUNDING)
    told = text_domains(rng, n_layers=1, n_per_level=15)
    examples = told.examples()
    fewer = with_table(
        told,
        measurements=told.measurements()[
            ~told.measurements()["example_id"].isin(examples.loc[examples["level_name"] == "wikitext", "example_id"])
        ],
    )
    by_group = [
        {(f.scope.group, f.scope.place, f.scope.metric): f.interval for f in analyse(sweep, "domains") if f.scope.group}
        for sweep in (told, fewer)
    ]
    assert by_group[1]
    assert all(by_group[0][key] == pytest.approx(interval, abs=ROUNDING) for key, interval in by_group[1].items())


def finding(estimate=0.3, interval=(0.1, 0.5), p=0.02, *, length=None, primary=True, suite="a", analysis="difficulty"):
    controls = () if length is None else (Control("n_tokens", "pre_treatment", *length, 0.5),)
    return Finding(
        analysis=analysis,
        question="?",
        scope=Scope(model="m", suite=suite, metric="hoyer", site="final_norm"),
        primary=primary,
        estimate=estimate,
        interval=interval,
        test=Significance("t", p, math.nan),
        controls=controls,
        text="",
    )


def test_a_claim_that_does_not_survive_length_is_undecided():
    survives = finding(length=(0.25, (0.1, 0.4)))
    gone = finding(length=(0.13, (-0.2, 0.41)))
    turned = finding(length=(-0.3, (-0.5, -0.1)))
    inseparable = finding(length=(math.nan, (math.nan, math.nan)))
    verdicts = [settle([one])[0].verdict for one in (finding(), survives, gone, turned, inseparable)]
    assert verdicts == ["supported", "supported", "undecided", "undecided", "undecided"]
    about_length = finding(length=(math.nan, (math.nan, math.nan)), analysis="length")
    assert settle([about_length])[0].verdict == "supported"


def test_claims_are_corrected_over_the_suites_asked():
    alone = settle([finding(p=0.02)])[0]
    three = settle([finding(p=0.02, suite=name) for name in "abc"])
    assert (alone.verdict, alone.test.p_adjusted, alone.test.correction) == ("supported", 0.02, "")
    assert {f.verdict for f in three} == {"undecided"}
    assert [f.test.p_adjusted for f in three] == pytest.approx([0.06] * 3)
    assert three[0].test.correction == "Holm over the 3 suites asked"
    small = settle([finding(p=0.001), finding(p=0.02, suite="b"), finding(p=0.4, suite="c")])
    assert [f.verdict for f in small] == ["supported", "supported", "undecided"]


def test_claims_without_a_test_of_their_own_are_corrected_over_the_suites_too():
    weak = [replace(finding(suite=name, interval=(0.03, 0.53)), test=None, verdict="supported") for name in "abc"]
    (alone,) = graded(weak[:1])
    assert (alone.verdict, alone.test) == ("supported", None)
    three = graded(weak)
    assert {f.verdict for f in three} == {"undecided"}
    assert three[0].test.p_adjusted == pytest.approx(3 * p_of(0.3, (0.03, 0.53)))
    assert three[0].text.startswith(" It is not significant after correction: p 0.0")
    assert three[0].text.endswith("(Holm over the 3 suites asked).")
    strong = graded([replace(one, interval=(0.2, 0.4)) for one in weak])
    assert {(f.verdict, f.text) for f in strong} == {("supported", "")}


def test_a_place_that_the_data_chose_is_not_said_to_be_stated_before_looking():
    stated = replace(finding(), analysis="difficulty")
    chosen = replace(finding(), analysis="localization", selected=True, scope=replace(stated.scope, site="mlp_out"))
    found = settle([stated, chosen, *[replace(stated, scope=replace(stated.scope, suite=name)) for name in "bc"]])
    said = caveats([*found, finding(primary=False)], Inventory([], [], [], [], {}, "", [], [], [], [], 0, 0))
    (first,) = [sentence for sentence in said if sentence.startswith("Stated before looking")]
    assert "hoyer at final_norm (difficulty)" in first
    assert "mlp_out" not in first
    assert (
        "Not stated before looking, because the data chose the site and layer: hoyer at mlp_out (localization)." in said
    )
    assert any(sentence.endswith("was asked about: difficulty over a, b and c.") for sentence in said)
    assert caveats_of(found, chosen)[0].startswith("The data chose mlp_out: that site and layer were not stated")
    assert not any("data chose" in sentence for sentence in caveats_of(found, stated))


def test_supported_is_said_of_pre_stated_findings_only(rng):
    findings = analyse(make_sweep(STEPS, LEVELS, effect=lambda *_: 0.5, rng=rng), "difficulty")
    words = {f.verdict for f in findings if not f.primary}
    assert "significantly positive" in words
    assert not words & {"supported", "contradicted", "undecided"}
    significant = next(f for f in findings if f.verdict == "significantly positive")
    assert "significant after correction" in significant.text
    assert "Benjamini-Hochberg over" in significant.test.correction


def test_items_without_a_level_are_counted(rng):
    sweep = make_sweep(STEPS, LEVELS, effect=lambda *_: 0.3, rng=rng, **ONE_LAYER)
    examples = sweep.examples()
    gaps = examples.assign(level=examples["level"].where(np.arange(len(examples)) >= 18))
    found = primary_of(with_table(sweep, examples=gaps))
    assert (found.n, found.left_out) == (82, (LeftOut("no level of steps is recorded", 18),))
    assert "18 of 100 items are left out: no level of steps is recorded." in found.text


def test_findings_are_a_frame_and_short_in_a_terminal():
    found = Findings([finding(length=(0.25, (0.1, 0.4))), finding(suite="b")])
    assert repr(found) == "<2 findings: 2 undecided>"
    frame = found.to_frame()
    assert frame.loc[0, "length_adjusted"] == 0.25
    assert math.isnan(frame.loc[1, "length_adjusted"])
    assert frame["suite"].tolist() == ["a", "b"]
    assert repr(Findings()) == "<no findings>"
    assert list(Findings().to_frame().columns) == list(frame.columns)
