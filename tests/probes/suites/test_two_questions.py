"""Two questions: every item is asked its own question and one that can be read off its choices, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites.example import Example
from probes.suites.shifts.shift_suite import SHIFTS
from probes.suites.shifts.two_questions import ASKED
from probes.sweep.specification.suite_entries import suite_entry

GOALS = [
    ("Keep a door open", "Put a wedge under the door", "Put a feather under the door", 0),
    ("Dry wet shoes", "Fill the shoes with water", "Fill the shoes with newspaper", 1),
    ("Cool a drink", "Add ice to the drink", "Add salt to the drink", 0),
]


def items(folder: Path, rows: list[dict[str, object]]) -> list[Example]:
    path = folder / "piqa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {
        "shift": "two_questions",
        "name": "piqa",
        "about": "physical",
        "of": {"name": "piqa", "file": "piqa.jsonl"},
    }
    found = suite_entry(entry, folder, "spec")
    assert isinstance(found, SHIFTS["two_questions"])
    suite = found.suite()
    assert suite.axis.name == "physical"
    return list(suite.generate(np.random.default_rng(0)))


def rows(times: int) -> list[dict[str, object]]:
    """Solutions in the format of PIQA."""
    return [
        {"goal": f"{goal} ({n})", "sol1": one, "sol2": two, "label": label}
        for n in range(times)
        for goal, one, two, label in GOALS
    ]


def test_both_questions_share_text_choices_and_length(tmp_path: Path) -> None:
    found = items(tmp_path, rows(40))
    pairs = [(found[n], found[n + 1]) for n in range(0, len(found), 2)]
    assert len(pairs) == 120
    for words, world in pairs:
        assert (words.level_name, words.split, world.level_name, world.split) == ("words", "in", "world", "shifted")
        assert words.cluster == world.cluster
        assert words.choices == world.choices
        assert len(words.text.split()) == len(world.text.split())
        assert words.text.split("Question:")[0] == world.text.split("Question:")[0]
        word = re.search(r"has the word (\w+)\?", words.text)
        assert word is not None
        holding = [number for number, choice in enumerate(words.choices) if word[1] in choice.split()]
        assert holding == [words.right]
        goal = world.text.removeprefix("Question: ").split(" (")[0]
        assert world.text.count("Answer:") == 1
        assert world.right == next(label for text, _, _, label in GOALS if text == goal)
    places = Counter(words.right for words, _ in pairs)
    assert min(places.values()) > 40  # 60 of 120 expected; fewer than 41 has a probability of .0002
    assert len({len(asked.format(word="w").split()) for asked in ASKED.values()}) == 1


def test_choices_without_a_word_of_their_own_are_recorded_and_none_at_all_is_refused(tmp_path: Path) -> None:
    alike = items(tmp_path, [{"goal": "Wait", "sol1": "wait 5", "sol2": "wait 6", "label": 0}])
    assert all("no word can be asked for" in example.fault for example in alike)
    (tmp_path / "plain.jsonl").write_text('{"goal": "Wait", "label": "x"}\n')
    entry = {"shift": "two_questions", "name": "p", "about": "causal", "of": {"file": "plain.jsonl", "prompt": "goal"}}
    with pytest.raises(InputError, match="need choices"):
        list(suite_entry(entry, tmp_path, "spec").suite().generate(np.random.default_rng(0)))
