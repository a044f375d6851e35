"""Planted effects are found where they were planted, with their sign; nothing where nothing was planted."""

import math

import numpy as np
import pytest

from analyses import ANALYSES, analyse
from analyses.findings.record import FEWEST_TO_GENERALISE
from probes.vocabulary.axes import Axis
from sparsity.nulls import gaussian
from sparsity.registry import UnknownNameError
from tests.analyses.sweeps import (
    DOMAIN,
    EXPOSURE,
    STEPS,
    WIDTH,
    Sweep,
    exposure,
    make_sweep,
    merge,
    text_domains,
    with_table,
)
from tests.samples import of_correlation, of_spread
from tests.tolerances import STORED

WORDS = Axis(name="words", unit="words", kind="length", harder="higher")
STEP_LEVELS = [(str(step), float(step), "in") for step in range(1, 6)]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def at(findings, place, metric="hoyer", group=""):
    (found,) = [
        f for f in findings if (f.scope.place, f.scope.metric, f.scope.group) == (place, metric, group) and f.answered
    ]
    return found


def test_unfamiliar_is_sparser_whichever_way_the_ruler_and_the_measure_run(rng):
    findings = analyse(exposure(rng), "familiarity")
    for metric in ("hoyer", "participation_ratio"):
        found = at(findings, "final_norm", metric)
        assert found.estimate > 0.5
        assert found.interval[0] > 0
        assert found.verdict == ("supported" if found.primary else "significantly positive")
    reversed_ruler = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: -0.4, rng=rng)
    assert at(analyse(reversed_ruler, "difficulty"), "final_norm").verdict == "contradicted"


def test_levels_run_from_near_to_far_whichever_way_the_ruler_runs(rng):
    found = at(analyse(exposure(rng), "familiarity"), "final_norm")
    assert [level.name for level in found.levels][:: len(found.levels) - 1] == ["1792", "0"]
    harder = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng)
    assert [level.name for level in at(analyse(harder, "difficulty"), "final_norm").levels] == list("12345")


def test_an_effect_at_one_layer_is_found_at_that_layer(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda _, layer: 0.5 if layer == 2 else 0.0, rng=rng)
    findings = analyse(sweep, "difficulty")
    significant = {f.scope.place for f in findings if f.verdict == "significantly positive"}
    assert "resid_post.2" in significant
    assert at(findings, "resid_post.2").estimate > 3 * max(
        abs(at(findings, place).estimate) for place in ("resid_post.0", "resid_post.1", "final_norm")
    )


def test_the_gaussian_null_of_a_site_is_that_of_its_own_width(rng):
    widths = {"final_norm": 4 * WIDTH}
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng)
    findings = analyse(Sweep(sweep.tables, widths), "difficulty")
    for place, width in (("resid_post.0", WIDTH), ("final_norm", 4 * WIDTH)):
        null = at(findings, place).null
        assert null.value == gaussian("hoyer", width).mean
        assert null.sd == gaussian("hoyer", width).sd


def test_the_primary_answer_is_stated_in_advance_and_alone(rng):
    findings = analyse(exposure(rng), "familiarity")
    (primary,) = [f for f in findings if f.primary]
    assert (primary.scope.metric, primary.scope.place) == ("hoyer", "final_norm")
    assert primary.test is not None
    assert primary.test.p_adjusted == primary.test.p
    secondary = [f for f in findings if not f.primary and f.test is not None]
    assert all(f.test.p_adjusted >= f.test.p for f in secondary)


def test_without_an_effect_few_runs_say_anything():
    said = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sweep = make_sweep(
            STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng, n_per_level=20, metrics=("hoyer",), n_layers=1
        )
        (primary,) = [f for f in analyse(sweep, "difficulty") if f.primary]
        said += primary.verdict != "undecided"
    assert said <= 4  # of 20 at .05; more than 4 has probability .003


def test_what_could_have_been_found_shrinks_with_the_items():
    effects = []
    for n in (20, 180):
        sweep = make_sweep(
            STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=np.random.default_rng(5), n_per_level=n, metrics=("hoyer",)
        )
        found = at(analyse(sweep, "difficulty"), "final_norm")
        effects.append(next(e.estimate for e in found.effects if "detectable" in e.name))
    # 2.8 standard errors of a rank correlation of 100 and of 900 items
    assert effects[0] == pytest.approx(0.28, rel=of_spread(100))
    assert effects[1] == pytest.approx(0.093, rel=of_spread(100))


def test_shifts_made_from_the_same_texts_are_paired_and_count_as_one_domain_beside_others(rng):
    names = [f"shift_{number}" for number in range(FEWEST_TO_GENERALISE)]
    found = at(analyse(text_domains(rng, names=names, paired=True), "domains"), "final_norm")
    assert (found.n_clusters, found.generalises_over) == (60, "items")
    assert "60 sources, each in several domains (paired)" in found.text
    mixed = merge(
        text_domains(rng, names=names[:2], paired=True),
        make_sweep(DOMAIN, [("code", float("nan"), "shifted")], effect=lambda *_: 0.0, rng=rng, suite="other"),
    )
    together = at(analyse(mixed, "domains"), "final_norm")
    assert (together.n_clusters, together.verdict) == (2, "described")


def test_size_is_never_called_sparsity(rng):
    findings = analyse(exposure(rng), "familiarity")
    for place in ("resid_post.3", "final_norm"):
        found = at(findings, place, "l2_norm")
        assert found.verdict == "described"
        assert found.null is None
        assert "sparser" not in found.unit
        assert not found.primary


def test_the_null_is_drawn_with_the_sign_of_the_excess(rng):
    findings = analyse(exposure(rng), "familiarity")
    for metric in ("hoyer", "participation_ratio"):
        found = at(findings, "resid_post.0", metric)
        assert found.null.value == pytest.approx(gaussian(metric, WIDTH).mean)
        assert found.null.sign == "denser than Gaussian"
    assert at(findings, "resid_post.0", "hoyer").null.excess < 0
    assert at(findings, "resid_post.0", "participation_ratio").null.excess > 0


def test_a_trend_that_is_only_length_vanishes_with_length_held_fixed(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng, length_effect=1.0)
    found = at(analyse(sweep, "difficulty"), "final_norm")
    twin = next(control for control in found.controls if control.name == "n_tokens")
    assert found.estimate > 0.3
    assert twin.role == "pre_treatment"
    assert abs(twin.estimate) < of_correlation(found.n)
    assert twin.interval[0] < 0 < twin.interval[1]


def test_length_is_asked_of_suites_whose_axis_is_a_length_and_of_no_others(rng):
    sweep = make_sweep(WORDS, STEP_LEVELS, effect=lambda *_: -0.4, rng=rng, suite="padded")
    found = analyse(merge(sweep, make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.4, rng=rng)), "length")
    assert {finding.scope.suite for finding in found} == {"padded"}
    primary = at(found, "final_norm")
    assert primary.primary
    assert primary.interval[1] < 0, "denser where longer"
    assert primary.verdict == "contradicted"


def test_the_output_is_a_mediator_and_named_so(rng):
    found = at(analyse(exposure(rng), "familiarity"), "final_norm")
    control = next(control for control in found.controls if control.name == "mean_next_token_entropy")
    assert control.role == "mediator"
    assert control.correlation > 0.5


def test_outcomes_that_some_items_lack_do_not_cost_items(rng):
    sweep = exposure(rng)
    outcomes = sweep.outcomes().iloc[::2]
    found = at(analyse(with_table(sweep, outcomes=outcomes), "familiarity"), "final_norm")
    full = at(analyse(sweep, "familiarity"), "final_norm")
    assert (found.n, found.estimate) == (full.n, full.estimate)
    assert any(control.name == "mean_next_token_entropy" for control in found.controls)


def test_paired_shifts_are_compared_within_their_source(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.15, rng=rng, paired=True)
    found = at(analyse(sweep, "difficulty"), "final_norm")
    assert found.n_clusters == 60
    assert "within" in found.test.name


def test_domains_below_six_are_described_and_single_contrasts_decided(rng):
    findings = analyse(text_domains(rng), "domains")
    assert at(findings, "final_norm").verdict == "described"
    assert at(findings, "final_norm").test is None
    assert at(findings, "final_norm", group="random_bytes").verdict == "significantly positive"
    assert at(findings, "resid_post.0", group="random_bytes").verdict == "not significant"
    assert at(findings, "final_norm", "participation_ratio", "random_bytes").estimate > 0


def test_six_domains_may_speak_about_domains(rng):
    names = [f"domain_{number}" for number in range(FEWEST_TO_GENERALISE)]
    found = at(analyse(text_domains(rng, names=names), "domains"), "final_norm")
    assert found.generalises_over == "domains"
    assert found.n_clusters == FEWEST_TO_GENERALISE
    assert found.verdict == "supported"


def test_suites_with_one_nominal_axis_are_pooled(rng):
    inside = make_sweep(DOMAIN, [("stories", math.nan, "in")], effect=lambda *_: 0.0, rng=rng, suite="stories")
    shifted = make_sweep(DOMAIN, [("code", math.nan, "shifted")], effect=lambda *_: 0.0, rng=rng, suite="code")
    findings = analyse(merge(inside, shifted), "domains")
    assert at(findings, "final_norm", group="code").n == 120


def test_one_file_per_level_is_pooled_and_only_described(rng):
    files = [
        make_sweep(STEPS, [(str(s), float(s), "in")], effect=lambda *_: 0.0, rng=rng, suite=f"file{s}")
        for s in (1, 2, 3)
    ]
    found = at(analyse(merge(*files), "difficulty"), "final_norm")
    assert found.n == 180
    assert (found.generalises_over, found.verdict) == ("domains", "described")


def test_one_level_is_not_answered_and_says_why(rng):
    sweep = make_sweep(EXPOSURE, [("28", 28.0, "in")], effect=lambda *_: 0.0, rng=rng)
    (finding,) = analyse(sweep, "familiarity")
    assert not finding.answered
    assert "one level" in finding.text


def test_one_item_per_level_is_not_answered(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 1.0, rng=rng, n_per_level=1)
    (finding,) = analyse(sweep, "difficulty")
    assert not finding.answered
    assert "too few" in finding.text


def test_only_in_distribution_items_are_not_answered(rng):
    sweep = make_sweep(DOMAIN, [("stories", math.nan, "in")], effect=lambda *_: 0.0, rng=rng)
    (finding,) = analyse(sweep, "domains")
    assert "in-distribution items only" in finding.text


def test_a_measure_undefined_throughout_is_said_and_leaves_the_others(rng):
    sweep = exposure(rng)
    rows = sweep.tables["measurements"].copy()
    rows.loc[rows["metric"] == "hoyer", "value"] = np.nan
    findings = analyse(with_table(sweep, measurements=rows), "familiarity")
    assert any("hoyer is undefined for every item" in f.text for f in findings)
    assert at(findings, "final_norm", "participation_ratio").verdict == "significantly positive"


def test_some_undefined_values_are_left_out_and_counted(rng):
    sweep = exposure(rng)
    rows = sweep.tables["measurements"].copy()
    hit = (rows["site"] == "final_norm") & (rows["metric"] == "hoyer") & (np.arange(len(rows)) % 4 == 0)
    rows.loc[hit, "value"] = np.nan
    findings = analyse(with_table(sweep, measurements=rows), "familiarity")
    assert at(findings, "final_norm").n == 480 - hit.sum()
    assert at(findings, "resid_post.3").n == 480


def test_tokens_of_position_all_are_averaged_per_item(rng):
    sweep = exposure(rng)
    rows = sweep.tables["measurements"]
    wide = rows.astype({"metric": str}).pivot(
        index=["run_id", "example_id", "site", "layer", "unit", "basis"], columns="metric", values="value"
    )
    wide = wide.reset_index().dropna(subset=["hoyer"])
    tokens = [wide.assign(token=t, hoyer=wide["hoyer"] + delta) for t, delta in enumerate((-0.1, 0.1))]
    empty = rows.iloc[:0]
    import pandas as pd

    both = with_table(sweep, measurements=empty, token_measurements=pd.concat(tokens))
    found = at(analyse(both, "familiarity"), "final_norm")
    assert found.scope.position == "all"
    assert found.estimate == pytest.approx(at(analyse(sweep, "familiarity"), "final_norm").estimate, abs=STORED)


def test_an_analysis_that_does_not_exist_suggests_the_nearest(rng):
    with pytest.raises(UnknownNameError, match="familiarity"):
        analyse(exposure(rng), "familarity")


def test_every_analysis_states_its_question():
    assert all(entry.question.endswith("?") for entry in ANALYSES.values())


def test_two_dtypes_of_a_model_are_two_panels(rng):
    first, second = exposure(rng), exposure(rng)
    for sweep, name in ((first, "a"), (second, "b")):
        for table in sweep.tables.values():
            if "run_id" in table:
                table["run_id"] = f"run-{name}"
    second.tables["runs"]["dtype"] = "bfloat16"
    findings = analyse(Sweep(merge(first, second).tables), "familiarity")
    models = {f.scope.model for f in findings}
    assert len(models) == 2
    assert all(at([f for f in findings if f.scope.model == model], "final_norm").n == 480 for model in models)


def test_no_effect_is_said_only_inside_the_bound_and_power_otherwise(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng, n_per_level=40, metrics=("hoyer",))
    for found in analyse(sweep, "difficulty"):
        negligible = found.bound.verdict == "negligible"
        assert ("no effect larger than" in found.text) == (not found.side and negligible)
        assert ("detected with 80 % power" in found.text) == (not found.side and not negligible)
        if negligible:
            assert max(abs(bound) for bound in found.interval) < 1.5 * found.bound.bound
    strong = at(analyse(exposure(rng), "familiarity"), "final_norm")
    assert strong.bound.verdict == "relevant"
    assert "no effect" not in strong.text


def test_several_suites_of_one_kind_are_pooled_with_a_suite_as_one_draw(rng):
    def suites(n):
        own = [
            make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.4, rng=rng, n_per_level=15, suite=f"s{i}")
            for i in range(n)
        ]
        findings = analyse(merge(*own), "difficulty")
        return next(f for f in findings if f.scope.suite == f"{n} suites")

    few, many = suites(3), suites(6)
    assert (few.verdict, few.test, few.n_clusters) == ("described", None, 3)
    assert (many.verdict, many.generalises_over) == ("significantly positive", "domains")
    assert many.estimate == pytest.approx(np.mean([m.value for m in many.plot.marks[:-1]]))


def test_suites_whose_axis_is_a_length_are_not_said_to_hold_length_fixed(rng):
    own = [make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.4, rng=rng, n_per_level=15, suite=f"s{i}") for i in "ab"]
    for sweep in own:
        at_level = sweep.tables["examples"].set_index("example_id")["level"]
        inputs = sweep.tables["inputs"]
        sweep.tables["inputs"] = inputs.assign(n_tokens=inputs["example_id"].map(at_level).astype(int))
    text = next(f.text for f in analyse(merge(*own), "difficulty") if f.scope.suite == "2 suites")
    assert "not separable from length" in text
    assert "adjusted for length" not in text


def test_paired_items_have_a_mixed_and_a_within_source_slope_with_status(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.3, rng=rng, paired=True)
    found = at(analyse(sweep, "difficulty"), "final_norm")
    by_name = {effect.name: effect for effect in found.effects}
    mixed = by_name["mixed-effects slope, standardised"]
    within = by_name["slope within sources, standardised"]
    assert mixed.interval[0] > 0
    assert within.interval[0] > 0
    assert not any("slope" in e.name for e in at(analyse(sweep, "difficulty"), "resid_post.0").effects)
