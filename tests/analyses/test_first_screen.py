"""The first screen: what is missing from which group, and which sign at which layer, counted from planted data."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses.findings.record import Control, Finding, Level, Scope, Significance
from analyses.reporting.losses import take_controls, take_losses, warnings
from analyses.reporting.pictures import Studio
from analyses.reporting.sections.answers import answers
from analyses.reporting.sections.depth import by_depth, depth_sentence, sides
from analyses.reporting.sections.headline import sentences
from analyses.reporting.sections.outliers import take_outliers
from tests.analyses.sweeps import exposure, text_domains, with_table

LEVEL = Level("a", 0.0, False, 9, 0.2, 0.1, 0.3)


def at(layer, estimate, *, site="resid_post", suite="s", significant=True, primary=False, verdict="supported"):
    return Finding(
        analysis="difficulty", question="?", text="Text.", estimate=estimate, primary=primary, verdict=verdict,
        interval=(estimate - 0.1, estimate + 0.1) if significant else (-0.9, 0.9), levels=(LEVEL,),
        test=Significance("t", 0.01, 0.01 if significant else 0.5), unit="rank correlation, positive = sparser",
        scope=Scope(model="m", suite=suite, site=site, layer=layer, metric="hoyer", position="mean"),
    )  # fmt: skip


def suite(name, signs):
    lead = at(len(signs), 0.5, site="final_norm", suite=name, primary=True)
    return [
        lead,
        *(at(layer, 0.3 * sign or 0.01, suite=name, significant=sign != 0) for layer, sign in enumerate(signs)),
    ]


def test_the_sign_is_told_layer_by_layer_and_only_where_it_is_significant():
    lead, *layers = suite("s", [-1, -1, 0, 0, 1, 0, 1])
    depth = by_depth(lead, [lead, *layers])
    assert sides(depth) == (
        "sparser at layers 4, 6 (strongest of these +0.30 at layer 4), denser at layers 0\N{EN DASH}1 "
        "(strongest of these \N{MINUS SIGN}0.30 at layer 0), not significant at the other 3 of 7"
    )
    assert depth.turns
    assert depth_sentence(lead, depth).startswith("Through the layers, states of harder tasks are sparser")
    assert "neither sparser nor denser significantly at any of 3 layers" in sides(by_depth(*_of(suite("s", [0, 0, 0]))))


def _of(findings):
    return findings[0], findings


def test_several_answers_are_counted_and_listed_and_never_averaged():
    found = [*suite("one", [1, 1, 1]), *suite("two", [-1, 0, 1])]
    said = sentences(found)
    assert said[0].startswith("States of harder tasks are sparser in 2 of 2 suites (one, two).")
    assert "The sign depends on the layer in 1 of 2 (two)" in said[1]
    rows = answers([f for f in found if f.primary], found)
    assert [(row.about, row.estimate) for row in rows] == [(name, "+0.50 [+0.40, +0.60]") for name in ("one", "two")]


def test_an_effect_that_length_accounts_for_is_no_sign():
    lead, *layers = suite("s", [1, 1, 1])
    given = Control("n_tokens", "pre_treatment", 0.01, (-0.1, 0.12), 0.9)
    layers[0] = replace(layers[0], controls=(given,))
    assert "sparser at layers 1\N{EN DASH}2" in sides(by_depth(lead, [lead, *layers]))


def test_what_length_cannot_be_separated_from_is_not_called_insignificant():
    lead, *layers = suite("s", [1, -1, 1])
    follows = Control("n_tokens", "pre_treatment", math.nan, (math.nan, math.nan), math.nan)
    layers = [replace(own, controls=(follows,)) for own in layers]
    assert sides(by_depth(lead, [lead, *layers])) == (
        "not separable from length at any of 3 layers; unadjusted from \N{MINUS SIGN}0.30 to +0.30"
    )


def test_domains_are_counted_one_by_one_and_not_averaged_beside_other_suites():
    mean, *_ = suite("d", [])
    single = [replace(mean, primary=False, estimate=e, interval=(e - 0.1, e + 0.1), scope=replace(mean.scope, group=g))
              for g, e in (("code", 0.5), ("bytes", -0.5), ("prose", 0.05))]  # fmt: skip
    mean, single = (replace(mean, analysis="domains"), [replace(f, analysis="domains") for f in single])
    found = [*suite("one", [1, 1, 1]), mean, *single]
    rows = answers([f for f in found if f.primary], found)
    assert rows[1].estimate == "1 of 3 domains is sparser, 1 denser"
    assert (
        "d: Against a, over items and adjusted for length, 1 of 3 domains is sparser, 1 denser." in sentences(found)[1]
    )


def test_one_answer_has_its_own_sentence_and_its_layers():
    found = suite("s", [-1, 0, 1])
    assert sentences(found)[:2] == ["Text.", depth_sentence(found[0], by_depth(found[0], found))]


def test_a_basis_in_which_the_sign_is_the_opposite_is_on_the_first_screen():
    found = suite("s", [0, 0, 1])
    bases = [
        Control("centred", "basis", -0.4, (-0.5, -0.3), math.nan),
        Control("unembed", "basis", -0.1, (-0.3, 0.1), math.nan),  # may be zero
        Control("pca", "basis", 0.4, (0.3, 0.5), math.nan),
        Control("nll", "mediator", -0.4, (-0.5, -0.3), 0.1),
    ]
    beside = replace(found[0], analysis="localization", primary=False, controls=tuple(bases))
    beside = replace(beside, scope=replace(beside.scope, basis="several"))
    said = [text for text in sentences([*found, beside]) if "another basis" in text]
    assert said == ["The sign is the opposite in another basis (centred: −0.40 [−0.50, −0.30])."]
    elsewhere = replace(beside, scope=replace(beside.scope, site="resid_post"))
    assert not any("another basis" in text for text in sentences([*found, elsewhere]))


@pytest.fixture(scope="module")
def domains():
    return text_domains(np.random.default_rng(0), n_layers=1, metrics=("hoyer",), n_per_level=10)


def test_groups_of_which_one_was_cut_are_named(domains):
    inputs = domains.tables["inputs"]
    is_code = inputs["example_id"].str.contains(":code-")
    run = with_table(domains, inputs=inputs.assign(truncated=is_code))
    (loss,) = take_losses(run)
    assert loss.total == 10
    assert loss.differs
    assert "code: 10 of 10" in loss.listed
    assert "tinystories: 0 of 10" in loss.listed
    assert warnings([loss]) == [f"text_domains, cut to max_tokens: {loss.listed}"]
    (same,) = take_losses(with_table(domains, inputs=inputs.assign(truncated=True)))
    assert (same.total, same.differs, warnings([same])) == (40, False, [])


def test_failed_items_and_items_without_a_value_are_counted_by_group(domains):
    ids = domains.tables["inputs"]["example_id"]
    run_id = domains.tables["runs"]["run_id"][0]
    failures = pd.DataFrame({"run_id": run_id, "example_id": ids[:4], "stage": "encode", "error": "e"})
    gone = ids[ids.str.contains(":wikitext-")]
    familiarity = pd.DataFrame(
        {"run_id": run_id, "example_id": ids, "measure": "bits_per_byte", "corpus": "", "value": 1.0}
    )
    familiarity.loc[familiarity["example_id"].isin(gone), "value"] = np.nan
    losses = take_losses(with_table(domains, failures=failures, familiarity=familiarity))
    assert [(loss.what, loss.total) for loss in losses] == [
        ("failed", 4),
        ("without a defined value of bits_per_byte", 10),
    ]


def test_no_loss_is_no_row(domains):
    assert take_losses(domains) == []


def test_controls_without_time_are_named_with_what_adds_them(domains):
    assert take_controls(domains) == []
    runs = domains.runs()
    cells = [f"resid_post.{layer}" for layer in range(8)]
    own = {"n_cells": 33, "left_out": cells, "budget": 1.0, "seconds": 60.2, "skipped": {"pinning": "no norm"}}
    facts = [json.dumps(json.loads(text) | {"controls": own}) for text in runs["spec_json"]]
    row, *_ = take_controls(with_table(domains, runs=runs.assign(spec_json=facts)))
    assert "8 of 33 cells of the controls were left out for lack of time" in row.said
    assert "resid_post.5, ..." in row.said
    assert "controls_budget=unlimited" in row.said
    assert row.skipped == ("pinning: no norm",)


def outliers(energy):
    rows = [
        ("resid_post", layer, unit, basis, "mean", metric, value)
        for layer, share in enumerate(energy)
        for unit, basis, metric, value in (
            (7, "raw", "top_coordinate_energy", share), (-1, "raw", "mean_hoyer", share),
            (-1, "without_top(1)", "mean_hoyer", 0.25), (-1, "raw", "first_token_norm", 180.0),
            (-1, "raw", "largest_token_norm", 2.0), (-1, "raw", "massive_tokens", 0.02),
        )
    ]  # fmt: skip
    names = ["site", "layer", "unit", "basis", "position", "metric", "value"]
    return pd.DataFrame(rows, columns=names).assign(run_id="run-lab_exposure", group="lab_exposure")


def test_a_rogue_dimension_and_a_sink_are_named_with_their_numbers(tmp_path):
    run = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",), n_per_level=6)
    assert take_outliers(run, Studio(tmp_path)) == []
    (own,) = take_outliers(with_table(run, populations=outliers([0.1, 0.9, 0.8])), Studio(tmp_path))
    rogue, sink, left = own.sentences
    assert "Position mean leaves the first token of every sequence out" in left
    assert "up to 2.0% of tokens" in left
    assert "at resid_post.1, resid_post.2, most at resid_post.1 (coordinate 7, 90%)" in rogue
    assert "mean Hoyer is 0.900 with it and 0.250 without it" in rogue
    assert "up to 180 times" in sink
    assert len(own.pictures) == 3
    (none,) = take_outliers(with_table(run, populations=outliers([0.1, 0.2, 0.1])), Studio(tmp_path))
    assert none.sentences[0].startswith("No coordinate holds half")
