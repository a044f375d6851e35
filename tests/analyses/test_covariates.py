"""The ledger: what may be held fixed is, what the output accounts for is called so, and colliders are left alone."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.panels import read_panels
from analyses.findings.contrast import associate_with, effect, overall
from analyses.findings.covariates import ledger
from analyses.findings.panel import covariates_of
from analyses.statistics.association import associate_items
from analyses.statistics.groups import average
from tests.analyses.sweeps import STEPS, exposure, make_sweep, text_domains, with_table

STEP_LEVELS = [(str(step), float(step), "in") for step in range(1, 6)]


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def primary(findings):
    (found,) = [f for f in findings if f.primary]
    return found


def test_a_change_that_is_only_length_is_undecided_with_length_held_fixed(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng, length_effect=1.0)
    found = primary(analyse(sweep, "covariates"))
    assert found.effects[0].estimate > 0.3
    assert found.verdict == "undecided"
    assert found.interval[0] < 0 < found.interval[1]
    assert found.test.p > 0.05


def test_bytes_per_token_are_bytes_for_one_token(rng):
    """The sweep gives every token three to five bytes, the special one that stands before the text none."""
    (panel,) = read_panels(make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.0, rng=rng), ["difficulty"])
    for found in (covariates_of(panel), ledger(panel, 0)):
        (values,) = [covariate.values for covariate in found if covariate.name == "bytes_per_token"]
        assert 2.9 < values.min() < values.max() < 5.5


def test_a_contrast_is_positive_where_shifted_is_sparser_whichever_way_the_measure_runs(rng):
    (panel,) = read_panels(text_domains(rng), ["nominal"])
    columns = [
        next(i for i, column in enumerate(panel.columns) if (column.site, column.metric) == ("final_norm", metric))
        for metric in ("hoyer", "participation_ratio")
    ]
    compared = overall(panel)
    found = effect(associate_with(panel, compared, columns, resamples=50), compared)
    assert (found.value > 0.2).all()


def test_a_change_beyond_length_stays(rng):
    sweep = make_sweep(STEPS, STEP_LEVELS, effect=lambda *_: 0.5, rng=rng, length_effect=0.3)
    found = primary(analyse(sweep, "covariates"))
    assert found.verdict == "supported"
    assert found.test.p < 0.01
    assert {c.role for c in found.controls} == {"pre_treatment", "mediator"}


def test_the_output_accounts_for_it_and_adjusts_nothing(rng):
    findings = analyse(exposure(rng), "covariates")
    found = primary(findings)
    entropy = next(c for c in found.controls if c.name == "mean_next_token_entropy")
    assert entropy.role == "mediator"
    assert abs(entropy.estimate) < abs(found.estimate)
    assert "Adjusting for the output's mean_next_token_entropy leaves" in found.text
    assert {m.series for m in found.plot.marks} == {
        "as measured",
        "adjusted for, pre-treatment",
        "adjusted for, read off the output",
    }


def test_a_collider_is_named_and_never_conditioned_on(rng):
    sweep = exposure(rng)
    ids = sweep.examples()["example_id"]
    correct = pd.DataFrame(
        {"run_id": "run-lab_exposure", "example_id": ids, "name": "correct", "value": rng.integers(0, 2, len(ids))}
    )
    sweep = with_table(sweep, outcomes=pd.concat([sweep.outcomes(), correct]))
    (panel,) = read_panels(sweep, ["familiarity"])
    assert {c.name: c.role for c in ledger(panel, 0)}["correct"] == "collider"
    findings = analyse(sweep, "covariates")
    assert "correct" not in {control.name for f in findings for control in f.controls}
    assert "collider" in primary(findings).text


def test_partials_of_domains_have_an_interval_over_domains_and_leave_each_out_once(rng):
    findings = analyse(text_domains(rng), "covariates")
    entry = next(f for f in findings if f.scope.group == "bytes_per_token")
    assert (entry.generalises_over, entry.n_clusters, entry.verdict) == ("domains", 3, "described")
    by_name = {effect.name: effect.estimate for effect in entry.effects}
    assert by_name["one domain left out, lowest"] < entry.estimate < by_name["one domain left out, highest"]


def test_the_interval_over_domains_is_students():
    from scipy import stats

    deltas = np.array([0.2, 0.5, 0.3, 0.6])
    value, (low, high), _ = average(deltas)
    assert value == pytest.approx(deltas.mean())
    expected = stats.ttest_1samp(deltas, 0.0).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert np.isnan(average(deltas[:1]).interval[0])


def test_the_joint_partial_is_the_one_of_regression_on_ranks(rng):
    from scipy import stats

    z = rng.normal(size=(90, 2))
    x, y = z @ [1.0, 0.5] + rng.normal(size=90), z @ [0.3, 1.0] + rng.normal(size=90)
    found = associate_items(
        y[:, None], np.column_stack([x, z]), np.arange(90), within=False, resamples=50, rng=rng
    ).partial_all([1, 2], slope=False)
    ranks = stats.rankdata(np.column_stack([x, y, z]), axis=0)
    design = np.column_stack([np.ones(90), ranks[:, 2:]])
    rest = ranks[:, :2] - design @ np.linalg.lstsq(design, ranks[:, :2], rcond=None)[0]
    assert found.value[0] == pytest.approx(np.corrcoef(rest.T)[0, 1])
    one = associate_items(y[:, None], np.column_stack([x, z[:, 0]]), np.arange(90), within=False, resamples=50, rng=rng)
    assert one.partial_all([1], slope=False).value[0] == pytest.approx(one.partial(1).value[0])
    assert one.partial_all([1], slope=True).value[0] == pytest.approx(one.partial_slope(1).value[0])


def test_items_that_end_in_the_same_token_are_compared_where_there_are_enough(rng):
    sweep = exposure(rng)
    inputs = sweep.inputs()
    same = with_table(sweep, inputs=inputs.assign(token_ids=[[1, int(t)] for t in rng.integers(0, 9, len(inputs))]))
    names = [effect.name for effect in primary(analyse(same, "covariates")).effects]
    assert "among items with the same last token" in names
    alone = with_table(sweep, inputs=inputs.assign(token_ids=[[1, i] for i in range(len(inputs))]))
    assert len(primary(analyse(alone, "covariates")).effects) == 1


def test_templates_are_held_fixed_by_comparing_within_them(rng):
    sweep = exposure(rng)
    examples = sweep.examples()
    by_chance = [f'{{"template": "t{number}"}}' for number in rng.integers(0, 4, len(examples))]
    found = primary(analyse(with_table(sweep, examples=examples.assign(attrs=by_chance)), "covariates"))
    within = next(e for e in found.effects if e.name == "among items with the same template")
    assert within.interval[0] > 0
    # where every level is asked in words of its own, there is no company to compare with
    own = [f'{{"template": "{level}"}}' for level in examples["level_name"]]
    alone = primary(analyse(with_table(sweep, examples=examples.assign(attrs=own)), "covariates"))
    assert "among items with the same template" not in {e.name for e in alone.effects}


def test_the_place_of_the_token_is_a_covariate_where_it_is_not_the_last(rng):
    sweep = exposure(rng)
    items, inputs = sweep.examples()["example_id"], sweep.inputs()
    length = dict(zip(inputs["example_id"], inputs["n_tokens"], strict=True))

    def at_token(place):
        token = dict(zip(items, place, strict=True))
        rows = sweep.measurements().astype({"example_id": str})
        return with_table(sweep, measurements=rows.assign(token=rows["example_id"].map(token)))

    last = read_panels(at_token([length[item] - 1 for item in items]), ["familiarity"])[0]
    assert "position" not in {c.name for c in ledger(last, 0)}
    within = read_panels(at_token(rng.integers(3, 12, len(items))), ["familiarity"])[0]
    (position,) = [c for c in ledger(within, 0) if c.name == "position"]
    assert position.role == "pre_treatment"
    assert 3 <= position.values.min() < position.values.max() < 12


def test_shifts_of_the_same_texts_are_one_draw_of_the_interval_over_domains(rng):
    findings = analyse(text_domains(rng, paired=True), "covariates")
    entries = [f for f in findings if f.scope.group]
    assert entries
    assert all(f.generalises_over == "items" for f in entries)  # one draw is no sample of domains
