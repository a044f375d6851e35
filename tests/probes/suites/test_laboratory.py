"""Suites of the laboratory: answers an independent solver finds, one knob at a time, and no shortcut to them."""

import math
from collections import Counter

import numpy as np
import pytest

from probes.errors import InputError
from probes.lab import graded_path, read_record, reference_path
from probes.lab.links.solver import SHORTCUTS, shortcut, solve_fact, solve_links, solve_said, solve_sum
from probes.suites.example import SUITES
from probes.suites.laboratory.addition import carries
from probes.suites.laboratory.grading import _pool, grade_model
from probes.suites.laboratory.knowledge import EXPOSED, LOW_COUNTS
from probes.suites.laboratory.world_facts import LabSuite

LINKS = ("lab_recall", "lab_chains", "lab_distance")
KNOWLEDGE = ("lab_choices", "lab_conflict", "lab_phrasing", "lab_stored_hops")
KNOBS = (*LINKS, *KNOWLEDGE, "lab_addition")


@pytest.fixture(scope="module")
def asked():
    names = [*KNOBS, *(f"{name}_matched" for name in KNOBS), "lab_low_counts"]
    return {name: [item.example for item in SUITES[name].items(np.random.default_rng(3))] for name in names}


@pytest.fixture(scope="module")
def record():
    return read_record(graded_path())


@pytest.fixture(scope="module")
def facts(record):
    return {frozenset(fact.prompt.split()): fact.tail for fact in record.world.facts}


def n_words(text):
    return len(text.replace(",", " ,").replace(".", " .").split())


@pytest.mark.parametrize("matched", ["", "_matched"])
@pytest.mark.parametrize("name", KNOBS)
def test_an_independent_solver_finds_every_answer(name, matched, asked, facts):
    for example in asked[name + matched]:
        if name == "lab_addition":
            assert solve_sum(example.text) == example.target.replace(" ", "")
        elif name in LINKS:
            assert solve_links(example.text) == example.target
        else:
            assert solve_fact(example.text, facts) == example.target


@pytest.mark.parametrize("name", KNOBS)
def test_matched_items_are_equally_long_and_end_as_the_others_do(name, asked):
    lengths = {n_words(example.text) for example in asked[f"{name}_matched"]}
    by_cluster = Counter((example.cluster, n_words(example.text)) for example in asked[f"{name}_matched"])
    if name in KNOWLEDGE:
        assert len({cluster for cluster, _ in by_cluster}) == len(by_cluster), "equal within every item"
    else:
        assert len(lengths) == 1
    plain = {n_words(example.text) for example in asked[name]}
    assert len(plain) > 1 or name == "lab_addition", "the knob turns the length unless it is matched"


@pytest.mark.parametrize("matched", ["", "_matched"])
@pytest.mark.parametrize("name", KNOBS)
def test_levels_are_the_same_size_and_ask_for_the_same_relations_and_entities(name, matched, asked):
    found = asked[name + matched]
    levels = {example.level_name for example in found}
    assert len({sum(example.level_name == level for example in found) for level in levels}) == 1
    for attribute in ("relation", "entity"):
        per_level = [
            Counter(dict(example.attrs).get(attribute) for example in found if example.level_name == level)
            for level in levels
        ]
        assert all(counts == per_level[0] for counts in per_level)
    if name in KNOWLEDGE:
        assert len(set(Counter(dict(example.attrs)["relation"] for example in found).values())) == 1


def test_the_reference_items_of_an_ordered_suite_are_its_easiest(asked):
    for name, examples in asked.items():
        axis = SUITES[name].axis
        if axis.harder is None:
            continue
        towards_harder = 1 if axis.harder == "higher" else -1
        hardness = {
            split: [towards_harder * example.level for example in examples if example.split == split]
            for split in ("in", "shifted")
        }
        assert hardness["in"], name
        assert max(hardness["in"]) < min(hardness["shifted"], default=math.inf), name


def test_knowledge_is_asked_of_facts_of_one_exposure_that_are_known(asked, record):
    known = {
        (fact.entity, fact.relation): fact.exposure
        for fact, known in zip(record.world.facts, record.known, strict=True)
        if known
    }
    for name in KNOWLEDGE:
        for example in asked[name]:
            attrs = dict(example.attrs)
            assert known[attrs["entity"], attrs["relation"]] == EXPOSED


def test_a_contradiction_says_something_else_and_an_agreement_the_same(asked):
    said = Counter()
    for example in asked["lab_conflict"]:
        stated = solve_said(example.text)
        assert (stated is not None) == (example.level_name in ("agrees", "contradicts"))
        assert stated in (None, dict(example.attrs).get("said"))
        said[example.level_name, stated == example.target] += 1
    assert said["agrees", False] == said["contradicts", True] == 0
    assert min(said["agrees", True], said["contradicts", False]) > 0


def test_low_counts_are_counted(asked, record):
    presented = {f"fact-{i:04d}": count for i, count in enumerate(record.presented)}
    found = asked["lab_low_counts"]
    assert {example.level for example in found} == set(map(float, LOW_COUNTS))
    assert all(presented[example.id] == example.level for example in found)
    assert len(set(Counter(example.level for example in found).values())) == 1


@pytest.mark.parametrize(("name", "chance"), [("lab_recall", 1 / 16), ("lab_chains", 1 / 4)])
def test_no_shortcut_solves_the_hardest_level(name, chance, asked):
    found = [e for e in asked[name] if e.level == max(each.level for each in asked[name])]
    for kind in SHORTCUTS:
        right = np.mean([shortcut(kind, e.text, _pool(e, found)) == e.target for e in found])
        assert right < chance + 3 * (chance / len(found)) ** 0.5


def test_sums_carry_as_often_as_their_level_says(asked):
    for example in asked["lab_addition"]:
        first, second = (int(number) for number in example.text.rstrip("= ").split("+"))
        columns = [sum(int(number) // 10**k % 10 for number in (first, second)) for k in range(3)]
        carried = [0]
        for column in columns:
            carried.append(int(column + carried[-1] > 9))
        assert example.level == sum(carried) == carries(first, second)


def test_the_world_of_a_model_is_a_suite_that_concerns_models_of_that_world_alone(tmp_path):
    suite = LabSuite(lab=str(graded_path()), name="facts")
    items = suite.suite().items(np.random.default_rng(0))
    assert len(items) == len(read_record(graded_path()).world.facts)
    assert suite.concerns(str(graded_path()))
    assert not suite.concerns(str(reference_path()))
    assert not suite.concerns("gpt2")
    with pytest.raises(InputError, match="not a laboratory model"):
        LabSuite(lab=str(tmp_path), name="facts").suite()


def test_a_grade_counts_what_the_model_says(record):
    grades = list(grade_model(graded_path(), limit=10_000, suites=["lab_low_counts"]))
    assert {grade.suite for grade in grades} == {"lab_low_counts"}
    unit = {int(grade.level): grade.correct for grade in grades}
    assert unit == pytest.approx({level: record.accuracy[level] for level in LOW_COUNTS})
