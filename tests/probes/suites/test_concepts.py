"""Norms of typicality: their direction, what is wrong with them, and items as the last words of a sentence."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi

from probes.errors import InputError
from probes.suites.concepts import TEMPLATES, ConceptSuite, frequencies
from probes.sweep.spec import parse_spec
from probes.sweep.specification.suite_entries import suite_entry

HEAD = "item,category,typicality,subdataset\n"
BIRDS = "Robin,Bird,10,m\nOstrich,Bird,7.25,m\nCar,Bird,1,m\n"
REVERSED = "Robin,Birds,1.02,r\nOstrich,Birds,4.12,r\n"


def norms(tmp_path, text, **more):
    (tmp_path / "norms.csv").write_text(text, encoding="utf-8")
    return suite_entry({"name": "concepts", "norms": "norms.csv", **more}, tmp_path, "a spec")


def items(entry):
    return [item.example for item in entry.suite().items(np.random.default_rng(0))]


def test_a_robin_is_more_typical_than_an_ostrich_whichever_way_a_set_runs(tmp_path):
    entry = norms(tmp_path, HEAD + BIRDS + REVERSED)
    typicality = {(rating.norms, rating.item): rating.typicality for rating in entry.ratings()}
    for name in ("m", "r"):
        assert typicality[name, "Robin"] == 1.0 > typicality[name, "Ostrich"]
    assert typicality["m", "Ostrich"] == pytest.approx(6.25 / 9)


def test_norms_whose_direction_nobody_says_are_refused_and_told_what_to_say(tmp_path):
    open_ones = HEAD + "Oak,Tree,3,t\nPalm,Tree,5,t\n"
    with pytest.raises(InputError, match=r"norms 't': nobody says .*robin > ostrich.* say polarity: \{t: higher\}"):
        norms(tmp_path, open_ones).ratings()
    found = norms(tmp_path, open_ones, polarity="lower").ratings()
    assert [(own.item, own.typicality) for own in found] == [("Oak", 1.0), ("Palm", 0.0)]
    assert [own.typicality for own in norms(tmp_path, open_ones, polarity={"t": "higher"}).ratings()] == [0.0, 1.0]


def test_a_direction_that_contradicts_the_anchors_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"robin \(10\) and ostrich \(7.25\) the typical end is the higher one"):
        norms(tmp_path, HEAD + BIRDS, polarity="lower").ratings()
    torn = HEAD + BIRDS + "chair,F,1,m\nrug,F,9,m\n"
    with pytest.raises(InputError, match="anchors contradict each other"):
        norms(tmp_path, torn).ratings()
    assert len(norms(tmp_path, torn, polarity="higher").ratings()) == 5


def test_missing_ratings_doubles_and_items_of_several_categories_are_kept_and_told(tmp_path):
    text = HEAD + BIRDS + "Robin,Sidekick,,m\nCar,Bird,2,m\n,Bird,3,m\nOwl,Bird,high,m\n"
    found = items(norms(tmp_path, text, templates=["This is a {item}"]))
    members = [own for own in found if dict(own.attrs)["role"] == "member"]
    robins = [own for own in members if own.target == "robin"]
    assert [own.cluster for own in robins] == ["m/Bird", "m/Sidekick"]
    assert math.isnan(robins[1].level)
    repeated = [own for own in members if own.repeats]
    assert len(repeated) == 1
    assert "the same item as" in repeated[0].repeats
    faults = [own.fault for own in members if own.fault]
    assert len(faults) == 2
    assert "should be text and is empty" in faults[0]
    assert "should be a number and is 'high'" in faults[1]
    # the category's own name is asked as its members are, and has no level
    names = [own for own in found if dict(own.attrs)["role"] == "category"]
    assert [(own.target, math.isnan(own.level)) for own in names] == [("bird", True), ("sidekick", True)]


def test_every_item_ends_its_sentence_and_stands_for_its_own_tokens(tmp_path):
    found = items(norms(tmp_path, HEAD + BIRDS))
    assert {f"{own.text} {{item}}" for own in found} == set(TEMPLATES)
    assert len(found) == (3 + 1) * len(TEMPLATES)
    as_written = items(norms(tmp_path, HEAD + BIRDS, case="as_written"))
    assert {own.target for own in as_written} == {"Robin", "Ostrich", "Car", "Bird"}
    with pytest.raises(InputError, match="words that end in"):
        norms(tmp_path, HEAD + BIRDS, templates=["A {item} is"])


def test_the_shipped_list_needs_no_file_and_has_an_item_in_two_categories():
    spec = parse_spec({"models": ["m"], "suites": ["concepts"]}, folder=Path())
    (entry,) = spec.suites
    assert isinstance(entry, ConceptSuite)
    ratings = entry.ratings()
    assert len(ratings) == 96
    assert len({own.category for own in ratings}) == 8
    assert sum(own.item == "tomato" for own in ratings) == 2
    assert len(list(ConceptSuite(limit=3).ratings())) == 24


def test_norms_of_which_a_column_or_the_file_is_missing_are_refused(tmp_path):
    with pytest.raises(InputError, match="norms have the columns item, category, typicality"):
        norms(tmp_path, "word,category\nrobin,bird\n").ratings()
    with pytest.raises(InputError, match="no norms are called 'x'; there are 'm'"):
        norms(tmp_path, HEAD + BIRDS, dataset="x").ratings()
    with pytest.raises(InputError, match="polarity: no norms are called 'x'"):
        norms(tmp_path, HEAD + BIRDS, polarity={"x": "higher"}).ratings()
    with pytest.raises(InputError, match="no file"):
        suite_entry({"name": "concepts", "norms": "absent.csv"}, tmp_path, "a spec").ratings()


def test_a_directory_stands_for_a_data_set_of_the_hub(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text(HEAD + BIRDS, encoding="utf-8")
    entry = suite_entry({"name": "concepts", "norms": "data"}, tmp_path, "a spec")
    assert [own.item for own in entry.ratings()] == ["Robin", "Ostrich", "Car"]


def test_norms_are_read_by_the_name_that_they_have_on_the_hub(tmp_path, monkeypatch):
    """Without a network: the library gives what a file of the data set holds."""
    datasets = pytest.importorskip("datasets")
    (tmp_path / "train.csv").write_text(HEAD + BIRDS + REVERSED, encoding="utf-8")
    here = datasets.load_dataset(str(tmp_path), split="train")
    asked = []

    def load(name, *_, split, **__):
        asked.append((name, split))
        return here

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    entry = suite_entry({"name": "concepts", "norms": "CShani/human-concepts"}, tmp_path, "a spec")
    assert entry.norms == "CShani/human-concepts"  # no path beside the spec
    assert [(own.norms, own.item) for own in entry.ratings()][:1] == [("m", "Robin")]
    assert asked == [("CShani/human-concepts", "train")]


def test_a_hub_that_cannot_be_reached_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(HfApi, "dataset_info", refuse)
    entry = suite_entry({"name": "concepts", "norms": "CShani/human-concepts"}, tmp_path, "a spec")
    with pytest.raises(InputError, match=r"human-concepts train: the hub cannot be reached .*local `file`") as raised:
        entry.ratings()
    assert "\n" not in str(raised.value)


def test_frequencies_come_from_a_file_of_counts_and_go_with_the_item(tmp_path):
    (tmp_path / "counts.csv").write_text("word,count\nrobin,1000\nOstrich,10\ncar,0\n", encoding="utf-8")
    found = items(norms(tmp_path, HEAD + BIRDS, frequency="counts.csv"))
    told = {own.target: dict(own.attrs).get("frequency") for own in found}
    assert told == {"robin": "3.0", "ostrich": "1.0", "car": None, "bird": None}
    assert frequencies(None, ["robin"]) == {}


def test_the_package_of_frequencies_is_asked_for_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(InputError, match=r"pip install 'activation-sparsity\[concepts\]'"):
        frequencies("wordfreq", ["robin"])
