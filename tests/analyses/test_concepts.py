"""Concepts: planted categories and typicality are found, frequency is told from typicality, gaps are counted."""

import json
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.concepts import read_members
from analyses.findings.panel import fresh
from analyses.statistics.concepts.profile import read_place
from probes.errors import InputError
from probes.records.schema import SCHEMAS
from probes.records.stored_states import States, StoredPlace
from probes.vocabulary.axes import AXES
from tests.analyses.sweeps import Sweep
from tests.samples import ERRORS
from tests.tolerances import FLOAT64

pytestmark = pytest.mark.numeric
CATEGORIES, MEMBERS, WIDTH = 5, 16, 12
SENTENCES = ("This is a {item}", "One word is {item}")
FINAL = StoredPlace("final_norm", 2, "answer")
EARLY = StoredPlace("resid_post", 0, "answer")


@dataclass(frozen=True)
class Kept(Sweep):
    """A sweep whose states are made where they are asked for."""

    vectors: dict[tuple[str, StoredPlace], np.ndarray] = field(default_factory=dict)

    def stored_states(self):
        return tuple(dict.fromkeys(place for _, place in self.vectors))

    def states(self, site, *, layer=None, position=None, suite=None, model=None):  # noqa: ARG002  one suite
        runs = self.runs()
        run_id = runs.loc[runs["model"].isin(model), "run_id"].iloc[0]
        if (run_id, StoredPlace(site, layer, position)) not in self.vectors:
            raise InputError("that is not stored")
        keys = self.examples()[["example_id"]].assign(run_id=run_id)
        return States(keys, self.vectors[run_id, StoredPlace(site, layer, position)].astype(np.float32))


def made(
    rng, *, sparsity=0.0, through_frequency=0.0, apart=3.0, coupled=0.8, steps=(None,), seeds=1, states=True, unknown=0
):
    """Members around their category's centre, the closer the more typical; sparsity follows what a test says."""
    names = [(f"c{c}", f"w{c}x{i}") for c in range(CATEGORIES) for i in range(MEMBERS)]
    n = len(names)
    typicality = rng.uniform(size=n)
    frequency = coupled * (typicality - 0.5) * 3.4 + np.sqrt(1 - coupled**2) * rng.normal(size=n)
    examples, item_of = [], []
    for index, (category, item) in enumerate(names):
        for number, sentence in enumerate(SENTENCES):
            attrs = {"norms": "own", "category": category, "item": item, "role": "member", "template": sentence}
            attrs["frequency"] = repr(float(frequency[index]))
            examples.append(
                {
                    "example_id": f"concepts:own/{category}/{item}/{number}",
                    "suite": "concepts",
                    "axis": "typicality",
                    "level": typicality[index],
                    "level_name": "",
                    "split": "in",
                    "cluster": f"own/{category}",
                    "n_bytes": 9,
                    "attrs": json.dumps(attrs),
                }
            )
            item_of.append(index)
    examples, item_of = pd.DataFrame(examples), np.array(item_of)
    spelled = [1 if index < unknown else 10 + index for index in range(n)]
    empty = {name: pd.DataFrame(columns=SCHEMAS[name].names) for name in SCHEMAS}
    runs, inputs, outcomes, measured, vectors = [], [], [], [], {}
    category = np.repeat(np.arange(CATEGORIES), MEMBERS)
    for seed in range(seeds):
        for step in steps:
            run_id = f"run-{seed}-{step}"
            model = f"/lab/seed-{seed}" + ("" if step is None else f"/checkpoints/step-{step:06d}")
            grown = 1.0 if step is None else step / max(steps)
            spec = json.dumps({"axis": asdict(AXES["typicality"])})
            runs.append({"run_id": run_id, "model": model, "step": step, "model_seed": seed, "suite": "concepts",
                         "dtype": "float32", "revision": None, "spec_json": spec})  # fmt: skip
            ids = examples["example_id"]
            length = 4 + rng.integers(1, 4, n)[item_of]
            inputs.append(pd.DataFrame({"run_id": run_id, "example_id": ids, "n_tokens": 4,
                                        "token_ids": [[0] * 4 + [spelled[i]] * (k - 4) for i, k in
                                                      zip(item_of, length, strict=True)]}))  # fmt: skip
            outcomes.append(pd.DataFrame({"run_id": run_id, "example_id": ids, "name": "nll",
                                          "value": np.exp(rng.normal(size=n) * 0.2)[item_of]}))  # fmt: skip
            score = rng.normal(size=n) - sparsity * typicality * 3.4 - through_frequency * frequency
            measured.append(pd.DataFrame({"run_id": run_id, "example_id": ids, "site": "final_norm", "layer": 2,
                                          "unit": -1, "basis": "raw", "position": "answer", "token": -1,
                                          "metric": "hoyer", "value": 0.3 + 0.02 * score[item_of]}))  # fmt: skip
            centres = rng.normal(size=(CATEGORIES, WIDTH)) * apart * grown
            near = centres[category] + rng.normal(size=(n, WIDTH)) * (1.6 - 1.3 * typicality * grown)[:, None]
            vectors[run_id, FINAL] = near[item_of]
            vectors[run_id, EARLY] = rng.normal(size=(n, WIDTH))[item_of]
    tables = {**empty, "runs": pd.DataFrame(runs), "examples": examples, "inputs": pd.concat(inputs),
              "outcomes": pd.concat(outcomes), "measurements": pd.concat(measured, ignore_index=True)}  # fmt: skip
    return Kept(tables, {"final_norm": WIDTH}, vectors) if states else Sweep(tables, {"final_norm": WIDTH})


def expected(rng, sweep, groups):
    """What the model expects after each member: a distribution of its group, noised; two sentences of each."""
    examples, runs = sweep.examples(), sweep.runs()
    centres = rng.dirichlet(np.full(30, 0.2), size=groups.max() + 1)
    chances = 0.9 * centres[groups] + 0.1 * rng.dirichlet(np.ones(30), size=len(groups))
    rows = []
    for number, example in enumerate(examples["example_id"]):
        order = np.argsort(-chances[number // 2])
        rows.append({"run_id": runs["run_id"].iloc[0], "example_id": example, "tokens": order,
                     "chances": chances[number // 2][order]})  # fmt: skip
    return Expects(sweep.tables, sweep.widths, sweep.vectors, pd.DataFrame(rows))


@dataclass(frozen=True)
class Expects(Kept):
    """A sweep that also kept what the model expects."""

    following: pd.DataFrame = field(default_factory=pd.DataFrame)

    def next_tokens(self):
        return self.following


def turned(sweep, rng):
    """The same states, of other members: their clusters have nothing to do with the categories."""
    other = rng.permutation(CATEGORIES * MEMBERS)
    return replace(sweep, vectors={key: np.repeat(own[::2][other], 2, axis=0) for key, own in sweep.vectors.items()})


def by_metric(findings):
    return {finding.scope.metric: finding for finding in findings}


@pytest.fixture
def rng():
    return np.random.default_rng(41)


def test_planted_categories_and_typicality_are_found_where_they_are_and_not_before(rng):
    found = by_metric(analyse(made(rng), "concepts"))
    agreement = found["adjusted mutual information"]
    assert agreement.side == 1
    assert agreement.estimate > 0.9
    (early,) = (mark for mark in agreement.plot.marks if (mark.series, mark.name) == ("agreement", "resid_post.0"))
    assert abs(early.value) < ERRORS / 3.92 * (early.high - early.low)  # an interval is 3.92 standard errors long
    assert early.high < 0.5
    assert {mark.value for mark in agreement.plot.marks if mark.series == "ceiling"} == {1.0}
    graded = found["cosine to the category"]
    assert graded.side == 1
    assert graded.estimate > 0.4
    rate = found["regret"]
    assert (rate.estimate, rate.side) == (pytest.approx(0.0, abs=FLOAT64), -1)  # people's categories are the clusters
    z = {effect.key: effect.estimate for effect in rate.effects}
    assert z["z"] < -20
    assert z["bits"] == pytest.approx(np.log2(CATEGORIES))
    assert {mark.series for mark in rate.plot.marks} == {"categories, joined", "k-means", "random, same sizes"}


def test_regret_is_found_where_the_model_keeps_other_categories_than_people(rng):
    found = by_metric(analyse(turned(made(rng), rng), "concepts"))
    assert (found["regret"].estimate, found["regret"].side) == (pytest.approx(1.0, abs=0.1), 1)
    assert found["adjusted mutual information"].side == 0


def test_bits_of_the_next_token_tell_categories_that_a_model_expects_from_those_it_does_not(rng):
    sweep, groups = made(rng), np.repeat(np.arange(CATEGORIES), MEMBERS)
    own = by_metric(analyse(expected(rng, sweep, groups), "concepts"))["bits about the next token"]
    assert own.estimate == pytest.approx(0.0, abs=0.05)
    other = analyse(expected(rng, sweep, rng.permutation(groups)), "concepts")
    assert by_metric(other)["bits about the next token"].estimate == pytest.approx(1.0, abs=0.15)
    told = {effect.key: effect.estimate for effect in own.effects}
    assert told["null"] < told["people"] <= told["each"]
    assert told["joined"] <= told["each"]
    assert "bits about the next token" not in by_metric(analyse(sweep, "concepts"))


def test_sparsity_of_less_typical_members_is_claimed_and_left_where_it_is_not_frequency(rng):
    (found,) = analyse(made(rng, sparsity=0.8), "typicality")
    assert found.primary
    assert found.verdict == "supported"
    assert found.text.endswith("It remains.")
    left = {control.name: control for control in found.controls}
    assert set(left) == {
        "word frequency",
        "n_tokens",
        "bytes of the word",
        "bits per byte",
        "all of these together",
    } - ({"bytes of the word"} - set(left))
    assert left["word frequency"].interval[0] > 0
    assert (found.n, found.n_clusters) == (80, 80)


def test_what_goes_through_frequency_alone_does_not_remain(rng):
    (found,) = analyse(made(rng, through_frequency=1.2), "typicality")
    assert found.verdict == "supported"
    assert found.text.endswith("It does not remain.")
    left = {control.name: control for control in found.controls}["word frequency"]
    assert left.interval[0] < 0 < left.interval[1]
    (nothing,) = analyse(made(rng), "typicality")
    assert nothing.verdict == "undecided"


def test_checkpoints_are_read_as_trainings_and_the_last_one_as_the_model(rng):
    sweep = made(rng, steps=(1, 64), seeds=2)
    found = analyse(sweep, "concepts")
    (training,) = [own for own in found if own.scope.metric == "by training step"]
    assert (training.n_clusters, training.generalises_over, training.verdict) == (2, "seeds", "described")
    line = {mark.x: mark.value for mark in training.plot.marks if mark.series == "agreement"}
    assert line[1.0] < 0.2 < line[64.0]
    last = {effect.of: effect.estimate for effect in training.effects}
    assert set(last) >= {"agreement", "regret", "typicality", "typicality, adjusted for frequency", "sparser"}
    assert training.estimate == last["typicality, adjusted for frequency"] < last["typicality"]
    assert len([own for own in found if own.primary]) == 2
    assert len(analyse(sweep, "typicality")) == 2
    assert {own.scope.metric for own in found if not own.primary} >= {"regret", "cosine to the category"}


def test_models_of_different_depth_are_each_read_after_their_own_final_norm(rng):
    sweep = made(rng, seeds=2)
    sweep.vectors["run-1-None", StoredPlace("final_norm", 7, "answer")] = sweep.vectors.pop(("run-1-None", FINAL))
    found = [own for own in analyse(sweep, "concepts") if own.primary]
    assert [(own.scope.layer, own.verdict) for own in found] == [(2, "supported"), (7, "supported")]


def test_without_states_sparsity_is_still_answered_and_without_norms_nothing_is_asked(rng):
    found = made(rng, sparsity=0.8, states=False)
    assert [own.primary for own in analyse(found, "typicality")] == [True]
    assert analyse(found, "concepts") == []
    sweep = made(rng, states=False)
    sweep.tables["examples"] = sweep.tables["examples"].assign(axis="exposure")
    assert analyse(sweep, "concepts") == analyse(sweep, "typicality") == []


def test_members_without_rating_or_states_are_counted_and_a_category_of_one_is_left_out(rng):
    sweep = made(rng)
    examples = sweep.tables["examples"].copy()
    examples.loc[:1, "level"] = np.nan
    lone = examples["attrs"].str.contains("w4x") & ~examples["attrs"].str.contains('"w4x0"')
    examples = examples[~lone]
    for vectors in list(sweep.vectors):
        sweep.vectors[vectors] = sweep.vectors[vectors][~lone.to_numpy()]
    sweep.tables["examples"] = examples.reset_index(drop=True)
    found = by_metric(analyse(sweep, "concepts"))
    graded = found["cosine to the category"]
    reasons = {left.reason: left.n for left in graded.left_out}
    assert reasons == {"without a rating, or not read": 1, "categories with fewer than four rated members": 1}
    assert found["adjusted mutual information"].n == 65


def test_an_item_of_two_categories_is_kept_in_both_counted_and_lowers_the_ceiling(rng):
    sweep = made(rng)
    attrs = sweep.tables["examples"]["attrs"].str.replace('"w1x0"', '"w0x0"')
    sweep.tables["examples"] = sweep.tables["examples"].assign(attrs=attrs)
    found = by_metric(analyse(sweep, "concepts"))["adjusted mutual information"]
    told = {effect.key: effect.estimate for effect in found.effects}
    assert (told["several"], found.n) == (1, 80)
    assert 0.9 < told["ceiling"] < 1


def test_words_that_a_tokenizer_writes_alike_are_left_out_and_counted(rng):
    found = by_metric(analyse(made(rng, unknown=10), "concepts"))
    spelled = found["adjusted mutual information"]
    assert spelled.n < 80
    assert {left.reason: left.n for left in spelled.left_out} == {
        "written in the same tokens as another": 80 - spelled.n
    }
    (nothing,) = analyse(made(rng, unknown=80), "concepts")
    assert nothing.verdict != "supported"
    assert nothing.text.startswith("Not answered for own: ")


def test_a_place_is_read_the_same_whatever_is_asked_before(rng):
    members = read_members(made(rng))[0]
    vectors = rng.normal(size=(80, WIDTH))
    one, two = (read_place(vectors, members.categories, members.typicality, fresh()) for _ in range(2))
    assert one.agreement == two.agreement
    assert one.regret == two.regret
