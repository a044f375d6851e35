"""Paired shifts: one knob turns, everything else of an item stays, and levels are nested."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import InputError
from probes.suites import Example
from probes.suites.shifts.noise import NEIGHBOURS, NOISES, casing, character_noise, character_swap, typos, word_order
from probes.suites.shifts.padding import NEUTRAL, pad_alike
from probes.suites.shifts.shift_suite import SHIFTS, Shift, Tools
from probes.sweep.spec import parse_spec
from tests.samples import of_share
from tests.trained import MODEL

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
seeds = st.integers(0, 2**32)
rates = st.floats(0, 1)

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Kenya": "Nairobi",
    "Chad": "N'Djamena",
    "Oman": "Muscat",
}


@pytest.fixture
def capitals(tmp_path: Path) -> Path:
    rows = [
        {
            "id": country,
            "q": f"What is the capital of {country}?",
            "de": f"Was ist die Hauptstadt von {country}?",
            "a": capital,
            "options": [capital, "London", "Berlin"],
        }
        for country, capital in CAPITALS.items()
    ]
    (tmp_path / "capitals.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def source(**changes: object) -> dict[str, object]:
    return {"file": "capitals.jsonl", "prompt": "Q: {q}\nA:", "answer": "a", "id": "id", **changes}


def yielded(folder: Path, tools: Tools | None = None, *, seed: int = 0, **entry: object) -> list[Example]:
    """The items of a shift as a sweep would ask for them."""
    fields = {"name": "shifted", "of": source(), **entry}
    spec = parse_spec({"models": ["m"], "suites": [fields]}, folder=folder)
    (declared,) = spec.suites
    assert isinstance(declared, Shift)
    return [item.example for item in declared.suite(tools).items(np.random.default_rng(seed))]


def by_item(found: list[Example]) -> dict[str, dict[str, Example]]:
    grouped: dict[str, dict[str, Example]] = defaultdict(dict)
    for example in found:
        grouped[example.cluster][example.level_name] = example
    return grouped


def words(text: str) -> int:
    return len(text.split())


WORDS = Tools(owner="words", count_tokens=words)


@given(text=texts, rate=rates, seed=seeds)
def test_each_kind_of_noise_keeps_what_it_says(text: str, rate: float, seed: int) -> None:
    def rng() -> np.random.Generator:
        return np.random.default_rng(seed)

    assert len(character_noise(text, rate, rng())) == len(text)
    assert Counter(character_swap(text, rate, rng())) == Counter(text)
    assert casing(text, rate, rng()).casefold() == text.casefold()
    ordered = word_order(text, rate, rng())
    assert Counter(re.findall(r"\S+", ordered)) == Counter(re.findall(r"\S+", text))
    assert re.findall(r"\s+", ordered) == re.findall(r"\s+", text)
    typed = typos(text, rate, rng())
    for before, after in zip(text, typed, strict=True):
        assert after == before or after.lower() in NEIGHBOURS[before.lower()]
        assert after.isupper() == before.isupper()


@given(text=texts, seed=seeds)
def test_no_noise_at_rate_zero(text: str, seed: int) -> None:
    for make, _ in NOISES.values():
        assert make(text, 0.0, np.random.default_rng(seed)) == text


@pytest.mark.parametrize("name", ["typos", "casing", "character_noise"])
@given(text=texts, low=rates, high=rates, seed=seeds)
def test_the_noise_of_a_low_rate_is_among_that_of_a_higher_one(
    name: str, text: str, low: float, high: float, seed: int
) -> None:
    make = NOISES[name][0]
    low, high = sorted((low, high))
    less, more = (make(text, rate, np.random.default_rng(seed)) for rate in (low, high))
    assert all(a in (b, c) for a, b, c in zip(less, more, text, strict=True))


@pytest.mark.parametrize("name", ["typos", "casing", "character_noise"])
def test_noise_hits_as_many_letters_as_it_says(name: str) -> None:
    text = "e" * 20_000
    changed = sum(a != b for a, b in zip(text, NOISES[name][0](text, 0.15, np.random.default_rng(0)), strict=True))
    assert abs(changed / len(text) - 0.15) < of_share(0.15, len(text))


def test_as_many_words_move_as_the_rate_says() -> None:
    text = " ".join(map(str, range(1000)))
    moved = word_order(text, 0.3, np.random.default_rng(0)).split()
    assert sum(a != b for a, b in zip(text.split(), moved, strict=True)) == 300


@pytest.mark.parametrize("name", [*NOISES])
def test_noise_touches_the_question_and_not_the_wording(capitals: Path, name: str) -> None:
    found = by_item(yielded(capitals, shift=name, levels=[0, 0.5, 1]))
    assert set(found) == set(CAPITALS)
    for country, levels in found.items():
        assert levels["0"].text == f"Q: What is the capital of {country}?\nA:"
        assert all(example.text.startswith("Q: ") for example in levels.values())
        assert all(example.text.endswith("\nA:") for example in levels.values())
        assert {example.target for example in levels.values()} == {CAPITALS[country]}
        assert [levels[label].split for label in ("0", "0.5", "1")] == ["in", "shifted", "shifted"]
        assert levels["1"].text != levels["0"].text


def test_neither_other_items_nor_other_levels_change_an_item(capitals: Path) -> None:
    everything = by_item(yielded(capitals, shift="typos", levels=[0, 0.1, 0.4]))
    rows = (capitals / "capitals.jsonl").read_text().splitlines()
    (capitals / "capitals.jsonl").write_text("\n".join(rows[5:]))
    some = by_item(yielded(capitals, shift="typos", levels=[0, 0.4]))
    assert len(some) == 5
    assert all(example == everything[item][label] for item, levels in some.items() for label, example in levels.items())
    assert yielded(capitals, shift="typos", levels=[0, 0.4], seed=1) != yielded(
        capitals, shift="typos", levels=[0, 0.4]
    )


def test_more_choices_hold_the_fewer_and_the_answer_once(capitals: Path) -> None:
    of = source(prompt="{q}\n{choices}\nAnswer:", choices="options")
    found = by_item(yielded(capitals, shift="choice_count", levels=[2, 3, 8], of=of))
    for country, levels in found.items():
        offered: dict[str, list[str]] = {}
        for label, example in levels.items():
            lines = [line for line in example.text.split("\n") if re.match(r"[A-Z]\. ", line)]
            offered[label] = [line[3:] for line in lines]
            assert len(set(offered[label])) == len(lines) == example.level
            assert f"{example.target}. {CAPITALS[country]}" in lines
        assert set(offered["2"]) < set(offered["3"]) < set(offered["8"])
        assert set(offered["3"]) == {CAPITALS[country], "London", "Berlin"}  # its own distractors come first


def test_the_right_choice_stands_anywhere(capitals: Path) -> None:
    listed = "{q}\n{choices}\nAnswer:"
    targets = Counter(
        example.target
        for seed in range(40)
        for example in yielded(capitals, shift="choice_count", levels=[2, 4], prompt=listed, seed=seed)
        if example.level == 4
    )
    assert set(targets) == set("ABCD")
    assert all(abs(count / 400 - 0.25) < of_share(0.25, 400) for count in targets.values())


def test_a_context_is_exactly_as_long_as_its_level_and_nested(capitals: Path) -> None:
    found = by_item(yielded(capitals, shift="context_length", levels=[0, 10, 40], depth=1))
    for levels in found.values():
        bare = levels["0"].text
        assert [words(levels[label].text) - words(bare) for label in ("0", "10", "40")] == [0, 10, 40]
        question = bare.removeprefix("Q: ")
        assert all(example.text.endswith(question) for example in levels.values())
        ten, forty = (levels[label].text.removesuffix(question) for label in ("10", "40"))
        assert forty.startswith(ten.rstrip("\n"))


def test_depth_moves_the_question_through_the_same_words(capitals: Path) -> None:
    (capitals / "filler.txt").write_text("a b c d e f\n\ng h i j k l")
    found = by_item(
        yielded(capitals, shift="context_depth", levels=[0, 0.25, 1], words=8, slot="q", filler="filler.txt")
    )
    for country, levels in found.items():
        question = f"What is the capital of {country}?"
        assert {Counter(example.text.split()).total() for example in levels.values()} == {8 + 2 + words(question)}
        assert len({tuple(sorted(example.text.split())) for example in levels.values()}) == 1
        before = {label: words(example.text.split(question)[0]) - 1 for label, example in levels.items()}
        assert before == {"0": 0, "0.25": 2, "1": 8}
        assert {example.split for label, example in levels.items() if label != "1"} == {"shifted"}


def test_more_demonstrations_hold_the_fewer_and_never_the_item(capitals: Path) -> None:
    found = by_item(yielded(capitals, shift="demonstrations", levels=[0, 1, 3]))
    for country, levels in found.items():
        assert levels["3"].text.endswith(levels["1"].text)
        assert levels["1"].text.endswith(levels["0"].text)
        assert [levels[label].text.count("Q:") for label in ("0", "1", "3")] == [1, 2, 4]
        assert levels["3"].text.count(country) == 1
        assert levels["3"].split == "in"
        shown = re.findall(r"capital of (\w+)\?\nA: (.+)\n", levels["3"].text)
        assert [CAPITALS[shown_country] for shown_country, _ in shown] == [capital for _, capital in shown]


def test_wordings_frame_the_same_question(capitals: Path) -> None:
    wordings = {"bare": "{prompt}", "asked": "Answer this.\n{prompt}", "other": "{q} It is"}
    found = by_item(yielded(capitals, shift="wording", levels=wordings))
    for country, levels in found.items():
        question = f"What is the capital of {country}?"
        assert {label: example.text for label, example in levels.items()} == {
            "bare": f"Q: {question}\nA:",
            "asked": f"Answer this.\nQ: {question}\nA:",
            "other": f"{question} It is",
        }
        assert all(math.isnan(example.level) for example in levels.values())
        assert [example.split for example in levels.values()] == ["in", "shifted", "shifted"]
    assert len(by_item(yielded(capitals, shift="wording"))["Peru"]) == 5


def test_languages_are_fields_of_the_same_item(capitals: Path) -> None:
    found = by_item(yielded(capitals, shift="language", levels={"en": "q", "de": "Frage: {de}"}))
    assert found["Peru"]["en"].text == "What is the capital of Peru?"
    assert found["Peru"]["de"].text == "Frage: Was ist die Hauptstadt von Peru?"


def knows(prompt: str) -> str:
    """A model that knows every capital but one."""
    country = next(country for country in CAPITALS if country in prompt)
    return " Quito" if country == "Peru" else f" {CAPITALS[country]} "


def test_conflict_states_another_answer_in_the_same_words(capitals: Path) -> None:
    found = by_item(yielded(capitals, Tools(owner="m", answer=knows), shift="knowledge_conflict"))
    for country, levels in found.items():
        agrees, contradicts = levels["agrees"], levels["contradicts"]
        own = knows(country).strip()
        assert agrees.text == f"The answer to the question below is {own}.\n\nQ: What is the capital of {country}?\nA:"
        assert agrees.target == own
        assert contradicts.target not in (own, CAPITALS[country])
        assert contradicts.target in CAPITALS.values()
        assert contradicts.text == agrees.text.replace(own, str(contradicts.target))
        assert dict(contradicts.attrs) == {"own": own, "stated": contradicts.target, "right": CAPITALS[country]}
        assert [agrees.split, contradicts.split] == ["in", "shifted"]


def test_conflict_over_shown_choices_expects_letters(capitals: Path) -> None:
    of = source(prompt="{q}\n{choices}\nAnswer:", choices="options")
    tools = Tools(owner="m", answer=lambda _: "B")
    found = by_item(yielded(capitals, tools, shift="knowledge_conflict", of=of))["Peru"]
    assert found["agrees"].text.startswith("The answer to the question below is London.")
    assert (found["agrees"].target, found["contradicts"].target) == ("B", "C")


def characters(text: str) -> int:
    return len(text)


@pytest.mark.parametrize("count", [words, characters])
@pytest.mark.parametrize(
    "entry",
    [
        {"shift": "choice_count", "levels": [2, 8], "prompt": "{q}\n{choices}\nAnswer:"},
        {"shift": "demonstrations", "levels": [0, 1, 4]},
        {"shift": "wording"},
        {"shift": "word_order"},
        {"shift": "context_depth", "words": 20},
    ],
)
def test_matched_levels_are_equally_long_and_end_as_before(
    capitals: Path, count: Callable[[str], int], entry: dict[str, Any]
) -> None:
    tools = Tools(owner="counter", count_tokens=count)
    plain = by_item(yielded(capitals, **entry))
    matched = by_item(yielded(capitals, tools, matched=True, **entry))
    assert set(matched) == set(plain)
    for item, levels in matched.items():
        assert {str(count(example.text)) for example in levels.values()} == {
            dict(levels_attrs(levels))["prompt_tokens"]
        }
        assert all(example.text.endswith(plain[item][label].text) for label, example in levels.items())
        assert len({example.text[:5] for example in levels.values()}) == 1


def levels_attrs(levels: dict[str, Example]) -> tuple[tuple[str, str], ...]:
    return next(iter(levels.values())).attrs


def test_matching_is_exact_for_a_real_tokenizer() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))

    def count(text: str) -> int:
        return len(tokenizer.encode(text).ids)

    rng = np.random.default_rng(0)
    vocabulary = ["Once", "upon", "a", "time,", "an", "extraordinarily", "7-legged", "Ünïcode", "cat!\n"]
    for _ in range(5):
        wanted = [" ".join(rng.choice(vocabulary, size=size)) for size in (1, 5, 30)]
        padded, n_tokens = pad_alike(wanted, count, NEUTRAL.split(), place="here")
        assert {count(text) for text in padded} == {n_tokens}


def test_what_cannot_be_matched_is_said() -> None:
    with pytest.raises(InputError, match="item 3: this tokenizer gives no way to pad the text to exactly"):
        pad_alike(["a", "b c"], lambda text: 2 * len(text) + ("b" in text), ["x"], place="item 3")


def test_a_suite_says_what_it_needs_and_whose_it_was(capitals: Path) -> None:
    spec = parse_spec(
        {
            "models": ["m"],
            "suites": [
                {"name": "matched", "shift": "typos", "matched": True, "of": source()},
                {"name": "conflict", "shift": "knowledge_conflict", "of": source()},
                {"name": "plain", "shift": "typos", "of": source()},
            ],
        },
        folder=capitals,
    )
    matched, conflict, plain = spec.suites
    assert [entry.needs for entry in (matched, conflict, plain)] == [{"count_tokens"}, {"answer"}, frozenset()]
    with pytest.raises(InputError, match=r"suite 'matched' needs a tokenizer \(count_tokens\), and got none"):
        matched.suite().items(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"suite 'conflict' needs a model's answers \(answer\)"):
        conflict.suite(WORDS).items(np.random.default_rng(0))
    assert matched.suite(WORDS).version == "1+words"
    assert plain.suite(WORDS).version == "1"


def test_shifts_of_real_benchmarks(assets: Path, tmp_path: Path) -> None:
    for name in ("gsm8k.jsonl", "arc-challenge.jsonl"):
        (tmp_path / name).write_text("\n".join((assets / "tasks" / name).read_text().split("\n")[:200]))
    listed = "Question: {question}\n{choices}\nAnswer:"
    gsm8k = {"name": "gsm8k", "file": "gsm8k.jsonl"}
    found = yielded(tmp_path, shift="choice_count", levels=[2, 20], of=gsm8k, prompt=listed)
    assert len(found) == 400
    assert all(len(re.findall(r"^[A-T]\. ", example.text, re.MULTILINE)) == example.level for example in found)
    noisy = by_item(yielded(tmp_path, shift="typos", of={"name": "arc", "file": "arc-challenge.jsonl"}))
    assert Counter(len(levels) for levels in noisy.values()) == {4: 200}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shift": "typo"}, "no shift is called 'typo'; did you mean 'typos'"),
        ({"shift": "typos", "level": [0, 1]}, "unknown key 'level', did you mean 'levels'"),
        ({"shift": "typos", "levels": [0, 1.5]}, r"levels.1: input should be less than or equal to 1"),
        ({"shift": "typos", "levels": [0.1, 0.1]}, "levels should all be different"),
        ({"shift": "typos", "levels": [0.1]}, "at least 2 items"),
        ({"shift": "choice_count", "levels": [1, 2]}, "greater than or equal to 2"),
        ({"shift": "choice_count", "levels": [2, 27]}, "less than or equal to 26"),
        ({"shift": "context_length", "matched": True}, "use context_depth for equal lengths"),
        ({"shift": "wording", "levels": ["a", "b"]}, "levels: input should be a valid dictionary"),
        ({"shift": "knowledge_conflict", "statement": "It is so. "}, r"should name {answer} once"),
        ({"shift": "typos", "of": "lab_exposure"}, "of should be a file, a data set of the hub or a benchmark"),
        ({"shift": "typos", "of": {"file": "x.jsonl", "promt": "q"}}, "unknown key 'promt', did you mean 'prompt'"),
        ({"shift": "typos", "of": 3}, "of should be a mapping with named keys and is int"),
    ],
)
def test_faults_of_a_spec_are_one_line(capitals: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        yielded(capitals, **entry)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shift": "typos", "slot": "title"}, r"capitals\.jsonl, line 1: the wording has no field 'title'"),
        ({"shift": "choice_count", "levels": [2, 4]}, r"the wording should name \{choices\} and reads"),
        (
            {"shift": "choice_count", "levels": [2, 12], "prompt": "{q} {choices}"},
            r"line 1: 12 choices asked for, but its pool has only 10",
        ),
        (
            {"shift": "choice_count", "prompt": "{q} {choices}", "of": source(answer=None)},
            r"line 1: choices need an answer",
        ),
        ({"shift": "demonstrations", "levels": [0, 10]}, r"line 1: 10 examples asked for, but there are 9 others"),
        ({"shift": "demonstrations", "of": source(answer=None)}, r"an example needs an answer"),
        ({"shift": "wording", "levels": {"a": "{prompt}", "b": "{title}"}}, r"line 1: no field 'title'; there are"),
        ({"shift": "language", "levels": {"en": "q", "fr": "fr"}}, r"line 1: no field 'fr'; there are 'id', 'q', 'de'"),
    ],
)
def test_faults_of_items_name_file_item_and_field(capitals: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        yielded(capitals, **entry)
    assert "\n" not in str(raised.value)


def test_every_shift_has_a_ruler_and_is_tried_here() -> None:
    tried = {"choice_count", "context_length", "context_depth", "demonstrations", "wording", "language"}
    elsewhere = {"knowledge_conflict", "two_questions"}  # which have modules of tests of their own
    assert set(SHIFTS) == tried | elsewhere | set(NOISES)
