"""Probes: what is planted is decodable, what leaks through siblings is not, and nothing is read off shuffled labels."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.panels import Column, read_panels
from analyses.findings.contrast import Comparison
from analyses.questions.probes import Probed, _finding, shuffled
from analyses.statistics.design import design_of
from analyses.statistics.probing import online_code, read_kind, read_order, splits
from probes.records.stored_states import States, StoredPlace
from tests.analyses.sweeps import Sweep, exposure, text_domains, with_table
from tests.samples import of_correlation

# Bits that learning a share costs per label of 200: twice those of Krichevsky and Trofimov, for it is learnt in blocks.
UNLEARNT = (np.log2(200) + 2) / 200

WIDTH = 24


@dataclass(frozen=True)
class Kept(Sweep):
    """A sweep that keeps states, one matrix per place."""

    vectors: dict[StoredPlace, np.ndarray] = field(default_factory=dict)

    def stored_states(self):
        return tuple(self.vectors)

    def states(self, site, *, layer=None, position=None, suite=None, model=None):  # noqa: ARG002  asked by name
        keys = self.examples()[["example_id"]].assign(run_id=self.runs()["run_id"].iloc[0])
        order = np.argsort(keys["example_id"].to_numpy(), kind="stable")
        vectors = self.vectors[StoredPlace(site, layer, position)].astype(np.float32)
        return States(keys.iloc[order].reset_index(drop=True), vectors[order])


def kept(sweep, position, **places):
    found = {StoredPlace(site, layer, position): states for (site, layer), states in places["at"].items()}
    return Kept(sweep.tables, sweep.widths, found)


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def primary(findings):
    (found,) = [f for f in findings if f.primary]
    return found


def effects(finding):
    return {effect.name: effect for effect in finding.effects}


def test_a_planted_direction_is_decodable_where_it_was_planted_and_nowhere_else(rng):
    sweep = exposure(rng, n_layers=1, n_per_level=30, effect=lambda *_: 0.0)
    level = np.log2(sweep.examples()["level"].to_numpy() + 1)
    noise = rng.normal(size=(2, len(level), WIDTH))
    direction = rng.normal(size=WIDTH)
    at = {("resid_post", 0): noise[0], ("final_norm", 1): noise[1] + 0.1 * level[:, None] * direction}
    findings = analyse(kept(sweep, "last", at=at), "probes")
    found = primary(findings)
    assert (found.scope.place, found.verdict) == ("final_norm", "supported")
    assert found.estimate > 0.5
    assert "decodable at final_norm" in found.text
    other = next(f for f in findings if f.scope.place == "resid_post.0")
    assert other.verdict == "not significant"
    named = effects(found)
    assert abs(named["shuffled labels, mean of 8"].estimate) < of_correlation(len(level))
    bits = {name: e.estimate for name, e in named.items() if name.startswith("bits per item")}
    assert bits["bits per item, online code by states"] < 0.9 < bits["bits per item, online code by the base rate"]
    assert named["hoyer alone"].interval[0] < 0 < named["hoyer alone"].interval[1]
    assert named["gain over hoyer alone"].interval[0] > 0
    series = {mark.series for mark in found.plot.marks}
    assert series == {"probe of the states", "shuffled labels (range)", "hoyer alone"}


def test_siblings_are_held_out_together(rng):
    """States that know whom an item is about, and nothing of its level, decode nothing."""
    sweep = exposure(rng, n_layers=1, n_per_level=30)
    examples = sweep.examples()
    level, who = examples["level"].to_numpy(), np.arange(len(examples)) // 6  # six of one level are about the same
    known = rng.normal(size=(who.max() + 1, WIDTH))[who] + 0.05 * rng.normal(size=(len(who), WIDTH))
    naive = read_order(splits(known, np.arange(len(who)), rng), level[:, None])[:, 0]
    assert np.corrcoef(naive, level)[0, 1] > 0.5
    about = with_table(sweep, examples=examples.assign(attrs=[f'{{"entity": "e{number}"}}' for number in who]))
    found = primary(analyse(kept(about, "last", at={("final_norm", 1): known}), "probes"))
    assert found.n_clusters == 40
    assert found.verdict == "undecided"


def test_shifted_items_are_read_by_a_logistic_probe_and_errors_too(rng):
    sweep = text_domains(rng, n_layers=1, names=("wikitext",))
    shifted = (sweep.examples()["split"] == "shifted").to_numpy()
    wrong = rng.random(len(shifted)) < 0.4
    rows = pd.DataFrame(
        {
            "run_id": sweep.runs()["run_id"].iloc[0],
            "example_id": sweep.examples()["example_id"],
            "name": "correct",
            "value": ~wrong * 1.0,
        }
    )
    sweep = with_table(sweep, outcomes=pd.concat([sweep.outcomes(), rows]))
    states = rng.normal(size=(len(shifted), WIDTH))
    states[:, 0] += 2 * shifted
    states[:, 1] += 2 * wrong
    findings = analyse(kept(sweep, "mean", at={("final_norm", 1): states}), "probes")
    axis, errors = primary(findings), next(f for f in findings if f.scope.group == "errors")
    assert "logistic" in axis.unit
    assert (axis.verdict, errors.verdict) == ("supported", "significantly positive")
    assert "wrong answers: decodable" in errors.text.lower()


@pytest.mark.parametrize("runs", [4, pytest.param(200, marks=pytest.mark.long)])
def test_of_200_sweeps_whose_states_hold_nothing_at_most_17_say_decodable(runs, proof):
    said = 0
    for seed in range(runs):
        own = np.random.default_rng(seed)
        sweep = exposure(own, n_layers=1, n_per_level=10, metrics=("hoyer",), effect=lambda *_: 0.0)
        states = own.normal(size=(80, WIDTH))
        said += primary(analyse(kept(sweep, "last", at={("final_norm", 1): states}), "probes")).verdict == "supported"
    assert said <= (17 if runs == 200 else 2)
    proof(f"Of {runs} sweeps whose states hold nothing of the level a probe said 'decodable' in {said}.")


def test_without_states_the_finding_names_the_key(rng):
    (found,) = analyse(exposure(rng, n_layers=1), "probes")
    assert not found.answered
    assert "`states: [" in found.text
    assert len(analyse(replace(kept(exposure(rng, n_layers=1), "last", at={}), vectors={}), "probes")) == 1


def test_readings_of_nothing_are_not_worse_than_nothing(rng):
    """The mean of the items fitted to is low where those held out are high; with it the reading would be at -.3."""
    read = [
        np.corrcoef(read_order(splits(x, np.arange(60), rng), y[:, None])[:, 0], y)[0, 1]
        for x, y in ((rng.normal(size=(60, 5)), rng.normal(size=60)) for _ in range(60))
    ]
    assert -0.18 < np.nanmean(read) < 0.05  # so are weights, a little; the control task has the same, and is taken off
    kinds = rng.random((60, 3)) < 0.5
    assert np.isfinite(read_kind(splits(rng.normal(size=(60, 5)), np.arange(60), rng), kinds)).all()


def test_wide_states_are_read_as_they_would_be_on_their_axes(rng):
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 300))
    y = x[:, 0] + 0.1 * rng.normal(size=50)
    assert np.corrcoef(read_order(splits(x, np.arange(50), rng), y[:, None])[:, 0], y)[0, 1] > 0.8


def test_a_code_is_short_where_labels_can_be_told_and_no_shorter_than_the_base_rate_where_not(rng):
    label = rng.random(200) < 0.5
    told = online_code(label[:, None] + 0.3 * rng.normal(size=(200, 1)), label, np.arange(200), rng)
    assert told.probe.mean() < 0.6
    assert told.base_rate.mean() == pytest.approx(1.0, abs=UNLEARNT)
    nothing = online_code(rng.normal(size=(200, 8)), label, np.arange(200), rng)
    assert nothing.probe.mean() > nothing.base_rate.mean()
    same = online_code(np.ones((32, 1)), np.ones(32, dtype=bool), np.arange(32), rng)
    # two items at one bit each, then Laplace's rule on 2, 4, 8 and 16 that were sent
    expected = (2 + sum(n * -np.log2((n + 1) / (n + 2)) for n in (2, 4, 8, 16))) / 32
    assert same.base_rate.mean() == pytest.approx(expected)


@pytest.mark.parametrize("design", ["items", "paired", "clusters"])
def test_control_labels_keep_what_the_design_keeps(design, rng):
    clusters = np.repeat(np.arange(6), 3)
    score = np.tile([0.0, 1.0, 2.0], 6) if design == "paired" else np.repeat([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], 3)
    for labels in shuffled(score, clusters, design, rng).T:
        assert sorted(labels) == sorted(score)
        if design == "paired":
            assert all(sorted(labels[clusters == c]) == [0, 1, 2] for c in range(6))
        if design == "clusters":
            assert all(len(set(labels[clusters == c])) == 1 for c in range(6))


@pytest.mark.parametrize("clusters", [np.zeros(24, int), np.repeat([0, 1], 12), np.repeat([0, 1, 2], [12, 6, 6])])
def test_too_few_clusters_to_hold_any_out_are_no_answer_and_no_crash(clusters):
    rng = np.random.default_rng(0)
    score = np.repeat([0.0, 1.0], 12)
    compared = Comparison("far", "far", "near", np.ones(24, bool), score, design_of(score, clusters))
    where = Column("final_norm", 5, "last", "hoyer")
    sweep = text_domains(rng, names=("code",), n_layers=1, metrics=("hoyer",), n_per_level=12)
    (panel,) = read_panels(sweep, ["nominal"])
    states, sparsity = rng.normal(size=(24, 100)), rng.normal(size=24)
    found = _finding(panel, Probed(where, states, compared, sparsity, None, clusters))
    assert found is None or not found.answered
