"""Stories with a question about the words and one about the world: every answer found again by reading the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from probes.suites import SUITES, Example

NAMES = ("geometry", "physics", "causality")
PLACES = {"north": 1j, "south": -1j, "east": 1, "west": -1}


@pytest.fixture(scope="module")
def items() -> dict[str, list[Example]]:
    """Every item of the three suites."""
    return {name: list(SUITES[name].generate(np.random.default_rng(0))) for name in NAMES}


def walked(text: str, question: str) -> str:
    """The answer about walks, by adding complex numbers."""
    walks = [(int(n), way) for n, way in re.findall(r"walks (\d) steps? (\w+)\.", text)]
    if asked := re.search(r"walk (\w+)\?", question):
        return walks[["first", "second", "third", "fourth", "fifth", "sixth"].index(asked[1])][1]
    end = sum(n * PLACES[way] for n, way in walks)
    return next(way for way, place in PLACES.items() if end == abs(end) * place)


def kept(text: str, question: str) -> str:
    """The answer about a thing in a container, by carrying it from sentence to sentence."""
    rooms = re.findall(r" to the (\w+)\.", text)
    if "first" in question:
        return rooms[0]
    return rooms[text[: text.find("tips")].count(" to the ") - 1] if "tips" in text else rooms[-1]


def driven(text: str, question: str) -> str:
    """The answer about a machine, by letting motion spread from the part that is moving."""
    drives = set(re.findall(r"The (\w+) drives the (\w+)\.", text))
    if asked := re.search(r"Does the (\w+) drive the (\w+)\?", question):
        return "yes" if asked.groups() in drives else "no"
    held = re.search(r"holds the (\w+) still", text)
    root = re.search(r"The (\w+) is moving", text)
    part = re.search(r"Does the (\w+) still move", question)
    assert held
    assert root
    assert part
    moving = {root[1]} - {held[1]}
    for _ in drives:
        moving |= {to for by, to in drives if by in moving and to != held[1]}
    return "yes" if part[1] in moving else "no"


@pytest.mark.parametrize(("name", "solve"), [("geometry", walked), ("physics", kept), ("causality", driven)])
def test_every_answer_is_found_by_another_way(
    items: dict[str, list[Example]], name: str, solve: Callable[[str, str], str]
) -> None:
    for item in items[name]:
        text, question = item.text.split("\nQuestion: ")
        assert item.target == item.choices[item.right or 0] == solve(text, question), item.text


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_asked_differs(items: dict[str, list[Example]], name: str) -> None:
    pairs: dict[str, list[Example]] = {}
    for item in items[name]:
        pairs.setdefault(item.cluster, []).append(item)
    for words, world in pairs.values():
        assert (words.split, world.split) == ("in", "shifted")
        assert words.text.split("\n")[0] == world.text.split("\n")[0]
        assert len(words.text.split()) == len(world.text.split())
        assert words.choices == world.choices
    assert len({item.text for item in items[name]}) == len(items[name]) == 256


@pytest.mark.parametrize("name", NAMES)
def test_no_choice_is_right_more_often(items: dict[str, list[Example]], name: str) -> None:
    right = Counter((item.split, item.target) for item in items[name])
    assert len(set(right.values())) == 1


def test_the_last_walk_does_not_tell_where_home_is(items: dict[str, list[Example]]) -> None:
    asked = [item for item in items["geometry"] if item.split == "shifted"]
    last = [re.findall(r"steps? (\w+)\.", item.text)[-1] == item.target for item in asked]
    assert np.mean(last) < 0.6
